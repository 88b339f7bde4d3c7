"""A small network that reads what Adam and Adafactor remember of a coordinate and writes its update."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax.optimizers.parts import affine, dense, in_precision_of, silent
from metajax.types import LearnedOptimizer

MOMENTA = (0.5, 0.9, 0.99)
SQUARES = (0.9, 0.999)
FACTORED = 0.99
TIMES = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)
"""Steps around which the network can tell early from late."""
INPUTS = 2 + 2 * len(MOMENTA) + 2 * len(SQUARES) + 3 + len(TIMES)
_EPSILON = 1e-10
"""Under every root: a gradient below 1e-5 counts as small, and one of 0 has a derivative."""


class Averages(NamedTuple):
    """Exponential averages of an array's gradients, and of their squares.

    momenta: `(3, *shape)`, one for each decay.
    squares: `(2, *shape)`.
    rows, columns: of the squares' means over the last axis, and over the one before it.
    """

    momenta: jax.Array
    squares: jax.Array
    rows: jax.Array
    columns: jax.Array


class Remembered(NamedTuple):
    """Steps taken, and the averages of each array."""

    count: jax.Array
    arrays: list[Averages]


def mlp(hidden: int = 16, layers: int = 2, *, rate: float = 0.01) -> LearnedOptimizer:
    """A per-coordinate perceptron on momenta, second moments, Adafactor's factors and the time.

    The update is `-rate * exp(magnitude) * (adam + direction)`, where the network gives direction and
    magnitude of every coordinate. Both start at 0, so that training starts from Adam at `rate`: the
    nominal term of Harrison et al.

    Args:
      hidden: units of each layer.
      layers: hidden layers, with ReLU.
      rate: of the whole; the network's magnitude changes it by time and coordinate.

    Returns:
      A `LearnedOptimizer` that reads gradients and parameters, and keeps about five arrays of the
      parameters' size.

    Raises:
      ValueError: for no units or layers, or a rate of 0 or less; from `update`, without parameters.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> optimizer = mj.optimizers.mlp(hidden=4)
      >>> rule = optimizer.build(optimizer.init(jax.random.key(0)))
      >>> params = jnp.ones(2)
      >>> updates, _ = rule.update(jnp.array([3.0, -0.1]), rule.init(params), params)
      >>> updates.round(4).tolist()  # as Adam's first step
      [-0.01, 0.01]

    Reference: Metz, Freeman, Harrison, Maheswaranathan and Sohl-Dickstein, CoLLAs 2022, section 3,
    for features and outputs. https://arxiv.org/abs/2203.11860
    Metz, Maheswaranathan, Freeman, Poole and Sohl-Dickstein, 2020. https://arxiv.org/abs/2009.11243
    Harrison, Metz and Sohl-Dickstein, NeurIPS 2022, section 4. https://arxiv.org/abs/2209.11208
    """
    if hidden < 1 or layers < 1 or rate <= 0:
        raise ValueError(
            f"mlp: hidden={hidden}, layers={layers} and rate={rate}; the first two are 1 or more, "
            "and the rate is above 0."
        )

    def init(key):
        inputs = [INPUTS, *[hidden] * (layers - 1)]
        keys = jax.random.split(key, layers)
        between = [dense(k, n, hidden) for k, n in zip(keys, inputs, strict=True)]
        return {"hidden": between, "output": silent(hidden, 2)}

    def build(weights):
        def step(gradient, param, averages, count):
            adam, x = features(gradient, param, averages, count)
            for layer in weights["hidden"]:
                x = jax.nn.relu(affine(layer, x))
            direction, magnitude = affine(weights["output"], x).T
            return -rate * jnp.exp(magnitude) * (adam + direction)

        def start(params):
            return Remembered(
                jnp.zeros((), jnp.int32), [nothing_yet(leaf) for leaf in jax.tree.leaves(params)]
            )

        def update(gradients, state, params=None):
            if params is None:
                raise ValueError(
                    "mlp: the update reads parameters and there are none; call "
                    "update(gradients, state, params)."
                )
            leaves, tree = jax.tree.flatten(gradients)
            count = state.count + 1
            arrays = [remember(*one) for one in zip(state.arrays, leaves, strict=True)]
            updates = [
                step(g, p, averages, count).reshape(g.shape)
                for g, p, averages in zip(leaves, jax.tree.leaves(params), arrays, strict=True)
            ]
            return jax.tree.unflatten(tree, updates), Remembered(count, arrays)

        return in_precision_of(weights, optax.GradientTransformation(start, update))

    settings = {"hidden": hidden, "layers": layers, "rate": rate}
    return LearnedOptimizer(init, build, ("mlp", settings))


def nothing_yet(param: jax.Array) -> Averages:
    """Averages of no gradient."""

    def zeros(number):
        return jnp.zeros((number, *param.shape), param.dtype)

    matrix = _matrix(jnp.zeros_like(param))
    return Averages(zeros(len(MOMENTA)), zeros(len(SQUARES)), matrix[..., 0], matrix[..., 0, :])


def remember(averages: Averages, gradient: jax.Array) -> Averages:
    """The averages with one more gradient in them.

    Example:
      >>> after = remember(nothing_yet(jnp.zeros(1)), jnp.ones(1))
      >>> after.momenta[:, 0].round(2).tolist()
      [0.5, 0.1, 0.01]
    """

    def average(decays, old, new):
        decays = jnp.asarray(decays, new.dtype).reshape(-1, *[1] * new.ndim)
        return decays * old + (1 - decays) * new[None]

    matrix = _matrix(gradient**2)
    return Averages(
        average(MOMENTA, averages.momenta, gradient),
        average(SQUARES, averages.squares, gradient**2),
        FACTORED * averages.rows + (1 - FACTORED) * jnp.mean(matrix, axis=-1),
        FACTORED * averages.columns + (1 - FACTORED) * jnp.mean(matrix, axis=-2),
    )


def features(
    gradient: jax.Array, param: jax.Array, averages: Averages, count: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Adam's direction `(size,)`, and what the network reads of each coordinate, `(size, INPUTS)`."""
    momenta = _unbiased(MOMENTA, averages.momenta, count)
    inverse = jax.lax.rsqrt(_unbiased(SQUARES, averages.squares, count) + _EPSILON)
    mean = jnp.mean(averages.rows, axis=-1)[..., None, None]
    factored = averages.rows[..., :, None] * averages.columns[..., None, :] / (mean + _EPSILON)
    factored = factored.reshape(gradient.shape) / (1 - FACTORED**count)
    factor = jax.lax.rsqrt(factored + _EPSILON)

    adaptive = momenta * inverse[-1:]
    alike = [
        gradient,
        param,
        *momenta,
        *inverse,
        factor,
    ]  # of any size: taken relative to the array's
    read = [*map(_relative, alike), *adaptive, *(gradient * inverse)]
    read += [gradient * factor, momenta[1] * factor]
    times = jnp.tanh(count / jnp.asarray(TIMES, gradient.dtype) - 1).reshape(-1, 1)
    columns = jnp.stack([column.ravel() for column in read])
    rows = jnp.concatenate([columns, jnp.broadcast_to(times, (len(TIMES), gradient.size))])
    return adaptive[1].ravel(), rows.T


def _matrix(array: jax.Array) -> jax.Array:
    """An array with a last axis and one before it, which Adafactor's means are taken over."""
    return array if array.ndim > 1 else array.reshape(-1, 1)


def _unbiased(decays: tuple[float, ...], averages: jax.Array, count: jax.Array) -> jax.Array:
    decays = jnp.asarray(decays, averages.dtype).reshape(-1, *[1] * (averages.ndim - 1))
    return averages / (1 - decays**count)


def _relative(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(x**2) + _EPSILON)
