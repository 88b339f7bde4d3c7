"""Features trained to tell all training classes apart, for `finetune` and `linear_probe`."""

import jax
import jax.numpy as jnp

from metajax.learners.parts import Parts, predict_parts
from metajax.types import Learner, Loss, Model, Objective


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
