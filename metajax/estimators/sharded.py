"""Estimate on every device's share of the tasks."""

import jax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from metajax import checks
from metajax.estimators.chunked import chunked
from metajax.estimators.exchange import mean_over
from metajax.estimators.keyed import keyed
from metajax.estimators.lift import lift
from metajax.mesh import AXIS, size
from metajax.types import Estimate, Estimator, Objective


def sharded(mesh: Mesh, estimator: Estimator = jax.value_and_grad) -> Estimator:
    """Estimates on every device's share of the tasks and averages: data parallelism.

    Args:
      mesh: The devices, such as `task_mesh()`; the length of its axis "tasks" divides the meta-batch.
        Further axes are left to the model: see `fit`.
      estimator: Called on each part. The objective must be a mean over tasks.

    Raises:
      ValueError: When traced with a meta-batch that does not split evenly.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> mean = lambda w, tasks, key: jnp.mean(w * tasks)
      >>> init, estimate = mj.sharded(mj.task_mesh(1))(mean)
      >>> tasks, key = jnp.arange(6.0), jax.random.key(0)
      >>> value, gradient, _ = estimate(3.0, init(3.0, tasks, key), tasks, key)
      >>> float(value), float(gradient)
      (7.5, 2.5)
    """

    devices = size(mesh)

    def sharded_estimator(objective: Objective):
        inner = lift(estimator)(objective)

        def on_device(meta_params, estimator_state, tasks, key):
            own_key = jax.random.fold_in(key, jax.lax.axis_index(AXIS))
            *estimated, state = inner.estimate(meta_params, estimator_state, tasks, own_key)
            return *mean_over(mesh, estimated), state

        average = jax.shard_map(
            on_device,
            mesh=mesh,
            in_specs=(P(), P(AXIS), P(AXIS), P()),
            out_specs=(P(), P(), P(AXIS)),
            axis_names={AXIS},
            check_vma=False,
        )

        def estimate(meta_params, estimator_state, tasks, key):
            meta_batch = checks.batch_size(tasks)
            if meta_batch % devices:
                raise ValueError(
                    f"sharded: meta_batch={meta_batch} does not split over {devices} devices. Use a "
                    f"multiple of {devices}, or mj.task_mesh({meta_batch})."
                )
            return average(meta_params, estimator_state, tasks, key)

        return Estimate(inner.init, estimate)

    return keyed(sharded_estimator)


def parallel(
    meta_batch: int,
    tasks_per_pass: int | None = None,
    estimator: Estimator = jax.value_and_grad,
    *,
    mesh: Mesh | None = None,
) -> Estimator:
    """Spreads the tasks over the devices of a mesh, and computes a few at a time on each.

    Args:
      meta_batch: The number of tasks in an outer step.
      tasks_per_pass: Tasks that a device computes at once, where `meta_batch` means all that it has.
        By default 1 on the CPUs of a mesh, because a convolutional network's work on one task fills
        the cache, and all elsewhere. `automatic` chooses by the program.
      estimator: Called on each part.
      mesh: Such as `task_mesh(meta_batch)`; without it, all tasks are computed on one device.

    Raises:
      ValueError: For no tasks, for devices that do not divide them, and if `tasks_per_pass` is less
        than a device's share and does not divide it.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> mean = lambda w, tasks, key: jnp.mean(w * tasks)
      >>> init, estimate = mj.parallel(6, tasks_per_pass=2)(mean)
      >>> float(estimate(3.0, (), jnp.arange(6.0), jax.random.key(0))[1])
      2.5
    """
    meta_batch = checks.count("parallel", "meta_batch", meta_batch)
    devices = 1 if mesh is None else size(mesh)
    share, rest = divmod(meta_batch, devices)
    if rest:
        raise ValueError(
            f"parallel: meta_batch={meta_batch} does not split over the {devices} devices of the mesh. "
            f"Use mesh=mj.task_mesh({meta_batch}), or another meta_batch."
        )
    on_cpus = mesh is not None and mesh.devices.flat[0].platform == "cpu"
    if tasks_per_pass is None:
        tasks_per_pass = 1 if on_cpus else share
    tasks_per_pass = checks.count("parallel", "tasks_per_pass", tasks_per_pass)
    if tasks_per_pass < share and share % tasks_per_pass:
        raise ValueError(
            f"parallel: meta_batch={meta_batch} gives each device {share} tasks, which do not split into "
            f"passes of tasks_per_pass={tasks_per_pass}. Change one of them."
        )
    if tasks_per_pass < share:
        estimator = chunked(tasks_per_pass, estimator)
    return sharded(mesh, estimator) if mesh is not None and devices > 1 else lift(estimator)
