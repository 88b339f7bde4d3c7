"""Haiku's transformed functions as models: weights apart from state, and dropout with a key."""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax

from metajax.nn.state import (
    NONE,
    Groups,
    Statistics,
    check_followed,
    check_statistics,
    groups_of,
    leaf_names,
    random_in_prediction,
    require_choice,
    updated,
)
from metajax.rewriting.fast import fast as rewrite
from metajax.types import Model


def haiku_model(
    transformed: Any,
    *,
    statistics: Statistics = None,
    train: Mapping[str, Any] = NONE,
    predict: Mapping[str, Any] = NONE,
    variables: Any = None,
    groups: Groups = NONE,
    fast: bool = True,
) -> Model:
    """Returns a transformed haiku function as a model whose parameters are its weights alone.

    Running statistics are never adapted and never meta-learned. Dropout is on in adaptation, with a
    key of its own in every inner step, and off in prediction.

    Args:
      transformed: What `hk.transform`, `hk.transform_with_state` or `hk.without_apply_rng` of either
        returns, of inputs `(n, ...)` and predictions `(n, ...)`.
      statistics: For a network with state, what it normalises by. "batch": the batch at hand, in
        adaptation and in prediction, so that a prediction depends on the examples beside it. "frozen":
        constants, the state of `variables`.
      train: Keyword arguments of the function in adaptation, such as `{"is_training": True}`.
      predict: Those in prediction, such as `{"is_training": False}`.
      variables: Of a pretrained network, as `transformed.init` returns them, params or
        `(params, state)`. The params are where `init` begins, and the state is constant.
      groups: Named groups of arrays, for learners that treat some layers in another way: each name to
        whether a path such as `mlp/~/linear_0/w` belongs to it.
      fast: Whether `metajax.fast` rewrites the network's program.

    Returns:
      A model whose parameters are those of `transformed.init(key, x, **train)`, or of `variables`.

    Raises:
      ValueError: If `transformed` is not transformed, or for "frozen" without `variables`; from `init`,
        for state without a choice, a choice that the function does not follow, and dropout that is on
        in prediction.

    Example:
      >>> import haiku as hk, jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.haiku_model(hk.transform(lambda x: hk.nets.MLP([8, 1])(x)))
      >>> params = model.init(jax.random.key(0), jnp.ones((4, 2)))
      >>> model.apply(params, jnp.ones((4, 2))).shape
      (4, 1)
    """
    if not (hasattr(transformed, "init") and hasattr(transformed, "apply")):
        raise ValueError(
            f"haiku_model: transformed={transformed!r:.60} must be what hk.transform(function) returns."
        )
    check_statistics("haiku_model", statistics)
    if statistics == "frozen" and variables is None:
        raise ValueError(
            "haiku_model: statistics='frozen' needs variables=(params, state) of a pretrained network, "
            "because haiku's running variance begins at 0. Give them, or choose statistics='batch'."
        )
    taken = inspect.signature(transformed.apply).parameters
    has_state, has_rng = "state" in taken, "rng" in taken

    def begin(key, x):
        """Weights, and the state that goes with them."""
        begun = transformed.init(key, x, **train) if variables is None else variables
        return begun if has_state else (begun, {})

    def run(state, params, key, x, options):
        """Predictions, and the state after the call."""
        arguments = (params, *((state,) if has_state else ()), *((key,) if has_rng else ()), x)
        out = transformed.apply(*arguments, **options)
        return out if has_state else (out, {})

    def apply(params, x):
        return run(begin(jax.random.key(0), x)[1], params, None, x, predict)[0]

    def in_training(params, x, key):
        return run(begin(jax.random.key(0), x)[1], params, key, x, train)[0]

    differs = dict(train) != dict(predict)

    def init(key, x):
        params, begun = jax.eval_shape(begin, key, x)
        modes = {"prediction": predict} | ({"adaptation": train} if differs else {})
        _check(run, statistics, modes, begun, params, x, variables is not None, has_rng)
        return begin(key, x)[0]

    model = Model(init, apply, in_training if differs else None, groups_of(groups))
    return rewrite(model) if fast else model


def _check(run, statistics, modes, state, params, x, given: bool, has_rng: bool) -> None:
    """Checks by tracing that calls in prediction and in adaptation do what `statistics` says."""
    names = leaf_names(state)
    require_choice("haiku_model", statistics, names, "the state of variables=")
    key = jax.random.key(0)
    for when, options in modes.items():
        keyword = "train" if when == "adaptation" else "predict"
        example = {"is_training": statistics == "batch"}
        argument = f"{keyword}=, the arguments of the function, such as {example}"
        if when == "prediction" and has_rng:
            traced = jax.make_jaxpr(partial(run, options=options))(state, params, key, x).jaxpr
            index = len(jax.tree.leaves((state, params)))
            reads = [variable for equation in traced.eqns for variable in equation.invars]
            if any(variable is traced.invars[index] for variable in reads):
                raise random_in_prediction(
                    "haiku_model", "the function draws random numbers", argument
                )
        changed = updated(lambda *args, o=options: run(*args, o)[1], state, params, key, x)
        check_followed(
            "haiku_model", statistics, when, names, changed, argument=argument, constants=given
        )
