"""Episodes of different ways and shots in arrays of one shape, by labels that mark what is not there."""

import jax
import jax.numpy as jnp

from metajax.types import Examples, Sample, Task


def varied(sample: Sample, *, way: tuple[int, int], shot: tuple[int, int]) -> Sample:
    """Take away classes and support examples at random: what is taken away has the label -1.

    Losses, metrics and learners pass over such examples, so that a learner trained on them meets
    every way and shot within one compiled program. Batch statistics still see their inputs.

    Args:
      sample: a source of balanced episodes of the greatest way and shot, labelled `0 .. way - 1`.
      way: fewest and most classes; the most is that of `sample`.
      shot: fewest and most support examples of a class; the most is that of `sample`.

    Raises:
      ValueError: for a fewest below 1 or above the most, or a support set of another size than the
        most of both.

    Example:
      >>> import jax, metajax as mj
      >>> episodes = mj.tasks.glyphs(way=5, shot=3)
      >>> sample = mj.tasks.varied(episodes, way=(2, 5), shot=(1, 3))
      >>> task = sample(jax.random.key(1))
      >>> task.support.y.shape, bool((task.support.y == -1).any())
      ((15,), True)

    Reference: Triantafillou et al., ICLR 2020, section 3 (Meta-Dataset). https://arxiv.org/abs/1903.03096
    """
    for name, (fewest, most) in {"way": way, "shot": shot}.items():
        if not 1 <= fewest <= most:
            raise ValueError(f"varied: {name}=({fewest}, {most}); give 1 <= fewest <= most.")
    found = jax.eval_shape(sample, jax.random.key(0)).support.y.shape[0]
    if found != way[1] * shot[1]:
        raise ValueError(
            f"varied: a support set of `sample` has {found} examples and way={way} with shot={shot} "
            f"needs {way[1] * shot[1]}; give the source's own way and shot as the most."
        )

    def vary(key: jax.Array) -> Task:
        task_key, way_key, shot_key = jax.random.split(key, 3)
        task = sample(task_key)
        classes = jax.random.randint(way_key, (), way[0], way[1] + 1)
        examples = jax.random.randint(shot_key, (), shot[0], shot[1] + 1)

        def kept(part: Examples, most: jax.Array | int) -> Examples:
            member = jax.nn.one_hot(part.y, way[1], dtype=jnp.int32)
            rank = jnp.sum(member * jnp.cumsum(member, axis=0), axis=1) - 1  # among its class
            return part._replace(y=jnp.where((part.y < classes) & (rank < most), part.y, -1))

        return Task(kept(task.support, examples), kept(task.query, len(task.query.y)))

    return vary
