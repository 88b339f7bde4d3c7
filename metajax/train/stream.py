"""Batches that readers fetch from disk ahead of the step that needs them, by grain."""

import contextlib
import multiprocessing
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from metajax.tasks.streamed import Streamed
from metajax.types import Task


def step_keys(key: jax.Array, step: Any) -> jax.Array:
    """The keys of an outer step: of its tasks, and of its update."""
    return jax.random.split(jax.random.fold_in(key, step))


class Fetch(NamedTuple):
    """Draws and reads the part of a process of the batch of an outer step, in any thread or process.

    key: The data of the key of all steps, and how it is implemented.
    part: The first task and the one after the last.
    """

    source: Streamed
    meta_batch: int
    key: tuple[Any, str]
    part: tuple[int, int]

    def __call__(self, step: int) -> Task:
        """The tasks of an outer step."""
        if multiprocessing.parent_process() is not None:
            jax.config.update(
                "jax_platforms", "cpu"
            )  # readers leave accelerators to the training process
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            data, impl = self.key
            task_key, _ = step_keys(jax.random.wrap_key_data(data, impl=impl), step)
            return self.of(task_key)

    def of(self, task_key: jax.Array) -> Task:
        """The tasks of the key that a batch is drawn from."""
        own = jax.random.split(task_key, self.meta_batch)[slice(*self.part)]
        return self.source.read(_numbers(self.source.draw, own))


@jax.jit
def _numbers(draw: Any, keys: jax.Array) -> Task:
    return jax.vmap(draw)(keys)


def ahead(fetch: Fetch, steps: range) -> Iterator[Task]:
    """The batches of steps in their order, a few of them read ahead.

    Raises:
      ModuleNotFoundError: If grain is not installed.
    """
    try:
        import grain
        from absl import flags
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "fit: a streamed source needs grain; pip install 'metajax[streaming]'."
        ) from error
    source = fetch.source
    batches: Any = grain.MapDataset.source(steps).map(fetch)
    options = grain.ReadOptions(
        num_threads=min(source.ahead, 16), prefetch_buffer_size=source.ahead
    )
    batches = batches.to_iter_dataset(options)
    if source.workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # grain's processes read flags, which a library never parses
        processes = grain.MultiprocessingOptions(
            source.workers, per_worker_buffer_size=source.ahead
        )
        batches = batches.mp_prefetch(processes)
    iterator = iter(batches)
    try:
        yield from iterator
    finally:
        with contextlib.suppress(AttributeError):
            iterator.close()
