"""How the gradient of an objective is estimated: functions shaped like `jax.value_and_grad`."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from metajax.types import Estimator


def chunked(tasks_per_pass: int, estimator: Estimator = jax.value_and_grad) -> Estimator:
    """Estimate on `tasks_per_pass` tasks at a time and average, so that memory stays bounded.

    On a CPU it is also faster for convolutional networks: a few tasks fit in the cache.

    Args:
      tasks_per_pass: divides the meta-batch.
      estimator: what to call on each part. The objective must be a mean over tasks.

    Raises:
      ValueError: when traced with a meta-batch that `tasks_per_pass` does not divide.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> mean = lambda w, tasks, key: jnp.mean(w * tasks)
      >>> value, gradient = mj.chunked(2)(mean)(3.0, jnp.arange(6.0), jax.random.key(0))
      >>> float(value), float(gradient)
      (7.5, 2.5)
    """
    if tasks_per_pass < 1:
        raise ValueError(f"chunked: tasks_per_pass={tasks_per_pass}; it takes 1 task or more.")

    def chunked_estimator(objective):
        estimate = estimator(objective)

        def average(meta_params, tasks, key):
            meta_batch = jax.tree.leaves(tasks)[0].shape[0]
            passes, rest = divmod(meta_batch, tasks_per_pass)
            if rest:
                raise ValueError(
                    f"chunked: meta_batch={meta_batch} does not split into passes of "
                    f"tasks_per_pass={tasks_per_pass}; use one of "
                    f"{[n for n in range(1, meta_batch + 1) if meta_batch % n == 0]}."
                )
            parts = jax.tree.map(lambda leaf: leaf.reshape(passes, -1, *leaf.shape[1:]), tasks)

            def add(total, part):
                return jax.tree.map(jnp.add, total, estimate(meta_params, *part)), None

            inputs = (parts, jax.random.split(key, passes))
            first = jax.tree.map(lambda leaf: leaf[0], inputs)
            shapes = jax.eval_shape(estimate, meta_params, *first)
            zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
            total, _ = jax.lax.scan(add, zeros, inputs)
            return jax.tree.map(lambda leaf: leaf / passes, total)

        return average

    return chunked_estimator


def evolution(num_pairs: int, sigma: float) -> Estimator:
    """Evolution strategies with antithetic pairs: asks for no derivative at all.

    An unbiased estimate of the gradient of the objective smoothed by a Gaussian of deviation
    `sigma`. Its variance grows with the number of meta-parameters and falls with `num_pairs`.

    Args:
      num_pairs: perturbations, each taken in both directions; all are evaluated together.
      sigma: deviation of the perturbations.

    Returns:
      An estimator whose value is the mean over all evaluations, the smoothed objective.

    Raises:
      ValueError: for no pair, or a `sigma` of 0 or less.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> line = lambda w, tasks, key: 3 * w  # on a line one pair is exact but for its length
      >>> _, gradient = mj.evolution(10_000, 0.1)(line)(jnp.zeros(()), None, jax.random.key(0))
      >>> round(float(gradient), 1)
      3.0

    Reference: Salimans, Ho, Chen, Sidor and Sutskever, 2017, section 2. https://arxiv.org/abs/1703.03864
    """
    if num_pairs < 1 or sigma <= 0:
        raise ValueError(
            f"evolution: num_pairs={num_pairs} and sigma={sigma}; give 1 pair or more and a sigma "
            "above 0."
        )

    def evolution_estimator(objective):
        def estimate(meta_params, tasks, key):
            leaves, tree = jax.tree.flatten(meta_params)

            def of_pair(pair_key):
                noise_key, objective_key = jax.random.split(pair_key)
                keys = jax.random.split(noise_key, len(leaves))
                noise = [
                    jax.random.normal(k, leaf.shape, leaf.dtype)
                    for k, leaf in zip(keys, leaves, strict=True)
                ]

                def moved(sign):
                    parts = [p + sign * sigma * e for p, e in zip(leaves, noise, strict=True)]
                    return objective(jax.tree.unflatten(tree, parts), tasks, objective_key)

                above, below = moved(1), moved(-1)
                slope = (above - below) / (2 * sigma)
                return (above + below) / 2, [slope * e for e in noise]

            values, gradients = jax.vmap(of_pair)(jax.random.split(key, num_pairs))
            mean = [jnp.mean(leaf, axis=0) for leaf in gradients]
            return jnp.mean(values), jax.tree.unflatten(tree, mean)

        return estimate

    return evolution_estimator


def sharded(
    devices: Sequence[Any] | None = None, estimator: Estimator = jax.value_and_grad
) -> Estimator:
    """Estimate on every device's share of the tasks and average: data parallelism.

    On a CPU a device for every core is faster than one for all, for small products do not split well
    over threads; ask for them before anything is computed, by
    `jax.config.update("jax_num_cpu_devices", os.cpu_count())`. `metajax train` does.

    Args:
      devices: by default all there are; their number divides the meta-batch.
      estimator: what to call on each part. The objective must be a mean over tasks.

    Raises:
      ValueError: when traced with a meta-batch that does not split evenly.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> mean = lambda w, tasks, key: jnp.mean(w * tasks)
      >>> value, gradient = mj.sharded(jax.devices()[:1])(mean)(3.0, jnp.arange(6.0), jax.random.key(0))
      >>> float(value), float(gradient)
      (7.5, 2.5)
    """
    devices = tuple(jax.devices() if devices is None else devices)
    mesh = Mesh(np.asarray(devices), ("tasks",))

    def sharded_estimator(objective):
        estimate = estimator(objective)

        def on_device(meta_params, tasks, key):
            own_key = jax.random.fold_in(key, jax.lax.axis_index("tasks"))
            return jax.lax.pmean(estimate(meta_params, tasks, own_key), "tasks")

        average = jax.shard_map(
            on_device, mesh=mesh, in_specs=(P(), P("tasks"), P()), out_specs=P(), check_vma=False
        )

        def checked(meta_params, tasks, key):
            meta_batch = jax.tree.leaves(tasks)[0].shape[0]
            if meta_batch % len(devices):
                raise ValueError(
                    f"sharded: meta_batch={meta_batch} does not split over {len(devices)} devices; "
                    f"use a multiple of {len(devices)}, or fewer devices."
                )
            return average(meta_params, tasks, key)

        return checked

    return sharded_estimator


def parallel(
    meta_batch: int, tasks_per_pass: int | None = None, estimator: Estimator = jax.value_and_grad
) -> Estimator:
    """The estimator for this machine: the tasks over its devices, a few at a time on each.

    Args:
      meta_batch: tasks in an outer step. As many devices are used as divide it.
      tasks_per_pass: on a device; by default 1 on a CPU, where a convolutional network's work on one
        task fills the cache, and all at once elsewhere. Small perceptrons are faster all at once.
      estimator: what to call on each part.

    Raises:
      ValueError: when `tasks_per_pass` does not divide a device's share.
    """
    most = range(min(meta_batch, jax.local_device_count()), 0, -1)
    devices = jax.local_devices()[: next(n for n in most if meta_batch % n == 0)]
    share = meta_batch // len(devices)
    if tasks_per_pass is None:
        tasks_per_pass = 1 if devices[0].platform == "cpu" else share
    if share % tasks_per_pass:
        raise ValueError(
            f"parallel: meta_batch={meta_batch} gives each of {len(devices)} devices {share} tasks, "
            f"which do not split into passes of tasks_per_pass={tasks_per_pass}; change one of them."
        )
    if tasks_per_pass < share:
        estimator = chunked(tasks_per_pass, estimator)
    return sharded(devices, estimator) if len(devices) > 1 else estimator
