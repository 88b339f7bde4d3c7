"""Families of problems for optimisers: what is trained, on what, and by which loss."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

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

    sample: `key -> Task`; the support set is what is trained on, the query set validates.
    model: what is trained.
    loss: predictions and targets to the scalar that is descended.
    """

    sample: Sample
    model: Model
    loss: Loss


def quadratics(dimension: int = 10, *, condition: float = 100.0) -> Problem:
    """`(w - optimum)' A (w - optimum)` with random eigenvectors and a known least value, 0.

    Eigenvalues of `A` are log-uniform between `1 / condition` and 1, the optimum and the start are
    standard normal. A task holds rows of a root of `A` as inputs, so that the mean squared error of
    a linear model is the quadratic. Support and query are the same: there is one function to descend.

    Args:
      dimension: of `w`, whose shape is `(dimension, 1)`.
      condition: the greatest ratio of two eigenvalues; SGD's best rate is at most 1 whatever it is.

    Raises:
      ValueError: for a dimension or a condition below 1.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> problem = mj.problems.quadratics(2)
      >>> x, y = problem.sample(jax.random.key(0)).support
      >>> optimum = jnp.linalg.solve(x, y)
      >>> bool(problem.loss(problem.model.apply(optimum, x), y) < 1e-8)
      True

    Reference: Andrychowicz et al., NeurIPS 2016, section 3.1, whose matrices are Gaussian.
    https://arxiv.org/abs/1606.04474
    """
    if dimension < 1 or condition < 1:
        raise ValueError(
            f"quadratics: dimension={dimension} and condition={condition}; each is 1 or more."
        )

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
      sample: labelled vectors, such as `mj.tasks.clusters(way=2)`.
      way: classes.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> problem = mj.problems.logistic(mj.tasks.clusters(way=2), 2)
      >>> params = problem.model.init(jax.random.key(0), jnp.zeros((1, 16)))
      >>> problem.model.apply(params, jnp.ones((1, 16))).tolist()
      [[0.0, 0.0]]
    """
    net = linear(way)
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
      sample: labelled vectors or images, such as `mj.tasks.mnist()` or `mj.tasks.clusters()`.
      way: classes.
      width: of every hidden layer.
      depth: hidden layers.
      activation: between them.

    Raises:
      ValueError: for fewer than one of anything, or an activation that does not exist.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> problem = mj.problems.mlps(mj.tasks.clusters(), 5, width=8, depth=2, activation="relu")
      >>> x = jnp.zeros((50, 16))
      >>> problem.model.apply(problem.model.init(jax.random.key(0), x), x).shape
      (50, 5)

    Reference: Andrychowicz et al., NeurIPS 2016, section 3.2, for 20 sigmoids and what is held out.
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
      sample: labelled images `(n, h, w, c)`, such as `mj.tasks.glyphs(way=5, shot=5)`.
      way: classes.
      filters: channels of every layer.
      depth: layers, each of which halves the image.
      activation: after each.

    Raises:
      ValueError: for fewer than one of anything, or an activation that does not exist.

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
    """One problem of several: a task of each, trained side by side, their losses added.

    Shapes may differ, so an optimiser is meta-trained on many architectures and data sets at once.
    Every gradient is that of the problem alone, and a rule that steps coordinates, or arrays, each by
    themselves does with each what it would do with it alone.

    Args:
      problems: one or more.

    Returns:
      A problem whose support and query sets, parameters and predictions are tuples with an entry for
      each.

    Raises:
      ValueError: for no problem.

    Example:
      >>> import jax, metajax as mj
      >>> both = mj.problems.together([mj.problems.quadratics(2), mj.problems.quadratics(3)])
      >>> x = both.sample(jax.random.key(0)).support.x
      >>> [params.shape for params in both.model.init(jax.random.key(0), x)]
      [(2, 1), (3, 1)]
    """
    if not problems:
        raise ValueError("together: there are no problems; give one or more.")
    samples, models, losses = zip(*problems, strict=True)

    def sample(key):
        keys = jax.random.split(key, len(samples))
        tasks = [one(k) for one, k in zip(samples, keys, strict=True)]

        def beside(sets):
            return Examples(tuple(one.x for one in sets), tuple(one.y for one in sets))

        return Task(beside([t.support for t in tasks]), beside([t.query for t in tasks]))

    def init(key, x):
        keys = jax.random.split(key, len(models))
        return tuple(m.init(k, one) for m, k, one in zip(models, keys, x, strict=True))

    def apply(params, x):
        return tuple(m.apply(p, one) for m, p, one in zip(models, params, x, strict=True))

    def loss(predictions, targets):
        each = [f(p, y) for f, p, y in zip(losses, predictions, targets, strict=True)]
        return jnp.sum(jnp.stack(each))

    return Problem(sample, Model(init, apply), loss)


def _orthogonal(key: jax.Array, n: int) -> jax.Array:
    """A uniformly random orthogonal matrix, up to signs of its columns: a product of reflections.

    A QR decomposition would do as well, but a batch of them can wait for ever on several CPU devices,
    see `devices`.

    Reference: Stewart, SIAM Journal on Numerical Analysis 17(3), 1980.
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
    if min(sizes.values()) < 1:
        given = ", ".join(f"{name}={size}" for name, size in sizes.items())
        raise ValueError(f"{where}: {given}; each is 1 or more.")
