"""Flax nnx modules as models: weights apart from running statistics and random streams."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from metajax.nn.state import (
    NONE,
    Groups,
    Statistics,
    check_followed,
    check_statistics,
    groups_by_parent,
    groups_of,
    leaf_names,
    random_in_prediction,
    require_choice,
    updated,
)
from metajax.rewriting.fast import fast as rewrite
from metajax.types import Model


def nnx_model(
    build: Callable[[nnx.Rngs], Any],
    *,
    statistics: Statistics = None,
    train: Mapping[str, Any] = NONE,
    predict: Mapping[str, Any] = NONE,
    groups: Groups = NONE,
    fast: bool = True,
) -> Model:
    """Returns a flax nnx module as a model whose parameters are its `nnx.Param` variables alone.

    Running statistics are never adapted and never meta-learned. The module's attributes
    `deterministic` and `use_running_average` are set: dropout is on in adaptation, with a key of its
    own in every inner step, and off in prediction.

    Args:
      build: Makes the module from its random streams.
      statistics: For a module with running statistics, what it normalises by. "batch": the batch at
        hand, in adaptation and in prediction, so that a prediction depends on the examples beside it.
        "frozen": constants, those of the module that `build(nnx.Rngs(0))` returns.
      train: Keyword arguments of the module's call in adaptation, if its attributes are not enough.
      predict: Those in prediction.
      groups: Named groups of arrays, beside one for each attribute of the module: each name to
        whether a path such as `linear/kernel` belongs to it.
      fast: Whether `metajax.fast` rewrites the network's program.

    Returns:
      A model whose parameters are nested dicts of arrays. It has a group for each attribute of the
      module that holds weights.

    Raises:
      ValueError: For variables that are no weights, without a choice; from `init`, for a choice that
        the module's call does not follow, and dropout that is on in prediction.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> from flax import nnx
      >>> model = mj.nnx_model(lambda rngs: nnx.Linear(1, 3, rngs=rngs))
      >>> x = jnp.ones((2, 1))
      >>> model.apply(model.init(jax.random.key(0), x), x).shape
      (2, 3)
    """
    check_statistics("nnx_model", statistics)
    module = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
    structure, weights, streams, state = nnx.split(module, nnx.Param, nnx.RngState, ...)
    tags = sorted({leaf.tag for _, leaf in nnx.to_flat_state(streams)})
    weights, streams, state = map(nnx.to_pure_dict, (weights, streams, state))
    names = leaf_names(state)
    require_choice("nnx_model", statistics, names, "those of build(nnx.Rngs(0))")
    constants = jax.jit(lambda: _beside(build(nnx.Rngs(0))))() if names else {}

    def run(streams, state, params, x, options, key=None):
        """Predictions, and the state and the random streams after the call."""
        module = nnx.merge(structure, *map(nnx.State, (params, streams, state)))
        if key is not None and tags:
            keys: Any = {tag: jax.random.fold_in(key, i) for i, tag in enumerate(tags)}
            nnx.reseed(module, policy="match_shape", **keys)
        module.set_attributes(
            deterministic=key is None,
            use_running_average=statistics == "frozen",
            raise_if_not_found=False,
        )
        predictions = module(x, **options)
        return predictions, _beside(module), nnx.to_pure_dict(nnx.state(module, nnx.RngState))

    def apply(params, x):
        return run(_unused(streams), constants, params, x, predict)[0]

    def in_training(params, x, key):
        return run(_unused(streams), constants, params, x, train, key)[0]

    differs = bool(tags) or dict(train) != dict(predict)

    def init(key, x):
        modes: dict[str, Any] = {"prediction": ("predict", predict, None)}
        if differs:
            modes["adaptation"] = ("train", train, jax.random.key(0))
        _check(run, statistics, streams, state, weights, x, modes)
        return nnx.to_pure_dict(nnx.state(build(nnx.Rngs(key)), nnx.Param))

    own = groups_by_parent(leaf_names(weights))
    model = Model(init, apply, in_training if differs else None, {**own, **groups_of(groups)})
    return rewrite(model) if fast else model


def _beside(module: Any) -> Any:
    """All variables of a module that are neither weights nor random streams."""
    _, _, _, state = nnx.split(module, nnx.Param, nnx.RngState, ...)
    return nnx.to_pure_dict(state)


def _unused(streams: Any) -> Any:
    """Random streams of these shapes, for calls that draw nothing or that give them keys first."""

    def fill(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jnp.broadcast_to(jax.random.key(0), leaf.shape)
        return jnp.zeros(leaf.shape, leaf.dtype)

    return jax.tree.map(fill, streams)


def _check(run, statistics, streams, state, weights, x, modes) -> None:
    """Checks by tracing that calls in prediction and in adaptation do what `statistics` says."""
    names = leaf_names(state)
    for when, (argument, options, key) in modes.items():
        argument = f"{argument}=, the arguments of the module's call, or its attributes"

        def streams_after(streams, state, params, x, options=options, key=key):
            return run(streams, state, params, x, options, key)[2]

        def state_after(state, streams, params, x, options=options, key=key):
            return run(streams, state, params, x, options, key)[1]

        if key is None and (drawn := updated(streams_after, streams, state, weights, x)):
            layer = drawn[0].split("/rngs")[0]
            raise random_in_prediction("nnx_model", f"{layer} draws random numbers", argument)
        changed = updated(state_after, state, streams, weights, x)
        check_followed(
            "nnx_model", statistics, when, names, changed, argument=argument, constants=True
        )
