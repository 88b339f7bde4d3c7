"""Devices, and tasks a pass on each, chosen from the program of a task."""

from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from metajax import checks
from metajax.estimators.lift import lift
from metajax.estimators.sharded import parallel
from metajax.marks import mark
from metajax.mesh import size, task_mesh
from metajax.objectives import TaskMean
from metajax.ops.programs import numbers
from metajax.types import Estimate, Estimator, Objective, Params

WORTH_SPREADING, AT_ONCE, SMALL = 1_000_000, 6_000_000, 65_536
"""Of CPUs. The numbers that all tasks compute from where on devices share them, because each step waits for the
slowest; the numbers that the tasks of a pass compute, so that they stay in the cache; and the greatest array
of a pass up to where starting an operation costs more than memory, however many there are.
docs/results/speed.md#tasks-a-pass has measurements."""


class Spread(NamedTuple):
    """How the tasks of an outer step are computed.

    devices: The number of devices that share the tasks.
    tasks_per_pass: The number of tasks that each computes at once.
    is_large: Whether more devices would be used if there were more.
    """

    devices: int
    tasks_per_pass: int
    is_large: bool

    def __str__(self) -> str:
        """Such as "2 devices, 1 task a pass on each"."""
        devices = "1 device" if self.devices == 1 else f"{self.devices} devices"
        tasks = "1 task" if self.tasks_per_pass == 1 else f"{self.tasks_per_pass} tasks"
        return f"{devices}, {tasks} a pass" + (" on each" if self.devices > 1 else "")


def spread(
    objective: TaskMean, meta_params: Params, tasks: Any, key: jax.Array, mesh: Mesh
) -> Spread:
    """Chooses devices and tasks a pass from the traced program of one task; nothing is computed.

    On accelerators all devices share the tasks, and each computes its share at once. On CPUs the tasks
    are spread if they are enough work, and as many are computed at once as compute few numbers, or
    small arrays alone: small operations cost their start, which tasks at once share, and large ones cost memory
    traffic, which tasks at once multiply.

    Args:
      objective: Whose task is traced.
      meta_params, tasks, key: Its arguments; only shapes are read.
      mesh: The devices to choose from.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> small = mj.TaskMean(lambda w, task, key: jnp.sum((w - task) ** 2))
      >>> spread(small, jnp.zeros(3), jnp.ones((8, 3)), jax.random.key(0), mj.task_mesh(8))
      Spread(devices=1, tasks_per_pass=8, is_large=False)
    """
    meta_batch = checks.batch_size(tasks)
    devices = size(_of_devices(mesh, task_mesh(meta_batch, mesh.devices.flat).size))
    if mesh.devices.flat[0].platform != "cpu":
        return Spread(devices, meta_batch // devices, True)

    def first(tasks, key):
        return jax.tree.map(lambda leaf: leaf[0], (tasks, jax.random.split(key, meta_batch)))

    task, own_key = jax.eval_shape(first, tasks, key)
    total, greatest = numbers(jax.make_jaxpr(objective.of_task)(meta_params, task, own_key))
    is_large = meta_batch * total >= WORTH_SPREADING
    devices = devices if is_large else size(_of_devices(mesh, 1))
    share = max(1, meta_batch // devices)
    most = max(1, AT_ONCE // max(total, 1), SMALL // max(greatest, 1))
    tasks_per_pass = max(n for n in range(1, min(share, most) + 1) if share % n == 0)
    return Spread(devices, tasks_per_pass, is_large)


def _of_devices(mesh: Mesh, number: int) -> Mesh:
    """The first devices of a mesh; all of one that the state of a run is on, whatever the program."""
    if len(mesh.shape) > 1 or mesh.is_multi_process:
        return mesh
    return Mesh(mesh.devices.flat[:number], mesh.axis_names)


def automatic(mesh: Mesh) -> Estimator:
    """Differentiates the objective, with devices and tasks a pass as `spread` chooses them.

    An objective that is no `TaskMean` is differentiated as a whole on one device, because it need not
    be a mean over tasks.

    Args:
      mesh: The devices to choose from, such as `task_mesh()`. One that spans processes, or has axes
        besides "tasks", is used whole.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> mean = mj.TaskMean(lambda w, task, key: w * task)
      >>> init, estimate = mj.automatic(mj.task_mesh())(mean)
      >>> float(estimate(3.0, (), jnp.arange(6.0), jax.random.key(0))[1])
      2.5
    """

    def automatic_estimator(objective: Objective) -> Estimate:
        if not isinstance(objective, TaskMean):
            return lift(jax.value_and_grad)(objective)

        def estimate(meta_params, estimator_state, tasks, key):
            meta_batch = checks.batch_size(tasks)
            chosen = spread(objective, meta_params, tasks, key, mesh)
            own = _of_devices(mesh, chosen.devices)
            meta_params = mark("spread", *chosen, on=meta_params)
            chosen_estimator = parallel(meta_batch, chosen.tasks_per_pass, mesh=own)
            return lift(chosen_estimator)(objective).estimate(
                meta_params, estimator_state, tasks, key
            )

        return Estimate(lambda meta_params, tasks, key: (), estimate)

    return automatic_estimator
