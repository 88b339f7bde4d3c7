"""Flax linen modules as models: weights apart from running statistics, and dropout with a key."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
from flax.core import DenyList
from flax.errors import InvalidRngError

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
from metajax.types import Model, Params

_BESIDE_WEIGHTS = DenyList(("params", "intermediates"))
"""Collections whose updates are computed, and then dropped."""


def linen_model(
    net: nn.Module,
    *,
    statistics: Statistics = None,
    train: Mapping[str, Any] = NONE,
    predict: Mapping[str, Any] = NONE,
    variables: Mapping[str, Any] | None = None,
    groups: Groups = NONE,
    fast: bool = True,
) -> Model:
    """Returns a flax linen module as a model whose parameters are its collection `params` alone.

    Running statistics are never adapted and never meta-learned. Dropout is on in adaptation, with a
    key of its own in every inner step, and off in prediction.

    Args:
      net: Maps inputs `(n, ...)` to predictions `(n, ...)`.
      statistics: For a network with running statistics, what it normalises by. "batch": the batch at
        hand, in adaptation and in prediction, so that a prediction depends on the examples beside it.
        "frozen": constants, those of `variables`, or without them what the module begins with: mean 0
        and variance 1.
      train: Keyword arguments of the module's call in adaptation, such as `{"train": True}`.
      predict: Those in prediction, such as `{"train": False}`.
      variables: Of a pretrained network, as `net.init` returns them. Their `params`, if any, are where
        `init` begins; all others are constants.
      groups: Named groups of arrays, for learners that treat some layers in another way: each name to
        whether a path such as `params/Conv_1/kernel` belongs to it.
      fast: Whether `metajax.fast` rewrites the network's program.

    Returns:
      A model whose parameters are `{"params": ...}`.

    Raises:
      ValueError: If `net` is no linen module; from `init`, for running statistics without a choice, a
        choice that the module's call does not follow, and dropout that is on in prediction.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, metajax as mj
      >>> net = nn.Sequential([nn.Dense(8), nn.BatchNorm(use_running_average=False), nn.Dense(1)])
      >>> model = mj.linen_model(net, statistics="batch")
      >>> params = model.init(jax.random.key(0), jnp.ones((4, 2)))
      >>> list(params), model.apply(params, jnp.ones((4, 2))).shape
      (['params'], (4, 1))
    """
    if not isinstance(net, nn.Module):
        raise ValueError(
            f"linen_model: net={net!r:.60} must be a flax linen module, such as nn.Dense(1)."
        )
    check_statistics("linen_model", statistics)
    given = {name: value for name, value in (variables or {}).items() if name != "params"}
    # Without `variables`, layers begin their statistics anew in every call, which must be mutable.
    own = statistics == "frozen" and not given
    mutable = _BESIDE_WEIGHTS if own or statistics == "batch" else False

    differs = dict(train) != dict(predict)

    def call(params, x, options, rngs=None):
        out = net.apply({**given, **params}, x, mutable=mutable, rngs=rngs, **options)
        return out if mutable is False else out[0]

    def in_training(params, x, key):
        return call(params, x, train, _streams(key))

    def init(key, x):
        shapes = jax.eval_shape(partial(net.init, **predict), key, x)
        modes = {"prediction": predict} | ({"adaptation": train} if differs else {})
        _check(net, statistics, modes, shapes, given, x)
        start = variables if variables and "params" in variables else net.init(key, x, **predict)
        return {"params": start.get("params", {})}

    model = Model(
        init=init,
        apply=partial(call, options=predict),
        train=in_training if differs else None,
        groups=groups_of(groups),
    )
    return rewrite(model) if fast else model


def _streams(key: jax.Array) -> dict[str, jax.Array]:
    """Keys of random streams: dropout's, and one that flax takes for streams of other names."""
    return {"dropout": key, "params": jax.random.fold_in(key, 1)}


def _check(
    net: nn.Module,
    statistics: Statistics,
    modes: Mapping[str, Mapping[str, Any]],
    shapes: Mapping[str, Params],
    given: Mapping[str, Any],
    x: Any,
) -> None:
    """Checks by tracing that calls in prediction and in adaptation do what `statistics` says."""
    state = {name: part for name, part in shapes.items() if name not in ("params", "intermediates")}
    names = leaf_names(state)
    require_choice("linen_model", statistics, names, "those of variables=")
    for when, keywords in modes.items():
        argument = "train" if when == "adaptation" else "predict"

        def run(state, params, x, when=when, keywords=keywords):
            rngs = _streams(jax.random.key(0)) if when == "adaptation" else None
            variables = {**params, **state}
            return net.apply(variables, x, mutable=list(state), rngs=rngs, **keywords)[1]

        try:
            changed = updated(run, state, {"params": shapes.get("params", {})}, x)
        except InvalidRngError as error:
            layer = str(error).split(" needs PRNG")[0]
            example = (
                "predict=, the arguments of the network's call, such as {'deterministic': True}"
            )
            raise random_in_prediction(
                "linen_model", f"{layer} draws random numbers", example
            ) from error
        check_followed(
            "linen_model",
            statistics,
            when,
            names,
            changed,
            argument=f"{argument}=, the arguments of the network's call, such as "
            f"{{'use_running_average': {statistics == 'frozen'}}}",
            constants=bool(given),
        )
    if state and not given:
        _check_start(net, shapes, modes["prediction"], x)


def _check_start(net, shapes, keywords, x) -> None:
    """Checks that what is beside the weights begins without random numbers, in every call anew."""

    def begin(params, x):
        return net.apply(params, x, mutable=_BESIDE_WEIGHTS, **keywords)

    try:
        jax.eval_shape(begin, {"params": shapes.get("params", {})}, x)
    except InvalidRngError as error:
        raise ValueError(
            f"linen_model: constants of the network begin with random numbers ({error}). Give them as "
            "variables=net.init(key, x)."
        ) from error
