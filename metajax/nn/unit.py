"""Features of length 1."""

import jax

from metajax import checks
from metajax.ops.unit import unit_rows
from metajax.types import Model


def unit_features(model: Model) -> Model:
    """Returns a model whose features have length 1, so that the same inner rates suit any network and input.

    The square of their length multiplies a step of a linear head, which overshoots on long ones.

    Args:
      model: Maps inputs to features `(n, d)`; features of zeros stay zeros.

    Returns:
      A model of the same parameters and groups.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> model = mj.unit_features(mj.pixels)
      >>> (10 * model.apply((), jnp.array([[3.0, 4.0], [0.0, 0.0]]))).round().tolist()
      [[6.0, 8.0], [0.0, 0.0]]

    Reference:
      Tian, Wang, Krishnan, Tenenbaum and Isola, ECCV 2020, section 3.
      https://arxiv.org/abs/2003.11539
    """
    model = checks.as_model("unit_features", model)
    train = model.train

    def apply(params, x) -> jax.Array:
        return unit_rows(model.apply(params, x))

    def trained(params, x, key) -> jax.Array:
        assert train is not None
        return unit_rows(train(params, x, key))

    return model._replace(apply=apply, train=None if train is None else trained)
