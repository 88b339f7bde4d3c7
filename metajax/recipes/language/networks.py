"""Networks of the recipes of language: n-grams weighed by word statistics, maps of frozen vectors, and both."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metajax.nn.models import mlp
from metajax.ops.unit import unit_rows
from metajax.types import Model

LENGTH = 4.0
"""The length of a row of features, for which a ridge of about its square suits `r2d2`."""
SHARE = 0.5
"""The length of the projection of training sentences at the start, as a share of the bag's."""
BESIDE = 0.5
"""The share of n-grams beside vectors at the start: 0.5 to 0.75 serve best on validation domains."""


def weighed(frequency: np.ndarray, kinds: int, start: np.ndarray, *, hidden: int = 16) -> Model:
    """A bag whose weights are a function of word statistics, beside a learned projection of it.

    The weight of an n-gram is its inverse frequency times `exp(f(statistics))`, where `f` is a small network
    that starts at 0, so that an untrained bag is TF-IDF. It reads the inverse frequency, the kind of the
    n-gram, in how many support sentences it is, and in how few classes. The projection weighs by a function
    of its own, and has a length that is learned. A sentence of other words than those of training has a short
    one, so that features then are little more than the bag.

    Args:
      frequency: `(size,)`, the inverse frequency of every id.
      kinds: The number of kinds of n-grams, each with equally many ids.
      start: What the projection starts from, `(size, features)`, such as `discriminants`, after which
        training sentences have a length of about 1; none of 0 features.
      hidden: The width of `f`.

    Returns:
      A model of a dict of `ids (n, width)` and `statistics (n, width, 2)` to features
      `(n, size + features)`.
    """
    size = len(frequency)
    buckets = (size - 1) // kinds
    scaled = jnp.asarray(frequency / frequency.max())
    frequency_of = jnp.asarray(frequency)
    net = mlp((hidden,), 2, start="lecun")

    def described(x):
        ids = x["ids"]
        kind = jax.nn.one_hot((ids - 1) // buckets, kinds)
        return jnp.concatenate([scaled[ids][..., None], x["statistics"], kind], axis=-1)

    def init(key, x):
        params = net.init(key, described(jax.tree.map(lambda leaf: leaf[:1, :1], x))[0])
        last = params["params"]["Dense_1"]
        params["params"]["Dense_1"] = {name: jnp.zeros_like(leaf) for name, leaf in last.items()}
        share = jnp.log(jnp.asarray(SHARE))
        return {"weigh": params, "projection": jnp.asarray(start), "share": share}

    def apply(params, x):
        ids = x["ids"]
        rows = jnp.arange(len(ids))[:, None]
        known = described(x)
        factors = jnp.exp(net.apply(params["weigh"], known.reshape(-1, known.shape[-1])))
        factors = factors.reshape(*ids.shape, 2) * frequency_of[ids][..., None]

        def bag(weights):
            return unit_rows(jnp.zeros((len(ids), size)).at[rows, ids].add(weights))

        own = bag(factors[..., 0])
        if not start.shape[1]:
            return LENGTH * own
        projected = bag(factors[..., 1]) @ params["projection"]
        return LENGTH * jnp.concatenate([own, jnp.exp(params["share"]) * projected], axis=1)

    return Model(init, apply)


def centred(centre: np.ndarray) -> Model:
    """Frozen vectors of length 1, from which their mean over training sentences is taken, without parameters.

    Most of what two sentences share in such vectors is what all sentences do.

    Args:
      centre: `(width,)`, the mean of training vectors of length 1.

    Example:
      >>> centred(np.array([0.6, 0.0])).apply((), jnp.array([[3.0, 4.0]])).round(2).tolist()
      [[0.0, 1.0]]

    Reference:
      Mu and Viswanath, ICLR 2018, section 2, its first step. https://arxiv.org/abs/1702.01417
    """
    return Model(
        lambda key, x: (), lambda params, x: unit_rows(unit_rows(x) - jnp.asarray(centre)[None])
    )


def residual(centre: np.ndarray, *, hidden: int = 256) -> Model:
    """A map of centred frozen vectors that starts at the identity, after which rows have one length.

    Args:
      centre: As of `centred`; it is learned from there.
      hidden: Of the network that is added, whose last layer starts at 0.

    Returns:
      A model of vectors `(n, width)` and features `(n, width)`.
    """
    width = len(centre)

    def init(key, x) -> Any:
        del x
        first = jax.random.normal(key, (width, hidden)) / width**0.5
        return {
            "centre": jnp.asarray(centre),
            "first": first,
            "last": jnp.zeros((hidden, width)),
        }

    def apply(params, x):
        x = unit_rows(unit_rows(x) - params["centre"][None])
        more = jax.nn.relu(x @ params["first"] * width**0.5) @ params["last"]
        return LENGTH * unit_rows(x + more)

    return Model(init, apply)


def side_by_side(vectors: jax.Array, grams: jax.Array, share: Any = BESIDE) -> jax.Array:
    """Joins features `(n, d)` and `(n, e)` of one length; inner products are weighed sums of theirs.

    Example:
      >>> side_by_side(jnp.array([[1.0, 0.0]]), jnp.array([[1.0]]), 1.0).round(1).tolist()
      [[0.699999988079071, 0.0, 0.699999988079071]]
    """
    return jnp.concatenate([vectors, share**0.5 * grams], axis=1) / (1 + share) ** 0.5


def beside(vectors: Model, grams: Model) -> Model:
    """Features of frozen vectors beside those of n-grams; the share of the latter is learned.

    Args:
      vectors: Maps `vectors (n, d)` to features.
      grams: Maps what else there is of each sentence to features of the same length.

    Returns:
      A model of a dict of `vectors` and what `grams` reads.
    """

    def init(key, x):
        keys = jax.random.split(key)
        own = {"vectors": vectors.init(keys[0], x["vectors"]), "grams": grams.init(keys[1], x)}
        return own | {"share": jnp.log(jnp.asarray(BESIDE))}

    def apply(params, x):
        first = vectors.apply(params["vectors"], x["vectors"])
        second = grams.apply(params["grams"], x)
        return side_by_side(first, second, jnp.exp(params["share"]))

    return Model(init, apply)
