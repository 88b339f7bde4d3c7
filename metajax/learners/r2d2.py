"""R2-D2 and LR-D2: an embedding whose linear head is solved for each task by a differentiable solver."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.learners.classes import check_labels, lowest_where_absent, one_hot
from metajax.learners.closed_form import ridge_regression
from metajax.masks import filled
from metajax.types import Learner, Model, Params


class R2d2Params(NamedTuple):
    """The weights of the embedding, and the logarithms of the ridge and the scale of the head."""

    embed: Params
    log_ridge: jax.Array
    log_scale: jax.Array


class R2d2State(NamedTuple):
    """The head of a task.

    meta_params: The meta-parameters.
    weights: `(d, columns)`; with a bias `(d + 1, columns)`, the last row of which is the bias.
    present: `(columns,)`, which classes have examples.
    """

    meta_params: R2d2Params
    weights: jax.Array
    present: jax.Array


RIDGE_OF_A_FEATURE = 0.4
"""The initial ridge of `r2d2` per feature. The features of a normalised network have squares of about
1, and a ridge of 1 is negligible beside their sum. Chosen on validation tasks: see
`benchmarks/rows/omniglot.py`."""


def r2d2(
    embed: Model, *, ridge: float | None = None, scale: float = 10.0, bias: float = 0.0
) -> Learner:
    """Learns an embedding for ridge regression on one-hot labels, solved in closed form.

    With features `X (n, d)` and one-hot rows `Y (n, columns)`, the head is
    `W = X' (X X' + ridge I)^-1 Y`: one linear system of the size of the support set.

    Args:
      embed: Maps inputs to features `(n, d)`.
      ridge: The initial regularisation, above 0; meta-learned. None starts from 0.4 d, which suits
        features whose squares are about 1, as after a normalisation. For others, give about their
        mean squared norm. The authors' code divides features and labels by sqrt(n) first: its ridge
        times n is the one here.
      scale: The initial factor from outputs of the regression, most of them between 0 and 1, to
        logits, above 0; meta-learned.
      bias: The constant of a column that is appended to the features and regularised like the others, so
        that a larger one leaves the bias freer; 1 in the authors' code, 0 for none. After 300 outer steps on
        Omniglot, validation tasks showed no difference between 0 and 1 beyond its interval, for this head
        and for `lrd2` (benchmarks/results/bias_column.json).

    Returns:
      A learner for integer labels `(n,)` in `0 .. way - 1`, whose meta-parameters are `R2d2Params`.
      Predictions are logits `(n, columns)`, with as many columns as the support has examples; a class
      without examples gets the lowest finite logit. A support example whose label is negative or
      beyond the columns is ignored.

    Raises:
      ValueError: If the ridge or the scale is not above 0, or the bias is below 0; from `adapt`, for
        targets that are no integer labels `(n,)`.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> identity = mj.Model(init=lambda key, x: (), apply=lambda params, x: x)
      >>> learner = mj.r2d2(identity, ridge=1.0, scale=1.0)
      >>> support = mj.Examples(x=jnp.eye(2), y=jnp.array([1, 0]))
      >>> adapted = learner.adapt(learner.init(jax.random.key(0), support.x), support, jax.random.key(0))
      >>> learner.predict(adapted, jnp.eye(2)).round(4).tolist()  # 1 / (1 + ridge)
      [[0.0, 0.5], [0.5, 0.0]]

    Reference:
      Bertinetto, Henriques, Torr and Vedaldi, ICLR 2019, section 3.1.
      https://arxiv.org/abs/1805.08136
    """

    return _closed_form("r2d2", embed, ridge, scale, bias, ridge_regression)


def lrd2(
    embed: Model, num_steps: int, *, ridge: float = 1.0, scale: float = 1.0, bias: float = 0.0
) -> Learner:
    """Learns an embedding for one-against-rest logistic regression, solved by Newton's method.

    Differences from the authors' code: the weights p (1 - p) of the examples are at least 1e-4, where
    the code divides by them as they are; and the logits have a meta-learned scale, where the code has
    none.

    Args:
      embed: As in `r2d2`.
      num_steps: Newton steps, iteratively reweighted least squares; the paper takes 5 to 10.
      ridge: The initial regularisation, above 0; meta-learned. The initial 0.4 d of `r2d2` was
        measured to train to the same accuracy.
      scale: The initial factor of the logits, above 0; meta-learned.
      bias: As in `r2d2`. Without one, an example that is like none of the support has a logit of 0 for
        every class, above those of examples that are a little like each of many classes: where the greatest
        logit is to tell what is of no class, give several times the norm of the features.

    Returns:
      As `r2d2`.

    Raises:
      ValueError: If `num_steps` is below 1, the ridge or the scale is not above 0, or the bias is below 0;
        from `adapt`, for targets that are no integer labels `(n,)`.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> identity = mj.Model(init=lambda key, x: (), apply=lambda params, x: x)
      >>> learner = mj.lrd2(identity, num_steps=5)
      >>> support = mj.Examples(x=jnp.eye(2), y=jnp.array([1, 0]))
      >>> adapted = learner.adapt(learner.init(jax.random.key(0), support.x), support, jax.random.key(0))
      >>> jnp.argmax(learner.predict(adapted, jnp.eye(2)), axis=-1).tolist()
      [1, 0]

    Reference:
      Bertinetto, Henriques, Torr and Vedaldi, ICLR 2019, section 3.2.
      https://arxiv.org/abs/1805.08136
    """
    num_steps = checks.count("lrd2", "num_steps", num_steps)
    checks.positive("lrd2", "ridge", ridge)

    def solve(features, labels, ridge):
        gram = features @ features.T

        def of_class(targets):
            return features.T @ _logistic_duals(gram, targets, ridge, num_steps)

        return jax.vmap(of_class, in_axes=1, out_axes=1)(labels)

    return _closed_form("lrd2", embed, ridge, scale, bias, solve)


def _closed_form(
    where: str, embed: Model, ridge: float | None, scale: float, bias: float, solve: Callable
) -> Learner:
    """A learner whose head is `solve(features, one_hot_labels, ridge) -> weights`."""
    embed = checks.as_model(where, embed)
    if ridge is not None:
        checks.positive(where, "ridge", ridge)
    checks.positive(where, "scale", scale)
    checks.positive(where, "bias", bias, least=0)

    def init(key, x):
        params = embed.init(key, x)
        width = jax.eval_shape(embed.apply, params, x).shape[-1]
        start = RIDGE_OF_A_FEATURE * width if ridge is None else ridge
        return R2d2Params(params, jnp.log(jnp.float32(start)), jnp.log(jnp.float32(scale)))

    def features_of(params, x):
        features = embed.apply(params, x)
        return jnp.pad(features, ((0, 0), (0, 1)), constant_values=bias) if bias else features

    def adapt(meta_params, support, key):
        del key
        check_labels(where, support.y)
        support = filled(support)
        features = features_of(meta_params.embed, support.x)
        labels = one_hot(support.y, support.mask, features.dtype)
        known = labels.sum(axis=1, keepdims=True)
        features = jnp.where(known > 0, features, 0)  # An example of zeros weighs nothing.
        weights = solve(features, labels, jnp.exp(meta_params.log_ridge))
        return R2d2State(meta_params, weights, labels.sum(axis=0) > 0)

    def predict(adapted, x):
        scale = jnp.exp(adapted.meta_params.log_scale)
        logits = scale * features_of(adapted.meta_params.embed, x) @ adapted.weights
        return lowest_where_absent(logits, adapted.present)

    return Learner(init, adapt, predict)


def _logistic_duals(gram: jax.Array, targets: jax.Array, ridge, num_steps: int) -> jax.Array:
    """Coefficients `a (n,)` of logistic regression `w = X' a`, with targets `(n,)` of 0 or 1."""

    def step(outputs, _):
        # Weighted least squares, in the outputs on the support set. The system is scaled so that the
        # identity is added to the Gram matrix: few steps of conjugate gradients solve it.
        probability = jax.nn.sigmoid(outputs)
        weight = probability * (1 - probability)
        weight = jnp.where(weight > 1e-4, weight, 1e-4)
        working = outputs + (targets - probability) / weight
        root = jnp.sqrt(weight / ridge)
        dual = root * _solve_positive(lambda z: root * (gram @ (root * z)) + z, root * working)
        return gram @ dual, dual

    _, duals = jax.lax.scan(step, jnp.zeros(len(gram), gram.dtype), length=num_steps)
    return duals[-1]


def _solve_positive(product: Callable[[jax.Array], jax.Array], b: jax.Array) -> jax.Array:
    """Solves a positive definite system by conjugate gradients.

    The systems of all classes share their products with the Gram matrix, which no factorisation does;
    and jaxlib before 0.11.2 can wait for ever in a batch of factorisations on several devices.
    """
    tolerance = 10 * float(jnp.finfo(b.dtype).eps)
    return jax.scipy.sparse.linalg.cg(product, b, tol=tolerance, maxiter=2 * len(b))[0]
