"""Trees of parameters by the names of their arrays."""

from collections.abc import Callable
from typing import Any

import jax

from metajax.names import choose
from metajax.types import Model, Params

Join = Callable[[list[Any], list[Any]], Params]


def partition(params: Params, chosen: Params) -> tuple[list[Any], list[Any], Join]:
    """The arrays not chosen, those chosen, and what puts two such lists together again.

    Args:
      params: A pytree.
      chosen: A tree of booleans like it, such as a model's group gives.

    Example:
      >>> params = {"bias": 1, "kernel": 2}
      >>> others, biases, join = partition(params, {"bias": True, "kernel": False})
      >>> others, biases, join([20], [10])
      ([2], [1], {'bias': 10, 'kernel': 20})
    """
    leaves, tree = jax.tree.flatten(params)
    picks = [bool(pick) for pick in jax.tree.leaves(chosen)]
    parts = [
        [leaf for leaf, pick in zip(leaves, picks, strict=True) if pick == part]
        for part in (False, True)
    ]

    def join(others: list[Any], chosen: list[Any]) -> Params:
        sources = iter(others), iter(chosen)
        return jax.tree.unflatten(tree, [next(sources[pick]) for pick in picks])

    return parts[0], parts[1], join


def group(where: str, model: Model, name: str, params: Params) -> Params:
    """The tree of booleans of a model's group.

    Raises:
      ValueError: For a name the model does not have, and for a group of no array or of all.

    Example:
      >>> import jax.numpy as jnp
      >>> model = Model(dict, dict, groups={"biases": lambda params: {"bias": True, "kernel": False}})
      >>> group("mamlpp", model, "biases", {"bias": jnp.zeros(2), "kernel": jnp.ones(2)})
      {'bias': True, 'kernel': False}
    """
    chosen = model.groups[choose(where, "group", name, model.groups)](params)
    picks = jax.tree.leaves(chosen)
    if len(picks) != len(jax.tree.leaves(params)) or all(picks) or not any(picks):
        raise ValueError(
            f"{where}: the model's group {name!r} holds {sum(map(bool, picks))} of "
            f"{len(jax.tree.leaves(params))} arrays; it must hold some of them, and not all."
        )
    return chosen


def by_path(chosen: Callable[[str], bool]) -> Callable[[Params], Params]:
    """Returns a group for `Model.groups` that chooses arrays by their path.

    Args:
      chosen: Whether the array at a path such as `params/Conv_1/kernel` belongs to the group.

    Returns:
      `params -> tree of booleans`.

    Example:
      >>> biases = by_path(lambda path: path.endswith("bias"))
      >>> biases({"head": {"bias": 1.0, "kernel": 2.0}})
      {'head': {'bias': True, 'kernel': False}}
    """

    def choose_arrays(params: Params) -> Params:
        def pick(path, _):
            return bool(chosen(jax.tree_util.keystr(path, simple=True, separator="/")))

        return jax.tree.map_with_path(pick, params)

    return choose_arrays


def named_leaves(tree: Any, array: Callable[[Any], Any]) -> dict[str, Any]:
    """The leaves of a tree by name, such as `meta_params/head/kernel`, each made an `array`.

    Example:
      >>> import jax.numpy as jnp
      >>> named_leaves({"head": {"bias": 3.0}}, jnp.asarray)["head/bias"].shape
      ()
    """
    pairs, _ = jax.tree.flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        if isinstance(leaf, jax.ShapeDtypeStruct)
        else array(leaf)
        for path, leaf in pairs
    }
