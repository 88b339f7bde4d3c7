"""Trees of parameters, their named groups, and their arrays by name."""

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


def group(where: str, argument: str, model: Model, name: str) -> Callable[[Params], Params]:
    """Returns the group of a model that an argument names, as a function of its parameters.

    Args:
      where: The learner whose message it is.
      argument: The argument that names the group, such as `per_step`.
      model: The model that has groups.
      name: The name of one of them.

    Returns:
      `params -> tree of booleans`.

    Raises:
      ValueError: For a name the model does not have; when called, for a group of no array or of all.

    Example:
      >>> import jax.numpy as jnp
      >>> model = Model(dict, dict, groups={"biases": lambda params: {"bias": True, "kernel": False}})
      >>> biases = group("mamlpp", "per_step", model, "biases")
      >>> biases({"bias": jnp.zeros(2), "kernel": jnp.ones(2)})
      {'bias': True, 'kernel': False}
    """
    if not model.groups:
        raise ValueError(
            f"{where}: {argument}={name!r} names a group, but the model has none. Give it some, such as "
            f'model._replace(groups={{{name!r}: trees.by_path(lambda path: "Conv_1" in path)}}).'
        )
    of_params = model.groups[choose(where, argument, name, model.groups)]

    def chosen(params: Params) -> Params:
        tree = of_params(params)
        picks, number = jax.tree.leaves(tree), len(jax.tree.leaves(params))
        if len(picks) != number or all(picks) or not any(picks):
            raise ValueError(
                f"{where}: {argument}={name!r} holds {sum(map(bool, picks))} of the model's {number} "
                "arrays; a group must hold some of them, and not all."
            )
        return tree

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


def as_pytree(function: Callable) -> Any:
    """Returns a function that is a pytree, so that `jit` takes its arrays as arguments.

    A function that is a pytree already, such as a task source with its data, is returned as it is.
    `Partial` of a `Partial` would hide the inner arrays from JAX.

    Example:
      >>> data = jax.tree_util.Partial(max, 3)
      >>> as_pytree(data) is data, jax.tree.leaves(as_pytree(max))
      (True, [])
    """
    whole = jax.tree_util.treedef_is_leaf(jax.tree.structure(function))
    return jax.tree_util.Partial(function) if whole else function
