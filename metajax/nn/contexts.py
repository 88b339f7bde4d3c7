"""Models that read a small context beside their weights, for learners that adapt nothing else."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.types import Model, Params


class Conditioned(NamedTuple):
    """A model that also reads a context.

    init: `(key, x) -> params`, with `x` of shape `(n, ...)` read for its shape.
    context: `params -> context`, what every task starts from.
    apply: `(params, context, x) -> predictions` of shape `(n, ...)`.
    """

    init: Callable[[jax.Array, Any], Params]
    context: Callable[[Params], Params]
    apply: Callable[[Params, Params, Any], Any]


def concatenated(model: Model, size: int) -> Conditioned:
    """A model that reads `size` more inputs, the same for all examples of a task, 0 at the start.

    Args:
      model: of inputs `(n, d + size)`.
      size: of the context.

    Raises:
      ValueError: for a size below 1.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.concatenated(mj.mlp(), 4)
      >>> params = model.init(jax.random.key(0), jnp.ones((10, 1)))
      >>> model.apply(params, model.context(params), jnp.ones((10, 1))).shape
      (10, 1)

    Reference: Zintgraf et al., ICML 2019, section 3.2. https://arxiv.org/abs/1810.03642
    """
    if size < 1:
        raise ValueError(f"concatenated: size={size}; a context has 1 number or more.")

    def beside(context, x):
        return jnp.concatenate([x, jnp.broadcast_to(context, (len(x), size))], axis=-1)

    return Conditioned(
        init=lambda key, x: model.init(key, beside(jnp.zeros((1, size), x.dtype), x)),
        context=lambda params: jnp.zeros(size),
        apply=lambda params, context, x: model.apply(params, beside(context[None], x)),
    )


def from_collection(net: nn.Module, name: str = "context") -> Conditioned:
    """A flax linen module one of whose collections is the context, such as one with `Film` layers.

    Where the context starts is meta-learned with the rest.

    Args:
      net: of inputs `(n, ...)`.
      name: of the collection.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.from_collection(nn.Sequential([nn.Dense(8), mj.Film(), nn.relu, nn.Dense(1)]))
      >>> params = model.init(jax.random.key(0), jnp.ones((10, 1)))
      >>> sum(leaf.size for leaf in jax.tree.leaves(model.context(params)))
      16

    Reference: Perez, Strub, de Vries, Dumoulin and Courville, AAAI 2018, section 2; Requeima et al.,
    NeurIPS 2019. https://arxiv.org/abs/1709.07871
    """
    return Conditioned(
        init=net.init,
        context=lambda params: params[name],
        apply=lambda params, context, x: net.apply({**params, name: context}, x),
    )


class Adapters(NamedTuple):
    """Weights, and for each of their matrices the fixed half of a low-rank change to it."""

    base: Params
    down: Params


def lora(model: Model, rank: int, *, frozen: Params | None = None) -> Conditioned:
    """A model whose context is a change of low rank to each of its matrices.

    The change of a matrix `(d, c)` is `down @ up`, with `down` `(d, rank)` meta-learned and `up`
    `(rank, c)` the context, 0 at the start. Kernels of convolutions count as matrices
    `(kh * kw * d, c)`, and vectors are held.

    Args:
      model: any.
      rank: of the change.
      frozen: weights that are kept as they are, of a large pretrained model say; without them the
        model's own are meta-learned.

    Raises:
      ValueError: for a rank below 1.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.lora(mj.mlp(), rank=2)
      >>> params = model.init(jax.random.key(0), jnp.ones((10, 1)))
      >>> [leaf.shape for leaf in jax.tree.leaves(model.context(params))]
      [(2, 40), (2, 40), (2, 1)]

    Reference: Hu et al., ICLR 2022, section 4.1. https://arxiv.org/abs/2106.09685
    """
    if rank < 1:
        raise ValueError(f"lora: rank={rank}; it is 1 or more.")

    def matrices(tree):
        return [leaf for leaf in jax.tree.leaves(tree) if leaf.ndim >= 2]

    def init(key, x):
        base_key, down_key = jax.random.split(key)
        base = model.init(base_key, x) if frozen is None else frozen
        found = matrices(base)
        keys = jax.random.split(down_key, len(found))
        rows = [leaf.size // leaf.shape[-1] for leaf in found]
        down = [jax.random.normal(k, (d, rank)) / d**0.5 for k, d in zip(keys, rows, strict=True)]
        return Adapters(base if frozen is None else (), down)

    def base_of(params):
        return params.base if frozen is None else frozen

    def context(params):
        return [jnp.zeros((rank, leaf.shape[-1])) for leaf in matrices(base_of(params))]

    def apply(params, context, x):
        leaves, tree = jax.tree.flatten(base_of(params))
        changes = iter(zip(params.down, context, strict=True))

        def changed(leaf):
            if leaf.ndim < 2:
                return leaf
            down, up = next(changes)
            return leaf + (down @ up).reshape(leaf.shape)

        return model.apply(jax.tree.unflatten(tree, [changed(leaf) for leaf in leaves]), x)

    return Conditioned(init, context, apply)
