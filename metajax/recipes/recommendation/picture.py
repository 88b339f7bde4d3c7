"""How the list of a user changes as ratings are added."""

from typing import Any

import numpy as np

from metajax.recipes.recommendation import inputs
from metajax.recipes.recommendation.prepared import Prepared
from metajax.recipes.recommendation.recommend import rank_all
from metajax.types import Learner, Params

STEPS, PLACES, OFTEN = (0, 1, 3, 5, 10), 10, 50
"""Numbers of ratings, places of the list, and the training ratings that an item of the list has."""


def ranks(p: Prepared, learner: Learner, meta_params: Params, task: int) -> tuple[Any, list[str]]:
    """Places of items after each of `STEPS` ratings, `(steps, items)`, and the ratings that were given.

    Only items that are often rated are in the list, so that a reader may know them.
    """
    tasks, known = p.split.test, p.known
    given = tasks.support_item[task], tasks.support_rating[task]
    often = np.sort(known.number)[-min(OFTEN, len(known.number)) :].min()
    shown = known.number >= max(1, often)
    shown[given[0]] = False
    found = []
    for k in STEPS:
        places = {int(i): float(r) for i, r in zip(given[0][:k], given[1][:k], strict=True)}
        _, predicted = rank_all(p, learner, meta_params, places, inputs.table(p.ratings, known))
        order = np.argsort(-np.where(shown, np.asarray(predicted), -np.inf), kind="stable")
        found.append(np.argsort(order))
    said = [f"{p.ratings.titles[i]}: {r:g}" for i, r in zip(*given, strict=True)]
    return np.array(found), said


def lists(p: Prepared, learner: Learner, meta_params: Params, task: int = 0) -> Any:
    """Draws the first places of the list of a test user, before any rating and as they are added."""
    import matplotlib.pyplot as plt

    places, said = ranks(p, learner, meta_params, task)
    kept = np.flatnonzero((places < PLACES).any(axis=0))
    figure, axes = plt.subplots(figsize=(10, 5.5), layout="constrained")
    x = np.arange(len(STEPS))
    for item in kept:
        own = places[:, item] + 1.0
        moved = int(own[0] - own[-1])
        color = "C2" if moved > 0 else "C3" if moved < 0 else "0.5"
        line = np.where(own <= PLACES, own, PLACES + 1)
        axes.plot(x, line, color=color, marker="o", markersize=4, alpha=0.8)
        for end, side in ((0, "right"), (-1, "left")):
            if own[end] <= PLACES:
                offset = 0.06 if end else -0.06
                axes.text(
                    x[end] + offset,
                    own[end],
                    p.ratings.titles[int(item)],
                    ha=side,
                    va="center",
                    fontsize=8,
                )
    axes.set(xlim=(-1.9, len(STEPS) + 0.9), ylim=(PLACES + 1.6, 0.4))
    axes.set_xticks(x, [f"{k} rating{'s' * (k != 1)}" for k in STEPS])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_title(
        "The list of a new user as ratings are added; the first five: " + ", ".join(said[:5]),
        fontsize=9,
        wrap=True,
    )
    return figure
