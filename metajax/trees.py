"""Trees of parameters by the names of their arrays."""

from collections.abc import Callable
from typing import Any

import jax

from metajax.types import Params

Join = Callable[[list[Any], list[Any]], Params]


def partition(params: Params, chosen: Callable[[str], bool]) -> tuple[list[Any], list[Any], Join]:
    """The arrays not chosen, those chosen, and what puts two such lists together again.

    Args:
      params: a pytree.
      chosen: of an array's path, such as "['params']['Dense_1']['kernel']".

    Example:
      >>> others, biases, join = partition({"bias": 1, "kernel": 2}, lambda path: "bias" in path)
      >>> others, biases, join([20], [10])
      ([2], [1], {'bias': 10, 'kernel': 20})
    """
    paths, tree = jax.tree.flatten_with_path(params)
    picks = [chosen(jax.tree_util.keystr(path)) for path, _ in paths]
    parts = [
        [leaf for (_, leaf), pick in zip(paths, picks, strict=True) if pick == part]
        for part in (False, True)
    ]

    def join(others: list[Any], chosen: list[Any]) -> Params:
        sources = iter(others), iter(chosen)
        return jax.tree.unflatten(tree, [next(sources[pick]) for pick in picks])

    return parts[0], parts[1], join


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
