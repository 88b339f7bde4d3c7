"""Inner loops in mini-batches: each step reads a part of the support set."""

import jax

from metajax import checks
from metajax.inner import AtStep
from metajax.masks import exists, filled
from metajax.types import Learner


def in_batches(learner: Learner, k: int) -> Learner:
    """The same learner, whose inner step `i` reads part `i % k` of the shuffled support set.

    The inner optimiser keeps its state from step to step, so that momentum and Adam work. `k` steps see every
    example once. The parts are drawn from `adapt`'s key, once for each task.

    Masked examples are replaced by copies of others before the parts are cut, and weigh nothing in theirs.

    Args:
      learner: `maml`, `anil` or a learner made of them, such as `finetune` and `linear_probe`.
      k: The number of parts, which must divide the number of support examples.

    Returns:
      A learner with the same meta-parameters and the same adapted parameters. With `k=1` it is `learner`.

    Raises:
      ValueError: If `k` is below 1, or the learner has no inner loop; from `adapt`, for a support set that
        cannot be divided evenly.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> constant = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w + 0 * x)
      >>> learner = mj.in_batches(mj.maml(constant, mj.mse, optax.sgd(0.5), num_steps=2), 2)
      >>> support = mj.Examples(x=jnp.zeros(2), y=jnp.array([2.0, 8.0]))
      >>> float(learner.adapt(jnp.zeros(()), support, jax.random.key(0))) in (2.0, 8.0)  # the last one's
      True

    Reference:
      Nichol, Achiam and Schulman, 2018, section 6.2, for why mini-batches.
      https://arxiv.org/abs/1803.02999
    """
    k = checks.count("in_batches", "k", k)
    checks.learner("in_batches", learner)
    if learner.num_steps is None:
        raise ValueError(
            f"in_batches: k={k}, but this learner has no inner loop. Use maml, anil or one made of them."
        )

    def adapt(meta_params, support, key, **options):
        if k == 1:
            return learner.adapt(meta_params, support, key, **options)
        number = len(exists(support))
        if number % k:
            raise ValueError(
                f"in_batches: {number} support examples do not divide evenly into k={k} parts. Change one "
                "of them."
            )
        shuffle_key, adapt_key = jax.random.split(key)
        order = jax.random.permutation(shuffle_key, number)
        shuffled = jax.tree.map(lambda leaf: leaf[order], filled(support))
        return learner.adapt(meta_params, shuffled, adapt_key, at_step=_part(k, number), **options)

    return learner._replace(adapt=adapt)


def _part(k: int, number: int) -> AtStep:
    """Reads part `step % k` of every array, whose first axis is that of the examples."""
    size = number // k

    def at_step(args, step):
        begin = (step % k) * size
        return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, begin, size), args)

    return at_step
