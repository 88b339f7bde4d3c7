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
      draw: Sentences, a size, and what is read of each sentence, to a source.
    """
    from metajax.recipes import plots  # loads matplotlib

    s, inputs = p.settings, p.fitted.inputs(p.test)
    # Episodes of places in the test set are those of what is read there.
    sample = draw(p.test, Shots(s.shot, s.test_query_shot, s.way), np.arange(len(p.test.texts)))
    support, query = sample(jax.random.key(0))

    def read(places):
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[places], inputs)

    adapted = learner.adapt(meta_params, support._replace(x=read(support.x)), jax.random.key(0))
    given = np.asarray(jnp.argmax(learner.predict(adapted, read(query.x)), axis=-1))
    places = np.asarray(query.x)
    labels = np.asarray(query.y)
    names = {label: p.test.labels[place] for place, label in zip(places, labels, strict=True)}
    every = max(1, len(given) // SHOWN)
    lines = [
        (p.test.texts[places[i]], names[labels[i]], names.get(given[i], "?"))
        for i in range(0, len(given), every)
    ][:SHOWN]
    return plots.sentences(lines, "Queries of one new task, and the label each was given")
