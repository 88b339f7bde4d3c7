"""Devices as a value: a mesh over whose axis `"tasks"` a batch of tasks is spread."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from metajax import checks

AXIS = "tasks"


def task_mesh(meta_batch: int | None = None, devices: Sequence[Any] | None = None) -> Mesh:
    """Returns a mesh of as many devices as divide the meta-batch.

    On a CPU, one device per core is faster than one for all, because small products do not split well
    over threads. Ask JAX for them before anything is computed, with
    `jax.config.update("jax_num_cpu_devices", os.cpu_count())`; `metajax train` does.

    Args:
      meta_batch: The number of tasks in an outer step; None for all devices.
      devices: Those to use; by default all of this process.

    Raises:
      ValueError: For no task, or no device.

    Example:
      >>> import jax, metajax as mj
      >>> mj.task_mesh(4, jax.devices()[:1]).size
      1
    """
    chosen = list(jax.local_devices() if devices is None else devices)
    if not chosen:
        raise ValueError("task_mesh: devices=[] must hold at least one device.")
    if meta_batch is not None:
        meta_batch = checks.count("task_mesh", "meta_batch", meta_batch)
        most = range(min(meta_batch, len(chosen)), 0, -1)
        chosen = chosen[: next(n for n in most if meta_batch % n == 0)]
    return Mesh(np.asarray(chosen), (AXIS,))
