"""Equinox modules as models: one example to a batch, and dropout with a key for each example."""

from collections.abc import Callable
from typing import Any

import jax

from metajax.nn.state import NONE, Groups, groups_by_parent, groups_of, leaf_names
from metajax.rewriting.fast import fast as rewrite
from metajax.types import Model


def equinox_model(
    build: Callable[[jax.Array], Any], *, groups: Groups = NONE, fast: bool = True
) -> Model:
    """Returns an equinox module of one example as a model of a batch.

    Its floating-point arrays are the parameters; all else is constant. Dropout is on in adaptation,
    with a key of its own for every example and inner step, and off in prediction.

    Args:
      build: Makes the module from a key. The module maps one example to its prediction. With dropout
        it also takes `key=`, as equinox's own layers do.
      groups: Named groups of arrays, beside one for each field of the module: each name to whether a
        path such as `layers/0/weight` belongs to it.
      fast: Whether `metajax.fast` rewrites the network's program.

    Returns:
      A model whose parameters are the module with None in place of its constants. It has a group for
      each field of the module that holds weights.

    Raises:
      ValueError: For a module with running statistics, such as `eqx.nn.BatchNorm`.

    Example:
      >>> import equinox as eqx, jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.equinox_model(lambda key: eqx.nn.MLP(2, 1, width_size=8, depth=1, key=key))
      >>> params = model.init(jax.random.key(0), jnp.ones((4, 2)))
      >>> model.apply(params, jnp.ones((4, 2))).shape
      (4, 1)
    """
    import equinox as eqx

    module = eqx.filter_eval_shape(build, jax.random.key(0))
    _refuse_state(eqx, module)
    weights, constants = eqx.partition(module, _is_weight)
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(constants)):
        # Arrays of integers, say, whose values are needed.
        constants = eqx.partition(build(jax.random.key(0)), eqx.is_inexact_array)[1]

    def init(key, x):
        del x
        leaves = jax.tree.leaves(eqx.filter(build(key), eqx.is_inexact_array))
        # Static fields that every call of `build` makes anew, such as functions, are those of one call.
        return jax.tree.unflatten(jax.tree.structure(weights), leaves)

    def apply(params, x):
        return jax.vmap(eqx.nn.inference_mode(eqx.combine(params, constants)))(x)

    def train(params, x, key):
        module = eqx.combine(params, constants)
        keys = jax.random.split(key, jax.tree.leaves(x)[0].shape[0])
        return jax.vmap(lambda x, key: module(x, key=key))(x, keys)

    has_dropout = any(map(_has_inference, jax.tree.leaves(module, is_leaf=_has_inference)))
    own = groups_by_parent(leaf_names(weights))
    model = Model(init, apply, train if has_dropout else None, {**own, **groups_of(groups)})
    return rewrite(model) if fast else model


def _is_weight(leaf: Any) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct) and jax.numpy.issubdtype(
        leaf.dtype, jax.numpy.inexact
    )


def _has_inference(node: Any) -> bool:
    """Whether a part of a module behaves in another way in prediction, as dropout does."""
    return hasattr(node, "inference")


def _refuse_state(eqx: Any, module: Any) -> None:
    """Checks that no layer keeps running statistics.

    Raises:
      ValueError: Naming the first such layer.
    """

    def is_state(node):
        return isinstance(node, eqx.nn.State | eqx.nn.StateIndex)

    for path, node in jax.tree.leaves_with_path(module, is_leaf=is_state):
        if is_state(node):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise ValueError(
                f"equinox_model: the module holds {name}, running statistics that equinox keeps in an "
                "eqx.nn.State and that no learner updates. Use eqx.nn.LayerNorm or eqx.nn.GroupNorm, or "
                "write the network in flax for mj.linen_model(net, statistics='batch')."
            )
