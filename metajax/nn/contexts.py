"""Models that read a small context beside their weights, for learners that adapt nothing else."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax import checks
from metajax.types import Model, Params


class Conditioned(NamedTuple):
    """A model that also reads a context.

    init: `(key, x) -> params`, with `x` of shape `(n, ...)` read for its shape.
    context: `params -> context`, what every task starts from.
    apply: `(params, context, x) -> predictions` of shape `(n, ...)`, without randomness.
    train: `(params, context, x, key) -> predictions`, what an inner loop descends where that differs
      from `apply`: dropout, say. None where it does not.
    """

    init: Callable[[jax.Array, Any], Params]
    context: Callable[[Params], Params]
    apply: Callable[[Params, Params, Any], Any]
    train: Callable[[Params, Params, Any, jax.Array], Any] | None = None


def in_training(model: Conditioned) -> Callable[[Params, Params, Any, Any], Any]:
    """`(params, context, x, key) -> predictions` that an inner loop descends, dropout included.

    The key may be None where the model draws no random numbers.
    """
    if model.train is not None:
        return model.train
    return lambda params, context, x, key: model.apply(params, context, x)


def as_conditioned(where: str, model: Any) -> Conditioned:
    """Returns a model that reads a context, whose `init` refuses what is no trainable weight.

    Raises:
      ValueError: For a model that reads none; from `init`, for parameters that hold running
        statistics, random state or integers.

    Example:
      >>> as_conditioned("cavia", Model(dict, dict))
      Traceback (most recent call last):
      ValueError: cavia: the model is a Model, which reads no context; give mj.concatenated(model, 4).
    """
    if not isinstance(model, Conditioned):
        raise ValueError(
            f"{where}: the model is a {type(model).__name__}, which reads no context; give "
            "mj.concatenated(model, 4)."
        )

    def init(key, x):
        checks.prng_key(f"{where}: model.init", key)
        params = model.init(key, x)
        checks.trainable(where, params)
        return params

    return model._replace(init=init)


def concatenated(model: Model, size: int) -> Conditioned:
    """A model that reads `size` more inputs, the same for all examples of a task, 0 at the start.

    Args:
      model: Maps inputs `(n, d + size)` to predictions.
      size: Number of inputs that are the context.

    Raises:
      ValueError: If `size` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.concatenated(mj.mlp(), 4)
      >>> params = model.init(jax.random.key(0), jnp.ones((10, 1)))
      >>> model.apply(params, model.context(params), jnp.ones((10, 1))).shape
      (10, 1)

    Reference:
      Zintgraf et al., ICML 2019, section 3.2. https://arxiv.org/abs/1810.03642
    """
    model = checks.as_model("concatenated", model)
    size = checks.count("concatenated", "size", size)

    def both(context, x):
        return jnp.concatenate([x, jnp.broadcast_to(context[None], (len(x), size))], axis=-1)

    return _conditioned(
        model,
        init=lambda key, x: model.init(key, both(jnp.zeros(size, x.dtype), x)),
        context=lambda params: jnp.zeros(size),
        arguments=lambda params, context, x: (params, both(context, x)),
    )


def from_collection(net: nn.Module | Model, name: str = "context") -> Conditioned:
    """A flax linen module with a collection that is the context, such as that of `Film` layers.

    The start of the context is meta-learned with the other collections.

    Args:
      net: A linen module of inputs `(n, ...)`, or a model whose parameters are a dict of collections.
      name: The name of the collection.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.from_collection(nn.Sequential([nn.Dense(8), mj.Film(), nn.relu, nn.Dense(1)]))
      >>> params = model.init(jax.random.key(0), jnp.ones((10, 1)))
      >>> sum(leaf.size for leaf in jax.tree.leaves(model.context(params)))
      16

    Reference:
      Perez, Strub, de Vries, Dumoulin and Courville, AAAI 2018, section 2. Requeima et al.,
      NeurIPS 2019. https://arxiv.org/abs/1709.07871
    """
    model = Model(net.init, net.apply) if isinstance(net, nn.Module) else net
    return _conditioned(
        checks.as_model("from_collection", model),
        init=model.init,
        context=lambda params: params[name],
        arguments=lambda params, context, x: ({**params, name: context}, x),
    )


class LoraParams(NamedTuple):
    """Weights, and for each of their matrices the frozen factor of a low-rank change to it."""

    base: Params
    down: Params


def lora(model: Model, rank: int, *, frozen: Params | None = None) -> Conditioned:
    """A model whose context is a change of low rank to each of its matrices.

    The change of a matrix `(d, c)` is `down @ up`: `down` `(d, rank)` is meta-learned, and `up`
    `(rank, c)` is the context, 0 at the start. Kernels of convolutions count as matrices
    `(kh * kw * d, c)`, and vectors are not changed.

    Args:
      model: Any model.
      rank: The rank of the change.
      frozen: Weights that are not meta-learned, such as those of a large pretrained model. By default
        the model's own weights are meta-learned.

    Raises:
      ValueError: If `rank` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.lora(mj.mlp(), rank=2)
      >>> params = model.init(jax.random.key(0), jnp.ones((10, 1)))
      >>> [leaf.shape for leaf in jax.tree.leaves(model.context(params))]
      [(2, 40), (2, 40), (2, 1)]

    Reference:
      Hu et al., ICLR 2022, section 4.1. https://arxiv.org/abs/2106.09685
    """
    model = checks.as_model("lora", model)
    rank = checks.count("lora", "rank", rank)

    def init(key, x):
        base_key, down_key = jax.random.split(key)
        base = model.init(base_key, x) if frozen is None else frozen
        found = _matrices(base)
        keys = jax.random.split(down_key, len(found))
        rows = [leaf.size // leaf.shape[-1] for leaf in found]
        down = [jax.random.normal(k, (d, rank)) / d**0.5 for k, d in zip(keys, rows, strict=True)]
        return LoraParams(base if frozen is None else (), down)

    def base_of(params):
        return params.base if frozen is None else frozen

    return _conditioned(
        model,
        init=init,
        context=lambda params: [
            jnp.zeros((rank, leaf.shape[-1])) for leaf in _matrices(base_of(params))
        ],
        arguments=lambda params, up, x: (_changed(base_of(params), params.down, up), x),
    )


def _matrices(tree: Params) -> list[jax.Array]:
    return [leaf for leaf in jax.tree.leaves(tree) if leaf.ndim >= 2]


def _changed(base: Params, down: list[jax.Array], up: list[jax.Array]) -> Params:
    """Weights with `down @ up` added to each of their matrices."""
    changes = iter(zip(down, up, strict=True))

    def change(leaf):
        if leaf.ndim < 2:
            return leaf
        left, right = next(changes)
        return leaf + (left @ right).reshape(leaf.shape)

    return jax.tree.map(change, base)


def _conditioned(model: Model, init, context, arguments) -> Conditioned:
    """A conditioned model from `arguments(params, context, x)`, those of `model.apply`."""
    given_key = model.train

    def apply(params, context, x):
        return model.apply(*arguments(params, context, x))

    if given_key is None:
        return Conditioned(init, context, apply)

    def train(params, context, x, key):
        params, x = arguments(params, context, x)
        return given_key(params, x, key)

    return Conditioned(init, context, apply, train)
