"""Devices as a value: a mesh over whose axis `"tasks"` a batch of tasks is spread."""

from collections.abc import Iterable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from metajax import checks

AXIS = "tasks"
Tree = TypeVar("Tree")


def task_mesh(meta_batch: int | None = None, devices: Iterable[Any] | None = None) -> Mesh:
    """Returns a mesh of as many devices as divide the meta-batch, the same number of each process.

    On a CPU, one device per core is faster than one for all, because small products do not split well
    over threads. `mj.prepare_cpu()` asks JAX for them, before anything is computed.

    Args:
      meta_batch: The number of tasks in an outer step; None for all devices.
      devices: Those to use; by default all of this process. After `jax.distributed.initialize`,
        `jax.devices()` are those of all processes.

    Raises:
      ValueError: For no task, for no device, and for a meta-batch that the processes cannot share.

    Example:
      >>> import jax, metajax as mj
      >>> mj.task_mesh(4, jax.devices()[:1]).size
      1
    """
    chosen = list(jax.local_devices() if devices is None else devices)
    if not chosen:
        raise ValueError("task_mesh: devices=[] must hold at least one device.")
    if meta_batch is not None:
        chosen = _dividing(checks.count("task_mesh", "meta_batch", meta_batch), chosen)
    return Mesh(np.asarray(chosen), (AXIS,))


def _dividing(meta_batch: int, devices: list[Any]) -> list[Any]:
    """As many devices as divide the meta-batch, the first ones of each process."""
    of_process: dict[int, list[Any]] = {}
    for device in devices:
        of_process.setdefault(device.process_index, []).append(device)
    processes = len(of_process)
    most = min(meta_batch // processes, *map(len, of_process.values()))
    each = [n for n in range(1, most + 1) if meta_batch % (n * processes) == 0]
    if not each:
        raise ValueError(
            f"task_mesh: meta_batch={meta_batch} cannot be shared by {processes} processes; give a multiple "
            f"of {processes}, or start fewer processes."
        )
    return [device for own in of_process.values() for device in own[: each[-1]]]


def size(mesh: Mesh, where: str = "mesh") -> int:
    """Returns the number of parts that the axis `"tasks"` of a mesh splits a batch into.

    Args:
      mesh: The devices.
      where: The first word of the error message.

    Raises:
      ValueError: For a mesh without that axis, and for what is no mesh.

    Example:
      >>> import metajax as mj
      >>> size(mj.task_mesh(1))
      1
    """
    if not isinstance(mesh, Mesh):
        raise ValueError(
            f"{where}: mesh={mesh!r:.60} must be a mesh of devices, such as mj.task_mesh(meta_batch)."
        )
    if AXIS not in mesh.shape:
        raise ValueError(
            f"{where}: the axes of the mesh are {', '.join(map(repr, mesh.axis_names))}, but tasks are spread "
            f"over an axis {AXIS!r}. Make it with mj.task_mesh(meta_batch), or name one of its axes so."
        )
    return mesh.shape[AXIS]


def placed(mesh: Mesh, tree: Tree) -> Tree:
    """Returns a tree whose arrays are on all devices of a mesh, those of other processes included.

    Args:
      mesh: The devices.
      tree: The same arrays in every process. Those that the mesh holds already stay as they are.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> placed(mj.task_mesh(1), {"w": jnp.ones(2)})["w"].sharding.is_fully_replicated
      True
    """
    everywhere = NamedSharding(mesh, P())

    def on_all(leaf):
        if getattr(getattr(leaf, "sharding", None), "mesh", None) == mesh:
            return leaf
        if jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key):
            data = _put(jax.random.key_data(leaf), everywhere)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return _put(leaf, everywhere)

    return jax.tree.map(on_all, tree)


def resembling(tree: Tree, like: Tree) -> Tree:
    """Returns a tree whose arrays are where those of another tree are, if those are on a mesh.

    Args:
      tree: The same arrays in every process.
      like: Arrays of the same shapes.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> there = placed(mj.task_mesh(1), jnp.ones(2))
      >>> resembling(jnp.zeros(2), there).sharding == there.sharding
      True
    """

    def move(leaf: Any, other: Any) -> Any:
        if leaf is other or not isinstance(other.sharding, NamedSharding):
            return leaf
        if jnp.issubdtype(other.dtype, jax.dtypes.prng_key):
            where: Any = other.sharding.mesh
            return placed(where, leaf)
        return _put(leaf, other.sharding)

    return jax.tree.map(move, tree, like)


def unplaced(tree: Tree) -> Tree:
    """Returns a tree whose arrays are bound to no device, so that they can be used beside any other.

    Args:
      tree: Arrays on any devices. What is spread over processes is gathered, so that all of them must
        call this.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> unplaced(placed(mj.task_mesh(1), jnp.ones(2))).tolist()
      [1.0, 1.0]
    """

    def unbound(leaf):
        if not leaf.is_fully_addressable and not leaf.is_fully_replicated:
            leaf = _gathered(leaf, NamedSharding(leaf.sharding.mesh, P()))
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = jnp.asarray(np.asarray(jax.random.key_data(leaf)))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return jnp.asarray(np.asarray(leaf))

    return jax.tree.map(unbound, tree)


def _put(leaf: Any, where: NamedSharding) -> jax.Array:
    """An array on devices; unlike `jax.device_put` without comparing it with that of other processes."""
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, where, lambda index: whole[index])


def _gathered(leaf: Any, everywhere: NamedSharding) -> Any:
    return jax.jit(lambda leaf: leaf, out_shardings=everywhere)(leaf)
