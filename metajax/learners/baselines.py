"""What meta-learning must beat: no transfer at all, and a fixed embedding with a simple rule on it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.adjoints import Adjoint, unrolled
from metajax.inner import descend
from metajax.learners.anil import Parts, anil, predict_parts
from metajax.learners.maml import maml
from metajax.learners.matching import matching
from metajax.models import linear
from metajax.types import Learner, Loss, Model, Objective, Optimizer, Steps


class Nothing(NamedTuple):
    """The meta-parameters of a learner that learns nothing over tasks."""


def from_scratch(
    model: Model, loss: Loss, inner: Optimizer, num_steps: int, *, adjoint: Adjoint = unrolled
) -> Learner:
    """Train a fresh model on every task: what the support set alone is worth.

    Args:
      model: initialised anew from the task's key.
      loss: predictions and targets to a scalar, the mean over `n`.
      inner: choose it and `num_steps` on validation tasks; there is nothing else to learn, unless
        `inner` itself is: see `learned`.
      num_steps: steps on each task.
      adjoint: how the steps are differentiated where `inner` is learned.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> learner = mj.from_scratch(mj.mlp(), mj.mse, optax.adam(1e-2), num_steps=100)
      >>> learner.init(jax.random.key(0), jnp.ones((10, 1)))
      Nothing()
    """
    own_steps = num_steps
    descend(inner, own_steps)
    gradient = jax.grad(lambda params, support: loss(model.apply(params, support.x), support.y))

    def adapt(meta_params, support, key, num_steps: Steps = own_steps):
        del meta_params
        return adjoint(descend(inner, num_steps), gradient, model.init(key, support.x), support)

    return Learner(lambda key, x: Nothing(), adapt, model.apply)


def nearest_neighbour(embed: Model) -> Learner:
    """Give a query the label of the support example it is most alike, by cosine.

    Args:
      embed: features `(n, d)` of inputs; `pixels` for none at all.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.nearest_neighbour(mj.pixels)
      >>> support = mj.Examples(x=jnp.eye(2), y=jnp.array([1, 0]))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> jnp.argmax(learner.predict(adapted, jnp.array([[3.0, 1.0]])), axis=-1).tolist()
      [1]
    """
    return matching(embed, sharpness=1e3)


def _with_fresh_head(learner: Learner, embed: Model, head: Model) -> Learner:
    """A learner of `Parts(body, head)` whose meta-parameters are the body, and whose head is new."""

    def adapt(meta_params, support, key, **options):
        features = jax.eval_shape(embed.apply, meta_params, support.x)
        fresh = head.init(key, jnp.zeros(features.shape, features.dtype))
        return learner.adapt(Parts(meta_params, fresh), support, key, **options)

    return Learner(embed.init, adapt, learner.predict)


def linear_probe(
    embed: Model, loss: Loss, inner: Optimizer, num_steps: int, *, columns: int
) -> Learner:
    """Train a linear head from 0 on every task, on features that stay as they are.

    Args:
      embed: features `(n, d)` of inputs, random, or to be `pretrained`.
      loss: logits and labels to a scalar, the mean over `n`.
      inner: steps the head.
      num_steps: steps on each task.
      columns: outputs of the head.

    Returns:
      A learner whose meta-parameters are the embedding's; training them changes them only through
      the features, as in `anil`.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> learner = mj.linear_probe(mj.pixels, mj.cross_entropy, optax.sgd(0.1), 20, columns=2)
      >>> support = mj.Examples(x=jnp.eye(2), y=jnp.array([1, 0]))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> jnp.argmax(learner.predict(adapted, jnp.eye(2)), axis=-1).tolist()
      [1, 0]

    Reference: Tian, Wang, Krishnan, Tenenbaum and Isola, ECCV 2020, section 3.
    https://arxiv.org/abs/2003.11539
    """
    head = linear(columns)
    return _with_fresh_head(anil(embed, head, loss, inner, num_steps), embed, head)


def finetune(
    embed: Model, loss: Loss, inner: Optimizer, num_steps: int, *, columns: int
) -> Learner:
    """Train a linear head from 0 on every task, and the features with it: transfer learning.

    Args:
      embed: features `(n, d)` of inputs, to be `pretrained`.
      loss: logits and labels to a scalar, the mean over `n`.
      inner: steps head and features.
      num_steps: steps on each task; choose them on validation tasks.
      columns: outputs of the head.

    Returns:
      A learner whose meta-parameters are the embedding's.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> body = mj.conv4(None, filters=4)
      >>> learner = mj.finetune(body, mj.cross_entropy, optax.sgd(0.1), 5, columns=2)
      >>> support = mj.Examples(x=jnp.ones((2, 28, 28, 1)), y=jnp.arange(2))
      >>> meta_params = learner.init(jax.random.key(0), support.x)
      >>> adapted = learner.adapt(meta_params, support, jax.random.key(0))
      >>> learner.predict(adapted, support.x).shape
      (2, 2)

    Reference: Chen, Liu, Kira, Wang and Huang, ICLR 2019, section 3.2 (Baseline).
    https://arxiv.org/abs/1904.04232
    """
    head = linear(columns)
    joined = Model(embed.init, predict_parts(embed, head))
    return _with_fresh_head(maml(joined, loss, inner, num_steps), embed, head)


def pretrained(learner: Learner, embed: Model, head: Model) -> Learner:
    """A learner on features that were trained to tell all training classes apart.

    Args:
      learner: whose meta-parameters are those of `embed`, such as `finetune` or `linear_probe`.
      embed: features `(n, d)` of inputs.
      head: features to logits of all classes; only `pretraining` uses it.

    Returns:
      A learner whose meta-parameters are `Parts(body, head)`, for the objective `pretraining`.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> classes = jnp.arange(24.0).reshape(6, 4, 1)
      >>> body, head = mj.mlp((8,), 8, start="lecun"), mj.linear(6)
      >>> probe = mj.linear_probe(body, mj.cross_entropy, optax.sgd(0.1), 5, columns=2)
      >>> learner = mj.pretrained(probe, body, head)
      >>> sample = mj.tasks.episodes(classes, way=2, shot=1, query_shot=3, query_labels="class")
      >>> init, update = mj.outer_step(mj.pretraining(body, head, mj.cross_entropy), optax.adam(1e-2))
      >>> key = jax.random.key(0)
      >>> tasks = jax.vmap(sample)(jax.random.split(key, 8))
      >>> state = init(learner.init(key, tasks.support.x[0]))
      >>> state, metrics = update(state, tasks, key)
      >>> round(float(metrics.loss), 3)  # the logarithm of 6 classes
      1.792
    """

    def init(key, x):
        body_key, head_key = jax.random.split(key)
        body = learner.init(body_key, x)
        features = jax.eval_shape(embed.apply, body, x)
        return Parts(body, head.init(head_key, jnp.zeros(features.shape, features.dtype)))

    def adapt(meta_params, support, key, **options):
        return learner.adapt(meta_params.body, support, key, **options)

    return Learner(init, adapt, learner.predict)


def pretraining(embed: Model, head: Model, loss: Loss) -> Objective:
    """The loss of one classifier for all classes, on queries labelled by their class; no adaptation.

    Args:
      embed: features `(n, d)` of inputs.
      head: features to logits of all classes.
      loss: logits and labels to a scalar.

    Returns:
      An objective of `Parts(body, head)`, as `pretrained` has them, for tasks of a source with
      `query_labels="class"`. Statistics of a batch are those of a task's queries.
    """
    predict = predict_parts(embed, head)

    def objective(meta_params, tasks, key):
        del key

        def of_task(query):
            return loss(predict(meta_params, query.x), query.y)

        return jnp.mean(jax.vmap(of_task)(tasks.query))

    return objective
