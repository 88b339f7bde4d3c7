"""Families of problems for optimisers: what is trained, on what, and by which loss."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax import checks
from metajax.masks import mean_loss
from metajax.metrics.losses import cross_entropy, mse
from metajax.names import choose
from metajax.nn.models import linear
from metajax.ops import conv_general_dilated
from metajax.types import Examples, Loss, Model, Sample, Task

ActivationName = Literal["sigmoid", "relu", "tanh", "gelu"]
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "sigmoid": nn.sigmoid,
    "relu": nn.relu,
    "tanh": nn.tanh,
    "gelu": nn.gelu,
}


class Problem(NamedTuple):
    """A family of training problems, whose parts fit any learner with an inner loop.

    sample: `key -> Task`; the support set trains, the query set validates.
    model: The model that is trained.
    loss: Predictions and targets to one value per example, `(n,)`, or to their mean, a scalar.
    """

    sample: Sample
    model: Model
    loss: Loss


def quadratics(dimension: int = 10, *, condition: float = 100.0) -> Problem:
    """Quadratics `(w - optimum)' A (w - optimum)` with random eigenvectors and the minimum 0.

    The eigenvalues of `A` are log-uniform between `1 / condition` and 1; the optimum and the start
    are standard normal. A task holds rows of a root of `A` as inputs, so that the mean squared error
    of a linear model is the quadratic. Support and query set are the same, because there is one
    function to descend.

    Args:
      dimension: The dimension of `w`, whose shape is `(dimension, 1)`.
      condition: The greatest ratio of two eigenvalues. SGD's best rate is at most 1 for any ratio.

    Raises:
      ValueError: For a dimension or a condition below 1.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> problem = mj.problems.quadratics(2)
      >>> x, y, _ = problem.sample(jax.random.key(0)).support
      >>> optimum = jnp.linalg.solve(x, y)
      >>> bool(problem.loss(problem.model.apply(optimum, x), y).max() < 1e-8)
      True

    Reference:
      Andrychowicz et al., NeurIPS 2016, section 3.1, whose matrices are Gaussian.
      https://arxiv.org/abs/1606.04474
    """
    dimension = checks.count("quadratics", "dimension", dimension)
    checks.positive("quadratics", "condition", condition, least=1)

    def sample(key):
        values_key, vectors_key, optimum_key = jax.random.split(key, 3)
        eigenvalues = condition ** -jax.random.uniform(values_key, (dimension, 1))
        vectors = _orthogonal(vectors_key, dimension)
        # The mean over rows divides by the dimension.
        rows = jnp.sqrt(dimension * eigenvalues) * vectors.T
        function = Examples(rows, rows @ jax.random.normal(optimum_key, (dimension, 1)))
        return Task(support=function, query=function)

    def start(key, x):
        return jax.random.normal(key, (x.shape[-1], 1))

    return Problem(sample, Model(start, lambda params, x: x @ params), mse)


def logistic(sample: Sample, way: int) -> Problem:
    """Logistic regression from a start of 0: convex, and flat far from the minimum.

    Args:
      sample: A source of labelled vectors, such as `mj.tasks.clusters(way=2)`.
      way: Number of classes.

    Raises:
      ValueError: If `way` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> problem = mj.problems.logistic(mj.tasks.clusters(way=2), 2)
      >>> params = problem.model.init(jax.random.key(0), jnp.zeros((1, 16)))
      >>> problem.model.apply(params, jnp.ones((1, 16))).tolist()
      [[0.0, 0.0]]
    """
    net = linear(checks.count("logistic", "way", way))
    return Problem(
        sample, Model(net.init, lambda params, x: net.apply(params, _flat(x))), cross_entropy
    )


def mlps(
    sample: Sample,
    way: int,
    *,
    width: int = 20,
    depth: int = 1,
    activation: ActivationName = "sigmoid",
) -> Problem:
    """Perceptrons of one shape on new data in every task.

    Args:
      sample: A source of labelled vectors or images, such as `mj.tasks.mnist()` or
        `mj.tasks.clusters()`.
      way: Number of classes.
      width: Width of every hidden layer.
      depth: Number of hidden layers.
      activation: The function between them.

    Raises:
      ValueError: For a number below 1, or an activation that does not exist.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> problem = mj.problems.mlps(mj.tasks.clusters(), 5, width=8, depth=2, activation="relu")
      >>> x = jnp.zeros((50, 16))
      >>> problem.model.apply(problem.model.init(jax.random.key(0), x), x).shape
      (50, 5)

    Reference:
      Andrychowicz et al., NeurIPS 2016, section 3.2, for 20 sigmoids and the variants to test on.
      https://arxiv.org/abs/1606.04474
    """
    _check("mlps", activation, way=way, width=width, depth=depth)
    net = _Mlp(width, depth, way, activation)
    return Problem(sample, Model(net.init, net.apply), cross_entropy)


def convs(
    sample: Sample,
    way: int,
    *,
    filters: int = 8,
    depth: int = 2,
    activation: ActivationName = "relu",
) -> Problem:
    """Small convolutional networks of one shape on new images in every task.

    Args:
      sample: A source of labelled images `(n, h, w, c)`, such as `mj.tasks.glyphs(way=5, shot=5)`.
      way: Number of classes.
      filters: Number of channels of every layer.
      depth: Number of layers, each of which halves the image.
      activation: The function after each layer.

    Raises:
      ValueError: For a number below 1, or an activation that does not exist.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> problem = mj.problems.convs(mj.tasks.glyphs(way=3, size=12), 3)
      >>> x = jnp.zeros((3, 12, 12, 1))
      >>> problem.model.apply(problem.model.init(jax.random.key(0), x), x).shape
      (3, 3)
    """
    _check("convs", activation, way=way, filters=filters, depth=depth)
    net = _Conv(filters, depth, way, activation)
    return Problem(sample, Model(net.init, net.apply), cross_entropy)


def together(problems: Sequence[Problem]) -> Problem:
    """One problem of several: a task of each, trained side by side, with the sum of their mean losses.

    Shapes may differ, so that an optimiser is meta-trained on many architectures and data sets at
    once. Each gradient is that of its problem alone. A rule that steps every coordinate or array by
    itself therefore steps each problem as if it were alone.

    Args:
      problems: The problems, at least one.

    Returns:
      A problem whose inputs, targets, parameters and predictions are tuples with an entry for each.
      Its loss is a scalar.

    Raises:
      ValueError: For no problem; from `sample`, for a problem with masked examples, because the sets
        of several problems share no mask.

    Example:
      >>> import jax, metajax as mj
      >>> both = mj.problems.together([mj.problems.quadratics(2), mj.problems.quadratics(3)])
      >>> x = both.sample(jax.random.key(0)).support.x
      >>> [params.shape for params in both.model.init(jax.random.key(0), x)]
      [(2, 1), (3, 1)]
    """
    if not problems:
        raise ValueError("together: there are no problems; give at least one.")
    samples, models, losses = zip(*problems, strict=True)

    def sample(key):
        keys = jax.random.split(key, len(samples))
        tasks = [one(k) for one, k in zip(samples, keys, strict=True)]

        return Task(_beside([t.support for t in tasks]), _beside([t.query for t in tasks]))

    def init(key, x):
        keys = jax.random.split(key, len(models))
        return tuple(m.init(k, one) for m, k, one in zip(models, keys, x, strict=True))

    def apply(params, x):
        return tuple(m.apply(p, one) for m, p, one in zip(models, params, x, strict=True))

    def loss(predictions, targets):
        each = zip(losses, predictions, targets, strict=True)
        return jnp.sum(jnp.stack([mean_loss(one, p, Examples((), y)) for one, p, y in each]))

    return Problem(sample, Model(init, apply), loss)


def _beside(sets: list[Examples]) -> Examples:
    """Sets of any sizes in one, whose inputs and targets are tuples."""
    masked = [i for i, one in enumerate(sets) if one.mask is not None]
    if masked:
        raise ValueError(
            f"together: problem {masked[0]} has masked examples, but sets of several problems share "
            "no mask. Use a source whose tasks have one size."
        )
    return Examples(tuple(one.x for one in sets), tuple(one.y for one in sets))


def _orthogonal(key: jax.Array, n: int) -> jax.Array:
    """A uniformly random orthogonal matrix, up to signs of its columns: a product of reflections.

    A batch of QR decompositions would do as well, but can deadlock on several CPU devices.

    Reference:
      Stewart, SIAM Journal on Numerical Analysis 17(3), 1980.
    """

    def reflect(product, turn):
        i, gaussian = turn
        # Maps a Gaussian vector of the last n - i coordinates to a multiple of the first of them.
        rest = jnp.where(jnp.arange(n) >= i, gaussian, 0.0)
        first = jnp.where(rest[i] < 0, -1.0, 1.0) * jnp.linalg.norm(rest)
        normal = rest.at[i].add(first)
        normal = normal / jnp.linalg.norm(normal)
        return product - 2 * jnp.outer(product @ normal, normal), None

    vectors = jax.random.normal(key, (n, n))
    return jax.lax.scan(reflect, jnp.eye(n), (jnp.arange(n), vectors))[0]


class _Mlp(nn.Module):
    width: int
    depth: int
    way: int
    activation: str

    @nn.compact
    def __call__(self, x):
        x = _flat(x)
        for _ in range(self.depth):
            x = ACTIVATIONS[self.activation](nn.Dense(self.width)(x))
        return nn.Dense(self.way)(x)


class _Conv(nn.Module):
    filters: int
    depth: int
    way: int
    activation: str

    @nn.compact
    def __call__(self, x):
        for _ in range(self.depth):
            layer = nn.Conv(
                self.filters, (3, 3), strides=(2, 2), conv_general_dilated=conv_general_dilated
            )
            x = ACTIVATIONS[self.activation](layer(x))
        return nn.Dense(self.way)(jnp.mean(x, axis=(1, 2)))


def _flat(x: jax.Array) -> jax.Array:
    return x.reshape(len(x), -1)


def _check(where: str, activation: str, **sizes: int) -> None:
    choose(where, "activation", activation, ACTIVATIONS)
    for name, size in sizes.items():
        checks.count(where, name, size)
