"""Pretraining: features that separate all training classes, for `finetune` and `linear_probe`."""

import jax

from metajax import checks
from metajax.learners.parts import Parts, in_training, init_head, joined
from metajax.masks import filled, mean_loss
from metajax.nn.normalisation import calibrated
from metajax.objectives import TaskMean, by_queries
from metajax.types import Learner, Loss, Model


def pretrained(
    learner: Learner, embed: Model, head: Model, *, reference: jax.Array | None = None
) -> Learner:
    """A learner on features that were trained to separate all training classes.

    Args:
      learner: A learner whose meta-parameters are those of `embed`, such as `finetune` or
        `linear_probe`.
      embed: Maps inputs `(n, ...)` to features `(n, d)`.
      head: Maps features to logits of all classes; only `pretraining` reads it.
      reference: Training inputs `(n, ...)` of many classes, whose statistics normalise features in place of
        those of the batch at hand: see `calibrated`. None where the network has no batch statistics, or
        where they are to be those of the task.

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

    Reference:
      Chen, Liu, Kira, Wang and Huang, ICLR 2019, section 3.2 (Baseline).
      https://arxiv.org/abs/1904.04232
    """
    embed, head = checks.as_model("pretrained", embed), checks.as_model("pretrained", head)

    def init(key, x):
        body_key, head_key = jax.random.split(key)
        body = learner.init(body_key, x)
        return Parts(body, init_head(embed, head, body, head_key, x))

    def adapt(meta_params, support, key, **options):
        body = meta_params.body
        # Neither depends on the task, so that a program of many tasks computes this once.
        body = body if reference is None else calibrated(embed, body, reference)
        return learner.adapt(body, support, key, **options)

    return Learner(init, adapt, learner.predict, learner.num_steps)


def pretraining(embed: Model, head: Model, loss: Loss) -> TaskMean:
    """The loss of one classifier of all classes, on queries labelled by their class, without adapting.

    Args:
      embed: Maps inputs `(n, ...)` to features `(n, d)`.
      head: Maps features to logits of all classes.
      loss: Logits and labels to one value per example, `(n,)`. Masked queries are ignored, and a task
        without any query weighs nothing.

    Returns:
      An objective of `Parts(body, head)`, as `pretrained` has them, for tasks of a source with
      `query_labels="class"`. Statistics of a batch are those of a task's queries, and dropout is
      drawn anew for every task.
    """
    embed, head = checks.as_model("pretraining", embed), checks.as_model("pretraining", head)
    train = in_training(joined(embed, head))

    def of_task(meta_params, task, key):
        query = filled(task.query)
        return mean_loss(loss, train(meta_params, query.x, key), query)

    return TaskMean(of_task, by_queries)
