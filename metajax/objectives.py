"""What meta-learning minimises: `(meta_params, tasks, key) -> scalar`, a mean over tasks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from metajax import checks
from metajax.masks import exists, filled, mean_loss
from metajax.types import Examples, Learner, Loss, Objective, Params, Steps, Task


def _alike(tasks: Task) -> None:
    del tasks


@dataclass(frozen=True, eq=False)
class TaskMean:
    """The mean over tasks of a loss of each, where every task has a key of its own.

    `query_loss`, `reptile` and `pretraining` are of this kind. It is called as every objective is.
    Estimators that share tasks out split the keys with them, so that what they compute does not
    depend on the number of devices or passes, but for rounding.

    of_task: `(meta_params, task, key) -> scalar`.
    weights: A batch of tasks to their weights `(meta_batch,)`, whose mean is 1, or to None where all
      weigh the same.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> objective = mj.TaskMean(lambda w, task, key: w * task)
      >>> float(objective(2.0, jnp.array([1.0, 5.0]), jax.random.key(0)))
      6.0
    """

    of_task: Callable[[Params, Any, jax.Array], Any]
    weights: Callable[[Any], jax.Array | None] = _alike

    def __call__(self, meta_params: Params, tasks: Any, key: jax.Array) -> jax.Array:
        """The weighted mean over the leading axis of `tasks`."""
        return self.of_rows(meta_params, self.rows(tasks, key), key)

    def rows(self, tasks: Any, key: jax.Array) -> tuple[Any, jax.Array, jax.Array | None]:
        """The tasks with their keys and weights, which can be shared out along the first axis."""
        return tasks, jax.random.split(key, checks.batch_size(tasks)), self.weights(tasks)

    def of_rows(self, meta_params: Params, rows: Any, key: jax.Array) -> jax.Array:
        """The objective of `rows`, or of some of them; `key` is not read."""
        del key
        tasks, keys, weights = rows
        values = _over_tasks(self.of_task, meta_params, tasks, keys)
        if weights is None:
            return jnp.mean(values)
        return jnp.mean(jnp.where(weights > 0, weights.astype(values.dtype) * values, 0))


def _over_tasks(of_task: Callable, meta_params: Params, tasks: Any, keys: jax.Array) -> jax.Array:
    """Values `(meta_batch,)` by `vmap`, or of a single task without its axis.

    XLA for CPUs sums an array whose first axis has size 1 up to 15 times slower than one without it.
    """
    if len(keys) != 1:
        return jax.vmap(of_task, in_axes=(None, 0, 0))(meta_params, tasks, keys)
    task, key = jax.tree.map(lambda leaf: leaf[0], (tasks, keys))
    return jnp.asarray(of_task(meta_params, task, key))[None]


def predict_alone(learner: Learner, adapted: Any, support_x: Any, query_x: Any) -> Any:
    """Predictions of queries, each in a batch with the support set alone: the inductive policy.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> centred = mj.Model(lambda key, x: (), lambda params, x: x - x.mean())  # reads its batch
      >>> learner = mj.Learner(centred.init, lambda m, support, key: m, centred.apply)
      >>> predict_alone(learner, (), jnp.zeros(1), jnp.array([2.0, 8.0])).tolist()
      [1.0, 4.0]
    """

    def prediction(x):
        batch = jax.tree.map(lambda s, q: jnp.concatenate([s, q[None]]), support_x, x)
        return jax.tree.map(lambda leaf: leaf[-1], learner.predict(adapted, batch))

    return jax.vmap(prediction)(query_x)


def steps_option(where: str, learner: Learner, num_steps: Steps | None) -> dict[str, Steps]:
    """The argument `num_steps` of `learner.adapt`: nothing where the learner's own are meant.

    Raises:
      ValueError: For a learner without an inner loop, and for what is no number of steps.
    """
    if num_steps is None:
        return {}
    if learner.num_steps is None:
        raise ValueError(
            f"{where}: num_steps={num_steps}, but this learner has no inner loop. Leave num_steps out."
        )
    return {"num_steps": checks.steps(where, num_steps)}


def query_loss(
    learner: Learner,
    loss: Loss,
    *,
    num_steps: Steps | None = None,
    weights: jax.Array | None = None,
    inductive: bool = False,
) -> TaskMean:
    """The loss on the query set after adapting to the support set, averaged over tasks.

    Args:
      learner: Adapted and queried under one `vmap`, so that shared weights are not copied per task.
      loss: Predictions and targets of the query set to one value per example, `(n,)`. Masked queries
        are ignored, and a task without any query weighs nothing.
      num_steps: Inner steps other than the learner's own. Several, such as `(1, 2, 3, 4, 5)`, give
        the mean of the query losses after each of them: MAML++'s multi-step loss, equally weighted
        (Antoniou, Edwards and Storkey, ICLR 2019, section 4. https://arxiv.org/abs/1810.09502).
      weights: Weights of several numbers of steps in place of equal ones, with sum 1; see
        `multi_step_weights`.
      inductive: Predict each query alone with the support set, as in inductive evaluation: a model
        with batch statistics then learns not to rely on the other queries. It costs a prediction of
        the support set per query.

    Raises:
      ValueError: If there are not as many weights as numbers of steps, or their sum is not 1; for
        `num_steps` with a learner without an inner loop; when traced, for tasks that are no batch.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> objective = mj.query_loss(mj.maml(line, mj.mse, optax.sgd(0.25), num_steps=1), mj.mse)
      >>> one = jnp.ones((2, 1))  # two tasks of one example; a step from 0 towards 3 lands on 3/2
      >>> tasks = mj.Task(support=mj.Examples(one, 3 * one), query=mj.Examples(one, one))
      >>> float(objective(jnp.zeros(()), tasks, jax.random.key(0)))
      0.25

    Reference: Finn, Abbeel and Levine, ICML 2017, equation 1. https://arxiv.org/abs/1703.03400
    """
    checks.learner("query_loss", learner)
    checks.loss("query_loss", loss)
    options = steps_option("query_loss", learner, num_steps)
    several = isinstance(options.get("num_steps"), tuple)
    weights = None if weights is None else jnp.asarray(weights)
    _check_weights(weights, options.get("num_steps"))

    def after_adapting(meta_params, task, key):
        support, query = filled(task.support), filled(task.query)
        adapted = learner.adapt(meta_params, task.support, key, **options)

        def score(adapted):
            if inductive:
                predictions = predict_alone(learner, adapted, support.x, query.x)
            else:
                predictions = learner.predict(adapted, query.x)
            return mean_loss(loss, predictions, query)

        if not several:
            return score(adapted)
        scores = jax.vmap(score)(adapted)
        return jnp.mean(scores) if weights is None else jnp.dot(weights, scores)

    return TaskMean(after_adapting, by_queries)


def by_queries(tasks: Task) -> jax.Array | None:
    """Weights of tasks: 0 without any query, otherwise equal; None where no query is masked."""
    if tasks.query.mask is None:
        return None
    some = jnp.any(tasks.query.mask, axis=1)
    return some * (some.size / jnp.maximum(jnp.sum(some), 1))


def _check_weights(weights: Any, num_steps: Steps | None) -> None:
    if weights is None:
        return
    if not isinstance(num_steps, tuple) or len(weights) != len(num_steps):
        raise ValueError(
            f"query_loss: {len(weights)} weights and num_steps={num_steps}; give num_steps as a "
            "tuple, and a weight for each."
        )
    if not isinstance(weights, Tracer) and not abs(float(jnp.sum(weights)) - 1) <= 1e-3:
        raise ValueError(
            f"query_loss: the weights have sum {float(jnp.sum(weights)):g}, which must be 1; divide them "
            "by it."
        )


def reptile(learner: Learner, *, num_steps: int | None = None, num_batches: int = 1) -> TaskMean:
    """Half the squared distance from the meta-parameters to adapted parameters, which are constants.

    Its gradient is `meta_params - mean(adapted)`: under `optax.sgd(epsilon)` an outer step is
    Reptile's interpolation. The query set is not read; move its examples to the support set.

    Reptile learns to learn, and not only learns, because steps that read different examples have
    gradients with a positive inner product (section 5.1). With the same few examples in every step
    there is none, and it stays near the result of joint training: take mini-batches.

    Args:
      learner: A learner whose `adapted` has the tree of its `meta_params`, such as `maml`. No step is
        differentiated, so `adjoint=mj.first_order` serves, with Adam inside as well.
      num_steps: Inner steps other than the learner's own, on each mini-batch.
      num_batches: Parts that the support set is shuffled into. The learner adapts to one after the other,
        each from where the one before led; its inner optimiser starts fresh in each.

    Raises:
      ValueError: For fewer than 1 mini-batch; when traced, for a support set that cannot be divided
        evenly, and with a learner whose `adapted` is another tree.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> objective = mj.reptile(mj.maml(line, mj.mse, optax.sgd(0.25), num_steps=1))
      >>> one = jnp.ones((2, 1))  # every task leads from 0 to 3/2
      >>> tasks = mj.Task(support=mj.Examples(one, 3 * one), query=mj.Examples(one, one))
      >>> float(jax.grad(objective)(jnp.zeros(()), tasks, jax.random.key(0)))
      -1.5

    Reference: Nichol, Achiam and Schulman, 2018, algorithm 2. https://arxiv.org/abs/1803.02999
    """
    num_batches = checks.count("reptile", "num_batches", num_batches)
    checks.learner("reptile", learner)
    options = steps_option("reptile", learner, num_steps)

    def distance(meta_params, task, key):
        shuffle_key, adapt_key = jax.random.split(key)
        batches = _shuffled_into(num_batches, task.support, shuffle_key)
        # Constant where it enters: a learner without derivatives is never asked for any.
        adapted = jax.lax.stop_gradient(meta_params)
        for i in range(num_batches):
            batch = jax.tree.map(lambda leaf, i=i: leaf[i], batches)
            adapted = learner.adapt(adapted, batch, jax.random.fold_in(adapt_key, i), **options)
            if jax.tree.map(jnp.shape, adapted) != jax.tree.map(jnp.shape, meta_params):
                raise ValueError(
                    f"reptile: adapting returns {jax.tree.map(jnp.shape, adapted)} and the "
                    f"meta-parameters are {jax.tree.map(jnp.shape, meta_params)}; give a learner that "
                    "adapts all of its meta-parameters and returns them, such as mj.maml."
                )
        gaps = jax.tree.map(lambda start, end: jnp.sum((start - end) ** 2), meta_params, adapted)
        return sum(jax.tree.leaves(gaps)) / 2

    return TaskMean(distance)


def _shuffled_into(num_batches: int, examples: Examples, key: jax.Array) -> Examples:
    """Examples in random order, cut into parts along a new first axis."""
    number = len(exists(examples))
    if number % num_batches:
        raise ValueError(
            f"reptile: {number} support examples do not divide evenly into num_batches={num_batches}. "
            "Change one of them."
        )
    order = jax.random.permutation(key, number).reshape(num_batches, -1)
    return jax.tree.map(lambda leaf: leaf[order], examples)


class Annealed(NamedTuple):
    """An objective that changes while training: `outer_step` minimises `at(step)` in outer step `step`.

    `at` is traced with a step number; `jax.lax.cond` computes one of two objectives alone.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> def order(adjoint):  # MAML++'s annealing of the derivative's order, section 4
      ...     return mj.query_loss(mj.maml(line, mj.mse, optax.sgd(0.25), 1, adjoint=adjoint), mj.mse)
      >>> first, second = order(mj.first_order), order(mj.unrolled)
      >>> objective = mj.Annealed(lambda step: lambda *a: jax.lax.cond(step < 9, first, second, *a))
      >>> init, update = mj.outer_step(objective, optax.adam(1e-3))
    """

    at: Callable[[jax.Array], Objective]


def multi_step_weights(step: jax.Array, num_steps: int, until: int) -> jax.Array:
    """MAML++'s weights of the losses after 1 to `num_steps` steps, from equal to the last alone.

    Args:
      step: the outer step.
      num_steps: inner steps.
      until: outer steps over which all but the last fall to 3 % of their first value, linearly.

    Returns:
      `(num_steps,)`, of sum 1.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> mj.multi_step_weights(jnp.array(0), 4, 100).tolist()
      [0.25, 0.25, 0.25, 0.25]

    Reference: Antoniou, Edwards and Storkey, ICLR 2019, section 4, and their code's floor.
    https://arxiv.org/abs/1810.09502
    """
    num_steps = checks.count("multi_step_weights", "num_steps", num_steps)
    until = checks.count("multi_step_weights", "until", until)
    early = jnp.maximum(1 - step / until, 0.03) / num_steps
    return jnp.full(num_steps, early).at[-1].set(1 - (num_steps - 1) * early)
