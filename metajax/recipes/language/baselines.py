"""What a learner of sentences must beat, tuned on validation tasks: neighbours, centroids, linear heads."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax.evaluation import evaluate
from metajax.learners.classes import check_labels, lowest_where_absent, one_hot
from metajax.learners.nearest_neighbour import nearest_neighbour
from metajax.learners.protonet import protonet
from metajax.learners.r2d2 import r2d2
from metajax.masks import filled
from metajax.metrics.losses import accuracy
from metajax.recipes.language.networks import LENGTH
from metajax.types import Learner, Model, Params, Sample

VALIDATION_TASKS = 100
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)


class LogisticParams(NamedTuple):
    """The weights of the embedding, and the logarithm of the strength."""

    embed: Params
    log_strength: jax.Array


class LogisticState(NamedTuple):
    """The support features, weights in their span `(n, columns)`, and which classes have examples."""

    features: jax.Array
    duals: jax.Array
    present: jax.Array


def logistic(embed: Model, strength: float, *, num_steps: int = 200) -> Learner:
    """Multinomial logistic regression without a bias, as `LogisticRegression(C=strength)` of scikit-learn.

    Minimises `strength * sum of cross-entropies + |w|^2 / 2` by Nesterov's method, which converges at the
    rate of the square root of the condition number. Weights are combinations of the support features.

    Args:
      embed: Maps inputs to features `(n, d)`, frozen.
      strength: scikit-learn's `C`, above 0; the initial one of a meta-parameter.
      num_steps: The number of steps.

    Returns:
      A learner for integer labels `(n,)`, whose meta-parameters are `LogisticParams`. Predictions are logits
      `(n, columns)`, with as many columns as the support has examples.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = logistic(mj.pixels, 10.0)
      >>> support, key = mj.Examples(jnp.eye(2), jnp.array([1, 0])), jax.random.key(0)
      >>> adapted = learner.adapt(learner.init(key, support.x), support, key)
      >>> jnp.argmax(learner.predict(adapted, jnp.eye(2)), axis=-1).tolist()
      [1, 0]

    Reference:
      Nesterov, Introductory lectures on convex optimization, 2004, section 2.2.1.
    """

    def init(key, x):
        return LogisticParams(embed.init(key, x), jnp.log(strength))

    def adapt(meta_params, support, key):
        del key
        check_labels("logistic", support.y)
        strength = jnp.exp(meta_params.log_strength)
        x, y, mask = filled(support)
        labels = one_hot(y, mask)
        known, present = labels.sum(axis=1), labels.sum(axis=0) > 0
        features = embed.apply(meta_params.embed, x) * known[:, None]
        gram = features @ features.T
        greatest = jnp.max(jnp.sum(jnp.abs(gram), axis=1))  # bounds the greatest eigenvalue
        smoothness = 1 + strength * greatest / 2
        momentum = (jnp.sqrt(smoothness) - 1) / (jnp.sqrt(smoothness) + 1)

        def step(carry, _):
            duals, before = carry
            ahead = duals + momentum * (duals - before)
            probability = jax.nn.softmax(lowest_where_absent(gram @ ahead, present))
            slope = ahead - strength * (labels - probability * known[:, None])
            return (ahead - slope / smoothness, duals), None

        start = jnp.zeros_like(labels)
        (duals, _), _ = jax.lax.scan(step, (start, start), length=num_steps)
        return meta_params, LogisticState(features, duals, present)

    def predict(adapted, x):
        meta_params, state = adapted
        logits = embed.apply(meta_params.embed, x) @ state.features.T @ state.duals
        return lowest_where_absent(logits, state.present)

    return Learner(init, adapt, predict)


def _scaled(embed: Model) -> Model:
    return embed._replace(apply=lambda params, x: LENGTH * embed.apply(params, x))


BASELINES: Mapping[str, Callable[[Model], list[Learner]]] = {
    "nearest neighbour": lambda embed: [nearest_neighbour(embed)],
    "centroid": lambda embed: [protonet(embed)],
    "logistic regression": lambda embed: [logistic(embed, c) for c in STRENGTHS],
    "untrained r2d2": lambda embed: [
        r2d2(_scaled(embed), ridge=LENGTH**2 * share) for share in (0.01, 0.03, 0.1, 0.3, 1.0)
    ],
}
"""Each a function of rows of length 1, such as TF-IDF, to candidates, whose meta-parameters alone differ."""


def tuned(name: str, embed: Model, val: Sample, *, num_tasks: int = VALIDATION_TASKS) -> Any:
    """The candidate of a baseline that is best on validation tasks, and its meta-parameters.

    Args:
      name: Of a baseline.
      embed: Inputs to rows of length 1, without parameters.
      val: Validation tasks of the size of the test tasks.
      num_tasks: The number of them.
    """
    key, candidates = jax.random.key(0), BASELINES[name](embed)
    shape = jax.eval_shape(val, key).support.x
    x = jnp.zeros(shape.shape, shape.dtype)
    learner, starts = candidates[0], [each.init(key, x) for each in candidates]
    if len(starts) == 1:
        return learner, starts[0]

    def score(meta_params):
        scores = evaluate(
            learner, meta_params, val, accuracy, key=key, num_tasks=num_tasks, inductive=False
        )
        return float(scores.mean)

    return learner, max(starts, key=score)
