"""What was chosen to be fast, as the traced program of an outer step shows it."""

import os
from collections.abc import Iterator

import jax
from jax.extend.core import ClosedJaxpr

from metajax.adjoints import chosen_in
from metajax.estimators.automatic import Spread
from metajax.marks import marks


def lines(program: ClosedJaxpr) -> Iterator[str]:
    """A sentence for each choice: the adjoint of the inner loop, and how tasks are computed.

    Example:
      >>> from metajax.adjoints import marked, mixed_mode
      >>> next(lines(jax.make_jaxpr(lambda w: marked(mixed_mode, 5, w))(1.0)))[:49]
      'Inner loop: 5 steps, differentiated by mixed_mode'
    """
    jaxpr = program.jaxpr
    for chosen in chosen_in(jaxpr):
        yield f"Inner loop: {chosen}."
    found = [
        Spread(int(devices), int(tasks), is_large == "True")
        for devices, tasks, is_large in marks(jaxpr, "spread")
    ]
    yield from (
        f"Tasks: {spread}, chosen for the size of the program; override with estimator=."
        for spread in found
    )
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    on_cpu = jax.default_backend() == "cpu"
    if (
        on_cpu
        and any(spread.is_large for spread in found)
        and jax.local_device_count() == 1 < cores
    ):
        yield (
            f"One CPU device serves {cores} cores. One device per core is faster here: call "
            "mj.prepare_cpu() before JAX computes anything."
        )
