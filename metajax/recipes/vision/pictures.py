"""Invented pictures as the inputs of a run's network."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metajax.recipes.experiment import Preprocessing, Shots
from metajax.tasks.synthetic.glyphs import glyphs
from metajax.trees import as_pytree
from metajax.types import Examples, Sample, Task

_PLAIN = Preprocessing(size=0, channels=1, mean=(0.0,), deviation=(1.0,), ink="bright")


def invented(preprocessing: Preprocessing) -> dict[str, Callable[[Shots], Sample]]:
    """Returns the sources of invented pictures, by name, as inputs of this kind."""

    def of_shots(shots: Shots) -> Sample:
        sample = glyphs(shots.way or 5, shots.shot, shots.query_shot, size=preprocessing.size)
        return prepared(sample, preprocessing)

    return {"glyphs": of_shots}


def prepared(sample: Sample, preprocessing: Preprocessing) -> Sample:
    """Returns tasks whose grey pictures in [0, 1], with bright ink, became inputs.

    Args:
      sample: A source of pictures `(n, size, size, 1)`.
      preprocessing: Of the run.

    Example:
      >>> import jax, metajax as mj
      >>> dark = Preprocessing(size=28, channels=3, mean=(0.5,), deviation=(0.5,), ink="dark")
      >>> x = prepared(mj.tasks.glyphs(), dark)(jax.random.key(0)).support.x
      >>> x.shape, round(float(x.max()), 3)  # The paper is bright.
      ((5, 28, 28, 3), 1.0)
    """
    if preprocessing._replace(size=0) == _PLAIN:
        return sample
    return jax.tree_util.Partial(_Prepared(preprocessing), as_pytree(sample))


@dataclass(frozen=True)
class _Prepared:
    """Equal preprocessing makes equal functions, so that one program serves both."""

    preprocessing: Preprocessing

    def __call__(self, sample, key) -> Task:
        return Task(*map(self.inputs, sample(key)))

    def inputs(self, examples: Examples) -> Examples:
        p = self.preprocessing
        x = 1 - examples.x if p.ink == "dark" else examples.x
        x = jnp.repeat(x, p.channels, axis=-1)
        mean, deviation = (jnp.array(v).reshape(1, 1, 1, -1) for v in (p.mean, p.deviation))
        return examples._replace(x=(x - mean) / deviation)
