"""Learn an embedding whose head is solved for each task in closed form, and differentiated through."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.types import Learner, Model, Params


class Solved(NamedTuple):
    """An embedding, and what the head on it needs: its regularisation, scale and shift, as logs."""

    embed: Params
    log_ridge: jax.Array
    log_scale: jax.Array
    shift: jax.Array


class Head(NamedTuple):
    """What was learned over tasks, a task's weights `(d, columns)`, and which columns have examples."""

    meta_params: Solved
    weights: jax.Array
    present: jax.Array


RIDGE_OF_A_FEATURE = 0.4
"""What `r2d2` starts from, times the features: those of a normalised network have squares of about 1, and
beside a sum of these a ridge of 1 is none. Chosen on validation tasks, see `benchmarks/accuracy.py`."""


def _learner(name: str, embed: Model, ridge: float | None, scale: float, solve) -> Learner:
    if (ridge is not None and ridge <= 0) or scale <= 0:
        raise ValueError(f"{name}: ridge={ridge} and scale={scale}; both are above 0.")

    def init(key, x):
        params = embed.init(key, x)
        width = jax.eval_shape(embed.apply, params, x).shape[-1]
        start = RIDGE_OF_A_FEATURE * width if ridge is None else ridge
        logs = jnp.log(jnp.float32(start)), jnp.log(jnp.float32(scale))
        return Solved(params, *logs, jnp.zeros(()))

    def adapt(meta_params, support, key):
        del key
        features = embed.apply(meta_params.embed, support.x)
        labels = jax.nn.one_hot(support.y, len(support.y), dtype=features.dtype)
        features = features * labels.sum(axis=1, keepdims=True)  # without those labelled -1
        weights = solve(features, labels, jnp.exp(meta_params.log_ridge))
        return Head(meta_params, weights, labels.sum(axis=0) > 0)

    def predict(adapted, x):
        of = adapted.meta_params
        logits = jnp.exp(of.log_scale) * embed.apply(of.embed, x) @ adapted.weights + of.shift
        return jnp.where(adapted.present[None], logits, jnp.finfo(logits.dtype).min)

    return Learner(init, adapt, predict)


def r2d2(embed: Model, *, ridge: float | None = None, scale: float = 10.0) -> Learner:
    """Ridge regression on one-hot labels as the head: one linear system of the support's size.

    Args:
      embed: `apply(params, x)` maps inputs `(n, ...)` to features `(n, d)`.
      ridge: regularisation to begin with, above 0; meta-learned. None starts from 0.4 d, which suits
        features whose squares are about 1, as after a normalisation; give one of about the squared norm
        of yours if they are far from that.
      scale: of the regression's outputs, most of them between 0 and 1, as logits, to begin with, above
        0; meta-learned.

    Returns:
      A learner for integer targets `0 .. way - 1` whose meta-parameters are `Solved`; predictions are
      logits `(n, columns)` with as many columns as the support has examples; a class without examples
      gets the lowest finite logit, as in `protonet`.

    Raises:
      ValueError: for a ridge or scale of 0 or less.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> identity = mj.Model(init=lambda key, x: (), apply=lambda params, x: x)
      >>> learner = mj.r2d2(identity, ridge=1.0, scale=1.0)
      >>> support = mj.Examples(x=jnp.eye(2), y=jnp.array([1, 0]))
      >>> adapted = learner.adapt(learner.init(jax.random.key(0), support.x), support, jax.random.key(0))
      >>> learner.predict(adapted, jnp.eye(2)).round(4).tolist()  # 1 / (1 + ridge)
      [[0.0, 0.5], [0.5, 0.0]]

    Reference: Bertinetto, Henriques, Torr and Vedaldi, ICLR 2019, section 3.1.
    https://arxiv.org/abs/1805.08136
    """

    def solve(features, labels, ridge):
        # Woodbury: a system of as many equations as examples, not as features.
        gram = features @ features.T + ridge * jnp.eye(len(features), dtype=features.dtype)
        return features.T @ jax.scipy.linalg.solve(gram, labels, assume_a="pos")

    return _learner("r2d2", embed, ridge, scale, solve)


def lrd2(embed: Model, num_steps: int, *, ridge: float = 1.0, scale: float = 1.0) -> Learner:
    """Logistic regression, a class against the rest, by Newton's method as the head.

    Args:
      embed: as in `r2d2`.
      num_steps: Newton steps, iteratively reweighted least squares; the paper takes 5 to 10.
      ridge: regularisation to begin with, above 0; meta-learned. One of 0.4 d, as `r2d2` has, trained
        to the same accuracy.
      scale: of the outputs as logits, to begin with, above 0; meta-learned.

    Returns:
      As `r2d2`.

    Raises:
      ValueError: for fewer than 1 step, or a ridge or scale of 0 or less.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> identity = mj.Model(init=lambda key, x: (), apply=lambda params, x: x)
      >>> learner = mj.lrd2(identity, num_steps=5)
      >>> support = mj.Examples(x=jnp.eye(2), y=jnp.array([1, 0]))
      >>> adapted = learner.adapt(learner.init(jax.random.key(0), support.x), support, jax.random.key(0))
      >>> jnp.argmax(learner.predict(adapted, jnp.eye(2)), axis=-1).tolist()
      [1, 0]

    Reference: Bertinetto, Henriques, Torr and Vedaldi, ICLR 2019, section 3.2.
    https://arxiv.org/abs/1805.08136
    """
    if num_steps < 1:
        raise ValueError(f"lrd2: num_steps={num_steps}; it takes 1 step or more.")

    def solve_positive(product, b):
        # The systems of all classes share their products with the Gram matrix, which no factorisation
        # does; and jaxlib before 0.11.2 can wait for ever in a batch of them, see `devices`.
        tolerance = 10 * float(jnp.finfo(b.dtype).eps)
        return jax.scipy.sparse.linalg.cg(product, b, tol=tolerance, maxiter=2 * len(b))[0]

    def solve(features, labels, ridge):
        gram = features @ features.T

        def of_class(targets):  # -1 or 1
            def step(outputs, _):
                # Weighted least squares, in the outputs on the support set: w = X' a. The system is
                # scaled so that the identity is added to the Gram matrix: few steps solve it.
                probability = jax.nn.sigmoid(outputs)
                weight = jnp.maximum(probability * (1 - probability), 1e-4)
                working = outputs + ((targets + 1) / 2 - probability) / weight
                root = jnp.sqrt(weight / ridge)
                dual = root * solve_positive(
                    lambda z: root * (gram @ (root * z)) + z, root * working
                )
                return gram @ dual, dual

            _, duals = jax.lax.scan(step, jnp.zeros(len(gram), gram.dtype), length=num_steps)
            return features.T @ duals[-1]

        return jax.vmap(of_class, in_axes=1, out_axes=1)(2 * labels - 1)

    return _learner("lrd2", embed, ridge, scale, solve)
