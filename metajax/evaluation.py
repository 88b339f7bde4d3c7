"""How good a learner is on tasks it has not seen: a mean, its 95% interval, and each task's value."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from metajax import checks
from metajax.intervals import standard_errors, traced_standard_errors
from metajax.masks import exists, filled, masked_mean
from metajax.mesh import AXIS, placed, size, unplaced
from metajax.objectives import predict_alone, steps_option
from metajax.trees import as_pytree
from metajax.types import Learner, Params, Sample, Steps, Task

Tasks = Sample | Task | Iterable[Task]
"""A task source, a batch of tasks, or a list of tasks of any sizes."""


class Score(NamedTuple):
    """A metric over tasks. With several numbers of inner steps, each field has them as last axis.

    mean: The mean over the tasks that have queries.
    interval: Half the width of the 95% interval of the mean: Student's t of one degree of freedom less
      than there are tasks (1.96 of 600, 2.26 of 10), times the standard deviation of their values over
      the square root of their number. It covers the draw of the tasks, not that of the training run.
    values: The value of each task, `(num_tasks,)`; nan for a task without queries.
    mask: `(num_tasks,)`, which tasks have queries; None where all do.
    """

    mean: jax.Array
    interval: jax.Array
    values: jax.Array
    mask: jax.Array | None = None

    @property
    def num_empty(self) -> int:
        """The number of tasks without queries, which weigh nothing."""
        return 0 if self.mask is None else int(np.sum(~np.asarray(self.mask)))


class Evaluation(NamedTuple):
    """A `Score` under both normalisation policies.

    mean, interval, values, mask: Transductive, all queries of a task predicted together.
    inductive: Each query predicted in a batch with the support set alone. The two are equal for a
      model whose predictions do not depend on the rest of the batch. None if not asked for.
    """

    mean: jax.Array
    interval: jax.Array
    values: jax.Array
    inductive: Score | None
    mask: jax.Array | None = None

    @property
    def num_empty(self) -> int:
        """The number of tasks without queries, which weigh nothing."""
        return Score(self.mean, self.interval, self.values, self.mask).num_empty


def score(values: Any, mask: Any = None) -> Score:
    """The mean over tasks and its 95% interval, of values computed anywhere.

    Args:
      values: One number per task, `(num_tasks,)`, or `(num_tasks, ...)` for several.
      mask: `(num_tasks,)`, which tasks count; by default all.

    Returns:
      A `Score`, which `compare` takes. A nan among the values makes the mean nan.

    Raises:
      ValueError: For fewer than 2 tasks that count, because an interval needs 2.

    Example:
      >>> import metajax as mj
      >>> found = mj.score([0.0, 1.0, 1.0, 0.0])
      >>> float(found.mean), round(float(found.interval), 3)
      (0.5, 0.919)
    """
    try:
        values = jnp.asarray(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"score: values={values!r:.60} must be an array of numbers.") from error
    if values.ndim == 0 or len(values) < 2:
        raise ValueError(
            f"score: {values.size} value(s); an interval needs the values of at least 2 tasks."
        )
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    if mask is None:
        deviation = jnp.std(values, axis=0, ddof=1)
        errors = float(standard_errors(len(values)))
        return Score(jnp.mean(values, axis=0), errors * deviation / len(values) ** 0.5, values)
    mask = jnp.asarray(mask, bool)
    if mask.shape != values.shape[:1]:
        raise ValueError(
            f"score: mask has shape {mask.shape} for {len(values)} tasks; give ({len(values)},)."
        )
    if not isinstance(mask, Tracer) and int(mask.sum()) < 2:
        raise ValueError(
            f"score: {int(mask.sum())} of {len(values)} tasks have queries; an interval needs 2 tasks."
        )
    weights = mask.reshape(-1, *[1] * (values.ndim - 1))
    number = jnp.sum(mask)
    mean = jnp.sum(jnp.where(weights, values, 0), axis=0) / number
    apart = jnp.where(weights, (values - mean[None]) ** 2, 0)
    deviation = jnp.sqrt(jnp.sum(apart, axis=0) / (number - 1))
    values = jnp.where(weights, values, jnp.nan)
    errors = traced_standard_errors(number, len(values))
    return Score(mean, (errors * deviation / jnp.sqrt(number)).astype(mean.dtype), values, mask)


def compare(first: Score | Evaluation, second: Score | Evaluation) -> Score:
    """How much greater `first` is than `second`, task by task: both evaluated on the same tasks.

    The interval is that of the mean difference. Learners find the same tasks hard, so it is much
    narrower than the two intervals suggest; the difference is significant if the interval excludes 0.

    Raises:
      ValueError: For scores of different numbers of tasks or steps.

    Example:
      >>> import metajax as mj
      >>> ours, theirs = mj.score([0.8, 0.5, 0.9]), mj.score([0.7, 0.4, 0.8])
      >>> found = mj.compare(ours, theirs)
      >>> round(float(found.mean), 3), round(float(found.interval), 3)
      (0.1, 0.0)
    """
    if first.values.shape != second.values.shape:
        raise ValueError(
            f"compare: values are {first.values.shape} and {second.values.shape}; evaluate both with "
            "the same key, num_tasks and num_steps."
        )
    masks = [mask for mask in (first.mask, second.mask) if mask is not None]
    both = jnp.all(jnp.stack(masks), axis=0) if masks else None
    return score(first.values - second.values, both)


def evaluate(
    learner: Learner,
    meta_params: Params,
    tasks_or_sample: Tasks,
    metric: Callable[[Any, Any], jax.Array],
    *,
    key: jax.Array | None = None,
    num_tasks: int | None = None,
    num_steps: Steps | None = None,
    inductive: bool = True,
    tasks_per_pass: int | None = None,
    mesh: Mesh | None = None,
) -> Evaluation:
    """Adapts to each task and measures on its query set.

    Args:
      learner: The learner that adapts.
      meta_params: What it starts from.
      tasks_or_sample: A task source, from which `num_tasks` are drawn; or finitely many tasks, each
        taken once: a batch, or a list of tasks of any sizes. Draw test tasks from classes that were
        not trained on.
      metric: Predictions and targets of the queries to one value per example, `(n, ...)`, such as
        `accuracy`, whose mean over the queries that exist is the task's value; or a task's value, a
        scalar, where no query is masked. A metric with an attribute `average(values, mask)`, such as
        `ndcg(5)`, is averaged by it. Metrics on the host take `predictions`.
      key: Two learners evaluated with one key see the same tasks. Finitely many tasks need none
        unless adapting draws random numbers.
      num_tasks: At least 2; published numbers use 600 and more. By default all, of finitely many.
      num_steps: Inner steps other than the learner's own, or several: `(0, 1, 5, 10)`.
      inductive: Measure that policy as well; it costs a prediction of the support set per query.
      tasks_per_pass: How many tasks a device adapts at once; by default 4 on a CPU and 100 elsewhere.
      mesh: Devices to spread the tasks over, such as `task_mesh()`; by default one device.

    Raises:
      ValueError: For fewer than 2 tasks, for `num_steps` with a learner without an inner loop, for a
        source whose tasks do not depend on its key, and for a source without a key or a number.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> learner = mj.maml(mj.mlp(), mj.mse, optax.sgd(0.01), num_steps=1)
      >>> meta_params = learner.init(jax.random.key(0), jnp.ones((1, 1)))
      >>> scores = mj.evaluate(learner, meta_params, mj.tasks.sinusoid(), mj.mse,
      ...                      key=jax.random.key(1), num_tasks=100, num_steps=(0, 1))
      >>> scores.mean.shape, scores.values.shape  # untrained it predicts 0: about 4.25
      ((2,), (100, 2))
    """
    checks.loss("evaluate", metric, "metric")
    judge = _Judge(metric, inductive)
    each = _on_tasks(
        "evaluate",
        learner,
        meta_params,
        tasks_or_sample,
        judge,
        key=key,
        num_tasks=num_tasks,
        num_steps=num_steps,
        tasks_per_pass=tasks_per_pass,
        mesh=mesh,
    )
    if len(each) > 1:
        each = [[*values, True if mask is None else mask] for *values, mask in each]
        each = [jax.tree.map(lambda *parts: jnp.stack(parts), *each)]
    *policies, mask = each[0]
    scores = [score(values, mask) for values in policies]
    mean, interval, values, mask = scores[0]
    return Evaluation(mean, interval, values, scores[1] if inductive else None, mask)


def predictions(
    learner: Learner,
    meta_params: Params,
    tasks_or_sample: Tasks,
    *,
    key: jax.Array | None = None,
    num_tasks: int | None = None,
    num_steps: Steps | None = None,
    tasks_per_pass: int | None = None,
    mesh: Mesh | None = None,
) -> Any:
    """Adapts to each task and returns the predictions of its queries, for metrics on the host.

    The tasks are those that `evaluate` sees with the same arguments; draw them with
    `mj.tasks.batch(sample, key, num_tasks)` to have their targets as well.

    Args:
      learner, meta_params, tasks_or_sample, key, num_tasks, num_steps, tasks_per_pass, mesh: As
        in `evaluate`.

    Returns:
      NumPy arrays `(num_tasks, n, ...)`, or `(num_tasks, steps, n, ...)` with several numbers of
      steps, all queries of a task predicted together; a list of such arrays without the first axis
      for a list of tasks of different sizes. Float predictions of masked queries are nan.

    Raises:
      ValueError: As `evaluate`.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, metajax as mj
      >>> tasks = mj.tasks.batch(mj.tasks.glyphs(way=3), jax.random.key(0), 20)
      >>> found = mj.predictions(mj.nearest_neighbour(mj.pixels), (), tasks)
      >>> right = found.argmax(axis=-1) == tasks.query.y
      >>> mj.score(np.mean(right, axis=1)).values.shape
      (20,)
    """
    each = _on_tasks(
        "predictions",
        learner,
        meta_params,
        tasks_or_sample,
        _keep,
        key=key,
        num_tasks=num_tasks,
        num_steps=num_steps,
        tasks_per_pass=tasks_per_pass,
        mesh=mesh,
    )
    arrays = [jax.tree.map(np.asarray, part) for part in each]
    return arrays[0] if len(arrays) == 1 else arrays


class _Judge(NamedTuple):
    """The value of a task under each policy, and whether it has queries.

    Equal metrics make equal judges, so that a second evaluation compiles nothing.
    """

    metric: Callable[[Any, Any], jax.Array]
    inductive: bool

    def __call__(self, learner, adapted, task, many):
        support, query = filled(task.support), filled(task.query)

        def value(predicted):
            values, number = self.metric(predicted, query.y), len(exists(query))
            if jnp.ndim(values) and values.shape[0] != number:
                raise ValueError(
                    f"evaluate: the metric returns shape {values.shape} for {number} queries; return "
                    f"one value per query, ({number}, ...), or a scalar."
                )
            average = getattr(self.metric, "average", masked_mean)
            return average(values, query.mask)

        def policies(adapted):
            together = value(learner.predict(adapted, query.x))
            if not self.inductive:
                return (together,)
            return together, value(predict_alone(learner, adapted, support.x, query.x))

        found = jax.vmap(policies)(adapted) if many else policies(adapted)
        return *found, None if query.mask is None else jnp.any(query.mask)


def _keep(learner, adapted, task, many):
    query = filled(task.query)
    existing = exists(query)

    def predict(adapted):
        found = learner.predict(adapted, query.x)
        return found if query.mask is None else jax.tree.map(blank, found)

    def blank(leaf):
        rows = existing.reshape(-1, *[1] * (leaf.ndim - 1))
        return jnp.where(rows, leaf, jnp.nan) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf

    return jax.vmap(predict)(adapted) if many else predict(adapted)


def _on_tasks(
    where, learner, meta_params, tasks_or_sample, on_task, *, key, num_tasks, num_steps, **options
) -> list[Any]:
    """What `on_task` gives for all tasks: one stacked tree, or a list of one for each task."""
    checks.learner(where, learner)
    if options["mesh"] is not None:
        size(options["mesh"], where)
    if options["tasks_per_pass"] is not None:
        checks.count(where, "tasks_per_pass", options["tasks_per_pass"])
    num_steps = steps_option(where, learner, num_steps).get("num_steps")
    run = partial(
        _run,
        learner=learner,
        on_task=on_task,
        num_steps=num_steps,
        meta_params=meta_params,
        **options,
    )
    if callable(tasks_or_sample) and not isinstance(tasks_or_sample, Task):
        if key is None or num_tasks is None:
            raise ValueError(
                f"{where}: key={key} and num_tasks={num_tasks}; a source needs both, such as "
                "key=jax.random.key(1), num_tasks=600."
            )
        checks.prng_key(where, key)
        num_tasks = checks.count(where, "num_tasks", num_tasks, least=2)
        checks.source(where, tasks_or_sample)
        keys = jax.random.split(key, num_tasks)
        return [run(sample=as_pytree(tasks_or_sample), keys=keys)]
    batches, order = _batches(where, tasks_or_sample, num_tasks)
    key = jax.random.key(0) if key is None else key
    checks.prng_key(where, key)
    keys = jax.random.split(key, len(order))
    found, begin = [], 0
    for batch in batches:
        own = keys[order[begin : begin + checks.batch_size(batch)]]
        begin += len(own)
        found.append(run(given=batch, keys=own))
    if len(found) == 1:
        return found
    single = [jax.tree.map(lambda leaf, i=i: leaf[i], part) for part in found for i in _rows(part)]
    return [single[int(i)] for i in np.argsort(order)]


def _rows(tree: Any) -> range:
    return range(len(jax.tree.leaves(tree)[0]))


def _batches(where: str, tasks: Any, num_tasks: int | None) -> tuple[list[Task], np.ndarray]:
    """Batches of tasks of equal shapes, and the place of each of their tasks in what was given."""
    if isinstance(tasks, Task):
        found = checks.batch_size(tasks)
        _enough(where, found, num_tasks)
        number = found if num_tasks is None else num_tasks
        return [jax.tree.map(lambda leaf: leaf[:number], tasks)], np.arange(number)
    if not isinstance(tasks, Iterable):
        raise ValueError(
            f"{where}: sample is a {type(tasks).__name__}; give a source of tasks, a batch or a list of them."
        )
    listed = list(tasks)
    if not all(isinstance(task, Task) for task in listed):
        kinds = ", ".join(sorted({type(task).__name__ for task in listed}))
        raise ValueError(
            f"{where}: a list of tasks holds mj.Task alone, but this one holds {kinds}."
        )
    _enough(where, len(listed), num_tasks)
    alike: dict[Any, list[int]] = {}
    for i, task in enumerate(listed[:num_tasks]):
        leaves, tree = jax.tree.flatten(task)
        alike.setdefault((tree, tuple(jnp.shape(leaf) for leaf in leaves)), []).append(i)
    batches = [
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *(listed[i] for i in places))
        for places in alike.values()
    ]
    return batches, np.array([i for places in alike.values() for i in places])


def _enough(where: str, found: int, wanted: int | None) -> None:
    if wanted is not None:
        checks.count(where, "num_tasks", wanted, least=2)
    if found < (2 if wanted is None else wanted):
        asked = "at least 2 are needed" if wanted is None else f"num_tasks={wanted} are asked for"
        raise ValueError(f"{where}: there are {found} tasks, but {asked}.")


def _run(
    *, learner, meta_params, keys, on_task, num_steps, tasks_per_pass, mesh, sample=None, given=None
):
    number, shared = len(keys), (sample, meta_params)
    if mesh is not None and size(mesh) > 1:
        # Every device takes a share; what fills the last one is computed twice and cut off.
        rows = jnp.arange(-(-number // size(mesh)) * size(mesh)) % number
        turns = jax.tree.map(lambda leaf: leaf[rows], (keys, given))
        shared, (keys, given) = placed(mesh, (shared, turns))
    if tasks_per_pass is None:
        tasks_per_pass = _usual_pass((shared, keys))
    found = _mapped(
        shared,
        (given, keys),
        learner=learner,
        on_task=on_task,
        num_steps=num_steps,
        tasks_per_pass=tasks_per_pass,
        mesh=mesh,
    )
    if mesh is not None and mesh.is_multi_process:
        found = unplaced(found)
    return jax.tree.map(lambda leaf: leaf[:number], found)


_ON_CPU, _ELSEWHERE = 4, 100
"""Tasks of a pass, where nothing is said."""


def _usual_pass(arrays: Any) -> int | None:
    """The tasks of a pass where arrays are; None inside a program, which may be for any platform."""
    leaves = jax.tree.leaves(arrays)
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        return None
    found = [leaf.devices() for leaf in leaves if isinstance(leaf, jax.Array)]
    on_cpu = all(device.platform == "cpu" for devices in found for device in devices)
    return _ON_CPU if on_cpu else _ELSEWHERE


_STATIC = ("learner", "on_task", "num_steps", "tasks_per_pass", "mesh")


@partial(jax.jit, static_argnames=_STATIC)
def _mapped(shared, turns, *, learner, on_task, num_steps, tasks_per_pass, mesh):
    options = {} if num_steps is None else {"num_steps": num_steps}

    def of_task(shared, turn):
        (sample, meta_params), (given, key) = shared, turn
        task_key, adapt_key = jax.random.split(key)
        task = given if sample is None else sample(task_key)
        adapted = learner.adapt(meta_params, task.support, adapt_key, **options)
        return on_task(learner, adapted, task, isinstance(num_steps, tuple))

    def of_tasks(shared, turns):
        def in_passes(size, turns):
            return jax.lax.map(partial(of_task, shared), turns, batch_size=size)

        if tasks_per_pass is not None:
            return in_passes(tasks_per_pass, turns)
        on_cpu, elsewhere = (partial(in_passes, size) for size in (_ON_CPU, _ELSEWHERE))
        return jax.lax.platform_dependent(turns, cpu=on_cpu, default=elsewhere)

    if mesh is not None and size(mesh) > 1:
        of_tasks = jax.shard_map(
            of_tasks,
            mesh=mesh,
            in_specs=(P(), P(AXIS)),
            out_specs=P(AXIS),
            axis_names={AXIS},
            check_vma=False,
        )
    return of_tasks(shared, turns)
