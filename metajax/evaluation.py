"""How good a learner is on tasks it has not seen: a mean, its 95% interval, and each task's value."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import core
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from metajax.objectives import predict_alone
from metajax.types import Learner, Params, Sample, Steps


class Score(NamedTuple):
    """A metric over tasks. With several numbers of inner steps each field has them as last axis.

    mean: over tasks.
    interval: half the width of the 95% interval of the mean, 1.96 standard deviations of the tasks'
      values over the square root of their number. It holds the draw of the tasks, not that of the
      training run.
    values: each task's, `(num_tasks,)`.
    """

    mean: jax.Array
    interval: jax.Array
    values: jax.Array


class Evaluation(NamedTuple):
    """A `Score` under both normalisation policies.

    mean, interval, values: transductive, all queries of a task predicted together.
    inductive: each query predicted in a batch with the support set alone. The two are equal for a
      model whose predictions do not depend on what else is in the batch. None if not asked for.
    """

    mean: jax.Array
    interval: jax.Array
    values: jax.Array
    inductive: Score | None


def evaluate(
    learner: Learner,
    meta_params: Params,
    sample: Sample,
    metric: Callable[[Any, Any], jax.Array],
    *,
    key: jax.Array,
    num_tasks: int,
    num_steps: Steps | None = None,
    inductive: bool = True,
    tasks_per_pass: int | None = None,
) -> Evaluation:
    """Adapt to fresh tasks and measure on their query sets. One key, one list of tasks.

    Args:
      learner: what adapts.
      meta_params: what it starts from.
      sample: a task source; draw test tasks from classes that were not trained on.
      metric: predictions and targets of the queries to a scalar, such as `accuracy`.
      key: two learners evaluated with one key see the same tasks.
      num_tasks: at least 2; published numbers use 600 and more.
      num_steps: inner steps other than the learner's own, or several: `(0, 1, 5, 10)`.
      inductive: measure that policy as well; it costs a prediction of the support set per query.
      tasks_per_pass: how many a device adapts at once; by default 4 on a CPU and 100 elsewhere.

    Raises:
      ValueError: for fewer than 2 tasks, or `num_steps` for a learner without an inner loop.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> learner = mj.maml(mj.mlp(), mj.mse, optax.sgd(0.01), num_steps=1)
      >>> meta_params = learner.init(jax.random.key(0), jnp.ones((1, 1)))
      >>> scores = mj.evaluate(learner, meta_params, mj.tasks.sinusoid(), mj.mse,
      ...                      key=jax.random.key(1), num_tasks=100, num_steps=(0, 1))
      >>> scores.mean.shape, scores.values.shape  # untrained it predicts 0: about 4.25
      ((2,), (100, 2))
    """
    if num_tasks < 2:
        raise ValueError(f"evaluate: num_tasks={num_tasks}; an interval needs 2 tasks or more.")
    steps = num_steps if num_steps is None or isinstance(num_steps, int) else tuple(num_steps)
    keys, shared = jax.random.split(key, num_tasks), (jax.tree_util.Partial(sample), meta_params)
    devices, mesh = jax.local_devices(), None
    if tasks_per_pass is None:
        tasks_per_pass = 4 if devices[0].platform == "cpu" else 100
    if len(devices) > 1 and not any(isinstance(a, core.Tracer) for a in jax.tree.leaves(shared)):
        mesh = Mesh(np.asarray(devices), ("tasks",))
        keys = keys[jnp.arange(-(-num_tasks // len(devices)) * len(devices)) % num_tasks]
        shared = jax.device_put(shared, NamedSharding(mesh, P()))
    values = _values(
        *shared,
        keys,
        learner=learner,
        metric=metric,
        num_steps=steps,
        inductive=inductive,
        tasks_per_pass=tasks_per_pass,
        mesh=mesh,
    )
    values = jax.tree.map(lambda leaf: leaf[:num_tasks], values)
    scores = [_score(policy) for policy in values]
    return Evaluation(*scores[0], inductive=scores[1] if inductive else None)


def _score(values: jax.Array) -> Score:
    deviation = jnp.std(values, axis=0, ddof=1)
    return Score(jnp.mean(values, axis=0), 1.96 * deviation / len(values) ** 0.5, values)


def compare(first: Score | Evaluation, second: Score | Evaluation) -> Score:
    """How much greater `first` is than `second`, task by task: both evaluated with one key.

    The interval is that of the mean difference. Learners find the same tasks hard, so it is much
    narrower than the two intervals suggest; 0 outside of it is a difference.

    Raises:
      ValueError: for scores of different numbers of tasks or steps.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> learner = mj.maml(mj.mlp(), mj.mse, optax.sgd(0.01), num_steps=1)
      >>> meta_params = learner.init(jax.random.key(0), jnp.ones((1, 1)))
      >>> scores = mj.evaluate(learner, meta_params, mj.tasks.sinusoid(), mj.mse,
      ...                      key=jax.random.key(1), num_tasks=100)
      >>> float(mj.compare(scores, scores).interval)
      0.0
    """
    if first.values.shape != second.values.shape:
        raise ValueError(
            f"compare: values are {first.values.shape} and {second.values.shape}; evaluate both with "
            "the same key, num_tasks and num_steps."
        )
    return _score(first.values - second.values)


_STATIC = ("learner", "metric", "num_steps", "inductive", "tasks_per_pass", "mesh")


@partial(jax.jit, static_argnames=_STATIC)
def _values(
    sample, meta_params, keys, *, learner, metric, num_steps, inductive, tasks_per_pass, mesh
):
    options = {} if num_steps is None else {"num_steps": num_steps}

    def of_task(sample, meta_params, key):
        task_key, adapt_key = jax.random.split(key)
        support, query = sample(task_key)
        try:
            adapted = learner.adapt(meta_params, support, adapt_key, **options)
        except TypeError as error:
            if "num_steps" not in str(error):
                raise
            raise ValueError(
                f"evaluate: num_steps={num_steps} and this learner has no inner loop; leave "
                "num_steps out."
            ) from error

        def together(adapted):
            return metric(learner.predict(adapted, query.x), query.y)

        def alone(adapted):
            return metric(predict_alone(learner, adapted, support.x, query.x), query.y)

        def policies(adapted):
            return (together(adapted), alone(adapted)) if inductive else (together(adapted),)

        return jax.vmap(policies)(adapted) if isinstance(num_steps, tuple) else policies(adapted)

    def of_tasks(sample, meta_params, keys):
        return jax.lax.map(partial(of_task, sample, meta_params), keys, batch_size=tasks_per_pass)

    if mesh is not None:  # every device takes its share of the tasks
        specs = (P(), P(), P("tasks"))
        of_tasks = jax.shard_map(
            of_tasks, mesh=mesh, in_specs=specs, out_specs=P("tasks"), check_vma=False
        )
    return of_tasks(sample, meta_params, keys)
