"""A model of any framework, with its program rewritten to be fast in meta-learning."""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core as jex

from metajax.rewriting.groups import groups
from metajax.rewriting.layouts import layouts
from metajax.rewriting.nested import nested
from metajax.rewriting.operations import operations
from metajax.rewriting.patterns import activations, normalisations, softmaxes
from metajax.rewriting.pooled import pooled
from metajax.rewriting.program import Program, flattened, replaced_in
from metajax.rewriting.relu import relus
from metajax.types import Model, Params

PATTERNS = (
    relus,
    layouts,
    groups,
    normalisations,
    pooled,
    softmaxes,
    activations,
    operations,
)


def fast(model: Model) -> Model:
    """Returns an equal model that is fast under `vmap` over tasks and in second derivatives.

    `apply` is traced, and its program is rewritten with `metajax.ops`: convolutions of any layout,
    grouped ones too, dense layers and pooling; layer, group, batch and RMS normalisation, softmax, GELU
    and SiLU, which are known by what they compute, however they are written. Between convolutions
    channels are kept last, wherever their author has them. Max pooling comes before
    the batch normalisation that it follows, where nothing else reads that. Maxima and minima are
    replaced because JAX's derivative of them can silently become 0 in a compiled program: see
    `metajax.ops.greatest`. Values and derivatives are equal but for rounding. What is not understood
    stays as it is: custom derivative rules, other normalisations, a network that cannot be traced.
    Loops, branches and rematerialised parts are rewritten inside.

    Args:
      model: Of any framework, or bare functions.

    Raises:
      ValueError: If `model` is no model.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.linen_model(nn.Sequential([nn.Conv(4, (3, 3)), nn.LayerNorm(), nn.gelu]))
      >>> x = jnp.ones((2, 8, 8, 3))
      >>> params = model.init(jax.random.key(0), x)
      >>> mj.replacements(model, params, x)
      {'GELU': 1, 'convolution': 1, 'layer norm': 1}
      >>> bool(jnp.allclose(mj.fast(model).apply(params, x), model.apply(params, x), atol=1e-5))
      True
    """
    if not isinstance(model, Model):
        raise ValueError(
            f"fast: model is a {type(model).__name__}, not a mj.Model; wrap it, as in "
            "mj.linen_model(net) or mj.Model(init, apply)."
        )
    train = None if model.train is None else rewritten(model.train)
    return model._replace(apply=rewritten(model.apply), train=train)


def replacements(model: Model, params: Params, x: Any) -> dict[str, int]:
    """How many operations of each kind `fast` replaces in a model's `apply`.

    Args:
      model: Rewritten or not.
      params: Of the model; only shapes are read.
      x: Inputs; only shapes are read.

    Returns:
      A number for each kind, such as "layer norm" or "convolution"; of a model that is rewritten
      already, what was replaced.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.Model(lambda key, x: jnp.ones((3, 1)), lambda w, x: x @ w)
      >>> mj.replacements(model, jnp.ones((3, 1)), jnp.ones((2, 3)))
      {'dense product': 1}
    """
    found = replaced_in(jax.make_jaxpr(rewritten(model.apply))(params, x).jaxpr)
    return dict(sorted(found.items()))


def rewritten(function: Callable) -> Callable:
    """A function of arrays that computes the same by another program.

    Example:
      >>> import jax.numpy as jnp
      >>> rewritten(lambda w, x: x @ w)(jnp.ones((3, 1)), jnp.ones((1, 3))).tolist()
      [[3.0]]
    """

    def fast_function(*arguments):
        try:
            closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        except Exception:  # it needs values, or has a fault of its own, and then says so itself
            return function(*arguments)
        program = _rewrite(closed)
        if not program.replaced:
            return function(*arguments)
        return jax.tree.unflatten(jax.tree.structure(shape), program(*jax.tree.leaves(arguments)))

    return fast_function


def _rewrite(closed: jex.ClosedJaxpr) -> Program:
    program = flattened(closed)
    for pattern in PATTERNS:
        pattern(program)
    nested(program, _rewrite)
    return program
