"""A mean over devices, in as few exchanges as it takes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from metajax.mesh import AXIS

SMALL = 2**18
"""Numbers of an array up to which copying it takes no longer than an exchange of its own."""


def mean_over(mesh: Mesh, tree: Any) -> Any:
    """The mean over the axis `"tasks"` of a mesh, on each of its devices.

    On CPUs every array is an exchange of its own, at which all devices wait for each other, so that all
    small arrays of a type go together there. Elsewhere XLA sees to it, and what is spread over further
    axes of the mesh stays as it lies.

    Args:
      mesh: The devices, inside of a `shard_map` over them.
      tree: Arrays.

    Example:
      >>> from jax.sharding import PartitionSpec as P
      >>> import metajax as mj
      >>> mesh = mj.task_mesh(1)
      >>> mean = jax.shard_map(lambda x: mean_over(mesh, x), mesh=mesh, in_specs=P(), out_specs=P())
      >>> mean({"w": jnp.arange(2.0), "b": jnp.ones(())})["w"].tolist()
      [0.0, 1.0]
    """
    if mesh.devices.flat[0].platform != "cpu" or len(mesh.shape) > 1:
        return jax.lax.pmean(tree, AXIS)
    leaves, structure = jax.tree.flatten(tree)
    together: dict[Any, list[int]] = {}
    for place, leaf in enumerate(leaves):
        together.setdefault(leaf.dtype if leaf.size <= SMALL else place, []).append(place)
    for places in together.values():
        parts = [leaves[place] for place in places]
        for place, part in zip(places, _as_one(parts), strict=True):
            leaves[place] = part
    return jax.tree.unflatten(structure, leaves)


def _as_one(arrays: list[jax.Array]) -> list[jax.Array]:
    """The means of arrays of one type, by a single exchange."""
    flat = jnp.concatenate([array.ravel() for array in arrays])
    ends = np.cumsum([array.size for array in arrays])
    parts = jnp.split(jax.lax.pmean(flat, AXIS), ends[:-1])
    return [part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]
