"""Some queries of a new task, and the class that each was given before and after training."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metajax.recipes.experiment import Shots
from metajax.recipes.language.prepared import Prepared
from metajax.types import Learner, Params

SHOWN = 12


def queries(p: Prepared, learner: Learner, meta_params: Params, draw: Any) -> Any:
    """Returns a figure: queries of one test task with their labels and the label each was given.

    Args:
      p: The prepared sentences.
      learner, meta_params: What predicts.
      draw: Sentences and a size to a source.
    """
    from metajax.recipes import plots  # loads matplotlib

    s = p.settings
    sample = draw(p.test, Shots(s.shot, s.test_query_shot, s.way))
    support, query = sample(jax.random.key(0))
    adapted = learner.adapt(meta_params, support, jax.random.key(0))
    given = np.asarray(jnp.argmax(learner.predict(adapted, query.x), axis=-1))
    text_of = {row.tobytes(): i for i, row in enumerate(p.fitted.inputs(p.test))}
    names = {}
    for row, label in zip(np.asarray(query.x), np.asarray(query.y), strict=True):
        names[int(label)] = p.test.labels[text_of[row.tobytes()]]
    every = max(1, len(given) // SHOWN)
    lines = [
        (
            p.test.texts[text_of[np.asarray(query.x[i]).tobytes()]],
            names[int(query.y[i])],
            names.get(int(given[i]), "?"),
        )
        for i in range(0, len(given), every)
    ][:SHOWN]
    return plots.sentences(lines, "Queries of one new task, and the label each was given")
