"""A small network that maps the averages of Adam and Adafactor of a coordinate to its update."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from metajax import checks
from metajax.optimizers.parts import Dense, affine, constant_layer, dense, in_precision_of
from metajax.types import LearnedOptimizer, Params

MOMENTA = (0.5, 0.9, 0.99)
SQUARES = (0.9, 0.999)
FACTORED = 0.99
TIMES = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)
"""Numbers of steps; each gives a feature that separates earlier from later steps."""
OF_A_COORDINATE = 2 + 2 * len(MOMENTA) + 3 * len(SQUARES) + 5
INPUTS = OF_A_COORDINATE + len(TIMES)
_BOUND = 5.0
"""The bound of magnitude and slope: a rate changes by a factor of at most 150, and never overflows."""
_EPSILON = 1e-10
"""Under every root: a gradient below 1e-5 counts as small, and one of 0 has a derivative."""


class Averages(NamedTuple):
    """Exponential averages of gradients, and of their squares, after `steps` steps.

    momenta: of all `n` coordinates in a row, `(3, n)`, one for each decay.
    squares: `(2, n)`.
    rows, columns: of each array, the squares' means over the last axis, and over the one before it.
    """

    steps: jax.Array
    momenta: jax.Array
    squares: jax.Array
    rows: list[jax.Array]
    columns: list[jax.Array]


def mlp(
    hidden: int = 16, layers: int = 2, *, rate: float = 0.01, sgd_rate: float = 0.1
) -> LearnedOptimizer:
    """A perceptron per coordinate on momenta, second moments, Adafactor's factors and the step.

    The update of a coordinate is
    `-rate * exp(magnitude) * (adam + direction) - tanh(sgd_rate * sinh(slope) * gradient)`.
    The network returns direction, magnitude and slope, the latter two between -5 and 5. All start at
    0, so that training starts as Adam at `rate`, the nominal term of Harrison et al. The last term is
    that of SGD, whose rate is found quickly where SGD beats Adam. Its tanh keeps it below 1, because
    too high a rate would overflow, and its hypergradient sooner.

    Args:
      hidden: Number of units of each layer.
      layers: Number of hidden layers, with ReLU.
      rate: Rate of the first term, which the magnitude scales by coordinate and step.
      sgd_rate: Rate of the last term where the sinh of the slope is 1. Meta-training is fastest near
        SGD's best rate; far below it, the result is more careful with unseen problems.

    Returns:
      A `LearnedOptimizer` that reads gradients and parameters. Its state holds about five arrays of
      the parameters' size.

    Raises:
      ValueError: If `hidden` or `layers` is below 1, or a rate is not above 0; from `update`, without
        parameters.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> optimizer = mj.optimizers.mlp(hidden=4)
      >>> rule = optimizer.build(optimizer.init(jax.random.key(0)))
      >>> params = jnp.ones(2)
      >>> updates, _ = rule.update(jnp.array([3.0, -0.1]), rule.init(params), params)
      >>> [round(float(update), 4) for update in updates]  # as Adam's first step
      [-0.01, 0.01]

    Reference:
      Metz, Freeman, Harrison, Maheswaranathan and Sohl-Dickstein, CoLLAs 2022, section 3, for
      features and outputs. https://arxiv.org/abs/2203.11860
      Metz, Maheswaranathan, Freeman, Poole and Sohl-Dickstein, 2020.
      https://arxiv.org/abs/2009.11243
      Harrison, Metz and Sohl-Dickstein, NeurIPS 2022, section 4. https://arxiv.org/abs/2209.11208
    """
    hidden, layers = checks.count("mlp", "hidden", hidden), checks.count("mlp", "layers", layers)
    checks.positive("mlp", "rate", rate)
    checks.positive("mlp", "sgd_rate", sgd_rate)

    def init(key):
        inputs = [INPUTS, *[hidden] * (layers - 1)]
        keys = jax.random.split(key, layers)
        between = [dense(k, n, hidden) for k, n in zip(keys, inputs, strict=True)]
        return {"hidden": between, "output": constant_layer(hidden, 3)}

    def build(weights):
        def update(updates, state, params=None):
            if params is None:
                raise ValueError(
                    "mlp: the update reads parameters, but none were given; call "
                    "update(gradients, state, params)."
                )
            state = accumulate(state, updates)  # gradients, until they are updates
            adam, x, times = features(updates, params, state)
            first, *later = weights["hidden"]
            for layer in [at_time(times, first), *later]:
                x = jax.nn.relu(affine(layer, x))
            direction, magnitude, slope = affine(weights["output"], x)
            gradient, unravel = ravel_pytree(updates)
            adaptive = jnp.exp(_bounded(magnitude)) * (adam + direction)
            plain = jnp.tanh(sgd_rate * jnp.sinh(_bounded(slope)) * gradient)
            return unravel(-(rate * adaptive + plain)), state

        return in_precision_of(weights, optax.GradientTransformation(zero_averages, update))

    settings = {"hidden": hidden, "layers": layers, "rate": rate, "sgd_rate": sgd_rate}
    return LearnedOptimizer(init, build, ("mlp", settings))


def zero_averages(params: Params) -> Averages:
    """The averages before the first gradient."""
    flat, _ = ravel_pytree(params)

    def zeros(number):
        return jnp.zeros((number, flat.size), flat.dtype)

    matrices = [jnp.zeros_like(matrix) for matrix in _matrices(params)]
    return Averages(
        jnp.zeros((), jnp.int32),
        zeros(len(MOMENTA)),
        zeros(len(SQUARES)),
        [matrix[..., 0] for matrix in matrices],
        [matrix[..., 0, :] for matrix in matrices],
    )


def accumulate(averages: Averages, gradients: Params) -> Averages:
    """Returns the averages with one more gradient.

    Example:
      >>> after = accumulate(zero_averages(jnp.zeros(1)), jnp.ones(1))
      >>> [round(float(m), 2) for m in after.momenta[:, 0]]
      [0.5, 0.1, 0.01]
    """
    flat, _ = ravel_pytree(gradients)

    def average(decays, old, new):
        # Row by row, because the derivative of a row that is broadcast is a sum over rows.
        return jnp.stack([d * o + (1 - d) * new for d, o in zip(decays, old, strict=True)])

    def factor(axis, old):
        new = [jnp.mean(matrix**2, axis=axis) for matrix in _matrices(gradients)]
        return [FACTORED * o + (1 - FACTORED) * n for o, n in zip(old, new, strict=True)]

    return Averages(
        averages.steps + 1,
        average(MOMENTA, averages.momenta, flat),
        average(SQUARES, averages.squares, flat**2),
        factor(-1, averages.rows),
        factor(-2, averages.columns),
    )


def features(
    gradients: Params, params: Params, averages: Averages
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Adam's direction `(n,)`, and the features that the network reads.

    Features of coordinates are `(OF_A_COORDINATE, n)`, and those of the step `(len(TIMES), 1)`.
    """
    gradient, param = ravel_pytree(gradients)[0], ravel_pytree(params)[0]
    count = averages.steps
    momenta = averages.momenta / (1 - _column(MOMENTA, gradient.dtype) ** count)
    squares = averages.squares / (1 - _column(SQUARES, gradient.dtype) ** count)
    factored = [
        rows[..., :, None]
        * columns[..., None, :]
        / (jnp.mean(rows, -1)[..., None, None] + _EPSILON)
        for rows, columns in zip(averages.rows, averages.columns, strict=True)
    ]
    factored = jnp.concatenate([matrix.ravel() for matrix in factored]) / (1 - FACTORED**count)
    inverse, factor = (jax.lax.rsqrt(x + _EPSILON) for x in (squares, factored))

    # Gradients and parameters are divided by the root mean square of their array. Its logarithm is a
    # feature of its own, so that steps can shrink with the gradient, as those of SGD do.
    sized = jnp.stack([gradient, param, *momenta, *inverse, factor])
    ends = np.cumsum([matrix.size for matrix in _matrices(params)])
    relative = []
    for part in jnp.split(sized, ends[:-1], axis=1):
        size = jnp.mean(part**2, axis=1, keepdims=True) + _EPSILON
        logs = jnp.broadcast_to(_log(size[:2]), (2, part.shape[1]))
        relative.append(jnp.concatenate([part * jax.lax.rsqrt(size), logs]))
    adaptive = jnp.stack([m * inverse[-1] for m in momenta])
    others = [
        *_log(squares + _EPSILON),
        *adaptive,
        *(gradient * i for i in inverse),
        gradient * factor,
        momenta[1] * factor,
    ]
    times = jnp.tanh(count / _column(TIMES, gradient.dtype) - 1)
    read = [jnp.concatenate(relative, axis=1), jnp.stack(others)]
    return adaptive[1], jnp.concatenate(read), times


def at_time(times: jax.Array, first: Dense) -> Dense:
    """The first layer at a step, whose features add the same bias to all coordinates."""
    of_coordinates, of_times = jnp.split(first.kernel, [OF_A_COORDINATE])
    return Dense(of_coordinates, affine(Dense(of_times, first.bias), times).T)


def _matrices(tree: Params) -> list[jax.Array]:
    """Arrays with at least two axes, over the last two of which Adafactor takes its means."""
    return [leaf if leaf.ndim > 1 else leaf.reshape(-1, 1) for leaf in jax.tree.leaves(tree)]


def _bounded(output: jax.Array) -> jax.Array:
    return _BOUND * jnp.tanh(output / _BOUND)


def _log(squares: jax.Array) -> jax.Array:
    """The logarithm of a root over 10, which is about -1 to 1 in training."""
    return jnp.log(squares) / 20


def _column(numbers: Sequence[float], dtype: Any) -> jax.Array:
    return jnp.asarray(numbers, dtype).reshape(-1, 1)
