"""Pictures of any source as the inputs of a run's network."""

from collections.abc import Callable

import jax.numpy as jnp

from metajax.recipes.experiment import Preprocessing, Shots
from metajax.tasks.synthetic.glyphs import glyphs
from metajax.types import Examples, Sample, Task


def invented(preprocessing: Preprocessing) -> dict[str, Callable[[Shots], Sample]]:
    """Sources of invented pictures, by name, as inputs of this kind."""

    def glyphs_of(shots: Shots) -> Sample:
        sample = glyphs(shots.way or 5, shots.shot, shots.query_shot, size=preprocessing.size)
        return prepared(sample, preprocessing, ink="bright")

    return {"glyphs": glyphs_of}


def prepared(sample: Sample, preprocessing: Preprocessing, ink: str | None) -> Sample:
    """Tasks whose grey pictures in [0, 1] become inputs.

    Args:
      sample: A source of pictures `(n, size, size, 1)` in [0, 1].
      preprocessing: Of the run.
      ink: Of the pictures.

    Example:
      >>> import jax, metajax as mj
      >>> dark = Preprocessing(size=28, channels=3, mean=(0.5,), deviation=(0.5,), ink="dark")
      >>> sample = prepared(mj.tasks.glyphs(), dark, ink="bright")
      >>> x = sample(jax.random.key(0)).support.x
      >>> x.shape, float(x.max())  # paper is bright
      ((5, 28, 28, 3), 1.0)
    """
    p = preprocessing
    if p._replace(size=0) == Preprocessing(0, 1, (0.0,), (1.0,), ink):
        return sample

    def inputs(examples: Examples) -> Examples:
        x = 1 - examples.x if {ink, p.ink} == {"bright", "dark"} else examples.x
        x = jnp.repeat(x, p.channels, axis=-1)
        mean, deviation = (jnp.array(v).reshape(1, 1, 1, -1) for v in (p.mean, p.deviation))
        return examples._replace(x=(x - mean) / deviation)

    def prepared_sample(key):
        support, query = sample(key)
        return Task(inputs(support), inputs(query))

    return prepared_sample
