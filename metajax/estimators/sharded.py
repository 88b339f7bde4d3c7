"""Estimate on every device's share of the tasks."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from metajax.estimators.chunked import chunked
from metajax.estimators.stateful import in_the_form_of, stateful
from metajax.types import Estimator, Objective, Stateful


def sharded(
    devices: Sequence[Any] | None = None, estimator: Estimator = jax.value_and_grad
) -> Estimator:
    """Estimate on every device's share of the tasks and average: data parallelism.

    On a CPU a device for every core is faster than one for all, for small products do not split well
    over threads; ask for them before anything is computed, by
    `jax.config.update("jax_num_cpu_devices", os.cpu_count())`. `metajax train` does.

    Args:
      devices: by default all there are; their number divides the meta-batch.
      estimator: what to call on each part. The objective must be a mean over tasks.

    Raises:
      ValueError: when traced with a meta-batch that does not split evenly.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> mean = lambda w, tasks, key: jnp.mean(w * tasks)
      >>> value, gradient = mj.sharded(jax.devices()[:1])(mean)(3.0, jnp.arange(6.0), jax.random.key(0))
      >>> float(value), float(gradient)
      (7.5, 2.5)
    """
    devices = tuple(jax.devices() if devices is None else devices)
    mesh = Mesh(np.asarray(devices), ("tasks",))

    def sharded_estimator(objective: Objective):
        estimate = estimator(objective)
        keeps = stateful(estimate)

        def on_device(meta_params, estimator_state, tasks, key):
            own_key = jax.random.fold_in(key, jax.lax.axis_index("tasks"))
            *estimated, state = keeps.estimate(meta_params, estimator_state, tasks, own_key)
            return *jax.lax.pmean(estimated, "tasks"), state

        average = jax.shard_map(
            on_device,
            mesh=mesh,
            in_specs=(P(), P("tasks"), P("tasks"), P()),
            out_specs=(P(), P(), P("tasks")),
            check_vma=False,
        )

        def checked(meta_params, estimator_state, tasks, key):
            meta_batch = jax.tree.leaves(tasks)[0].shape[0]
            if meta_batch % len(devices):
                raise ValueError(
                    f"sharded: meta_batch={meta_batch} does not split over {len(devices)} devices; "
                    f"use a multiple of {len(devices)}, or fewer devices."
                )
            return average(meta_params, estimator_state, tasks, key)

        return in_the_form_of(estimate, Stateful(keeps.init, checked))

    return sharded_estimator


def parallel(
    meta_batch: int, tasks_per_pass: int | None = None, estimator: Estimator = jax.value_and_grad
) -> Estimator:
    """The estimator for this machine: the tasks over its devices, a few at a time on each.

    Args:
      meta_batch: tasks in an outer step. As many devices are used as divide it.
      tasks_per_pass: on a device, where `meta_batch` means all that it has; by default 1 on a CPU,
        where a convolutional network's work on one task fills the cache, and all elsewhere. Small
        perceptrons are faster all at once.
      estimator: what to call on each part.

    Raises:
      ValueError: for no tasks, and when `tasks_per_pass` is less than a device's share and does not
        divide it.
    """
    if meta_batch < 1 or (tasks_per_pass is not None and tasks_per_pass < 1):
        raise ValueError(
            f"parallel: meta_batch={meta_batch} and tasks_per_pass={tasks_per_pass}; the first is 1 task "
            "or more, and so is the second where it is given."
        )
    most = range(min(meta_batch, jax.local_device_count()), 0, -1)
    devices = jax.local_devices()[: next(n for n in most if meta_batch % n == 0)]
    share = meta_batch // len(devices)
    if tasks_per_pass is None:
        tasks_per_pass = 1 if devices[0].platform == "cpu" else share
    if tasks_per_pass < share and share % tasks_per_pass:
        raise ValueError(
            f"parallel: meta_batch={meta_batch} gives each of {len(devices)} devices {share} tasks, "
            f"which do not split into passes of tasks_per_pass={tasks_per_pass}; change one of them."
        )
    if tasks_per_pass < share:
        estimator = chunked(tasks_per_pass, estimator)
    return sharded(devices, estimator) if len(devices) > 1 else estimator
