"""Where batches of tasks come from: drawn inside the compiled loop, or handed over by an iterable."""

import itertools
from collections.abc import Iterable, Iterator, Sized
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.core import Tracer

from metajax import checks
from metajax.train.hosts import Hosts
from metajax.trees import as_pytree
from metajax.types import Examples, Sample, Task

ONCE = {"xla_backend_optimization_level": 0}
"""Options for what runs once: compiling it takes longer than running it."""


class Drawn(NamedTuple):
    """Batches that a task source draws. Its arrays are arguments of the program, not constants."""

    sample: Any
    meta_batch: int

    def first(self, key: jax.Array) -> Task:
        """A batch to begin with; within a program, `vmap` of the source."""
        if isinstance(key, Tracer):
            return jax.vmap(self.sample)(jax.random.split(key, self.meta_batch))
        return self.batch(key)

    def batch(self, key: jax.Array) -> Task:
        """The tasks of one outer step, outside of any program."""
        return _drawn(self.sample, jax.random.split(key, self.meta_batch))

    def joined(self, among: Hosts, tasks: Task) -> Task:
        """A batch on the devices of all processes, each of which has drawn all of it."""
        return among.everywhere(tasks)


class Given:
    """Batches that an iterable hands over, one for each outer step, or the part of this process of them."""

    def __init__(self, batches: Iterable[Any], meta_batch: int | None, processes: int = 1):
        self._iterator = iter(batches)
        first = self._next()
        if first is None:
            raise ValueError("fit: sample is an iterable without any batch of tasks.")
        self._first = first
        self.meta_batch = processes * checks.batch_size(self._first)
        if meta_batch is not None and meta_batch != self.meta_batch:
            of_all = f" in all {processes} processes" if processes > 1 else ""
            raise ValueError(
                f"fit: meta_batch={meta_batch}, but the first batch of sample holds {self.meta_batch} "
                f"tasks{of_all}. Leave meta_batch out."
            )

    def first(self, key: jax.Array) -> Task:
        """The first batch, which is still the one to train on first."""
        del key
        return self._first

    def joined(self, among: Hosts, tasks: Task) -> Task:
        """A batch on the devices of all processes, each of which has a part of it."""
        return among.joined(tasks)

    def batches(self, done: int) -> Iterator[Task]:
        """The batches after the first `done`, as long as there are any; called once."""
        yield from itertools.islice(itertools.chain([self._first], self._following()), done, None)

    def _following(self) -> Iterator[Task]:
        while (batch := self._next()) is not None:
            yield batch

    def _next(self) -> Task | None:
        batch = next(self._iterator, None)
        return None if batch is None else _on_host(batch)


def feed(
    sample: Any, meta_batch: int | None, outer_steps: int, processes: int = 1
) -> Drawn | Given:
    """The feed of a task source, or of an iterable of batches of tasks, of which each process has a part.

    Raises:
      ValueError: For anything else, for a source whose tasks do not depend on its key, for a source
        without a meta_batch, and for a list that is too short.
    """
    if meta_batch is not None:
        meta_batch = checks.count("fit", "meta_batch", meta_batch)
    if isinstance(sample, Task):
        raise ValueError(
            "fit: sample is one batch of tasks; give an iterable of batches, such as a list of them, "
            "or itertools.repeat(tasks) to train on the same tasks in every outer step."
        )
    if callable(sample) or not isinstance(sample, Iterable):
        checks.source("fit", sample)
        if meta_batch is None:
            raise ValueError(
                "fit: meta_batch is missing; a source needs the number of tasks in an outer step, such "
                "as meta_batch=16."
            )
        return Drawn(as_pytree(sample), meta_batch)
    number = len(sample) if isinstance(sample, Sized) else None
    if number is not None and number < outer_steps:
        raise ValueError(
            f"fit: sample holds {number} batches, but outer_steps={outer_steps} need one each. Take "
            f"outer_steps={number}, or go through them again with itertools.cycle(sample)."
        )
    return Given(sample, meta_batch, processes)


@partial(jax.jit, compiler_options=ONCE)
def _drawn(sample: Sample, keys: jax.Array) -> Task:
    return jax.vmap(sample)(keys)


def _on_host(batch: Any) -> Task:
    """A batch whose leaves are arrays; those of other libraries become NumPy's."""
    whole = isinstance(batch, Task) and all(isinstance(part, Examples) for part in batch)
    if not whole:
        raise ValueError(
            f"fit: sample is an iterable that holds a {type(batch).__name__}; it must hold batches of "
            "tasks, mj.Task(support, query), each an mj.Examples(x, y), with meta_batch as first axis."
        )
    return jax.tree.map(
        lambda leaf: leaf if isinstance(leaf, jax.Array) else np.asarray(leaf), batch
    )
