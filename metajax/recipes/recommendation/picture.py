"""How the list of a user changes as ratings are added."""

from typing import Any, NamedTuple

import numpy as np

from metajax.recipes.recommendation import inputs
from metajax.recipes.recommendation.prepared import Prepared
from metajax.recipes.recommendation.recommend import rank_all
from metajax.types import Learner, Params

STEPS, PLACES, OFTEN, TRIED = (0, 1, 3, 5, 10), 10, 50, 12
"""Numbers of ratings, places of the list, the number of items that may be in it, and users to choose from."""


class Lists(NamedTuple):
    """The lists of a user.

    steps: The numbers of ratings: those of `STEPS` that the test tasks have.
    places: `(steps, items)`, from 0.
    predicted: `(steps, items)` ratings.
    given: The user's ratings, such as "Alien (1979): 8", in the order in which they are given.
    """

    steps: tuple[int, ...]
    places: np.ndarray
    predicted: np.ndarray
    given: list[str]

    def moved(self) -> int:
        """By how many places the items of the first list and the last one have moved, in sum."""
        ends = np.minimum(self.places[[0, -1]], PLACES)
        return int(np.abs(ends[0] - ends[1]).sum())


def lists_of(p: Prepared, learner: Learner, meta_params: Params, task: int) -> Lists:
    """Returns the lists of a test task after each number of ratings.

    Only the items with the most ratings are in the lists, so that a reader may know them.
    """
    tasks, known = p.split.test, p.known
    items = inputs.table(p.ratings, known)
    given = [
        (int(i), float(r))
        for i, r in zip(tasks.support_item[task], tasks.support_rating[task], strict=True)
        if not np.isnan(r)
    ]
    often = np.sort(known.number)[-min(OFTEN, len(known.number)) :].min()
    shown = known.number >= max(1, often)
    shown[[i for i, _ in given]] = False
    steps = tuple(k for k in STEPS if k <= len(given))
    places, ratings = [], []
    for k in steps:
        _, found = rank_all(p, learner, meta_params, dict(given[:k]), items)
        order = np.argsort(-np.where(shown, np.asarray(found), -np.inf), kind="stable")
        places.append(np.argsort(order))
        ratings.append(np.clip(known.mean + known.deviation * np.asarray(found), *p.ratings.scale))
    said = [f"{p.ratings.titles[i]}: {r:g}" for i, r in given]
    return Lists(steps, np.array(places), np.array(ratings), said)


def lists(p: Prepared, learner: Learner, meta_params: Params, task: int | None = None) -> Any:
    """Draws the first places of the list of a test user, before any rating and as they are added.

    Args:
      p: The prepared ratings.
      learner, meta_params: What predicts.
      task: The test task; by default the one of the first few whose list changes most.
    """
    import matplotlib.pyplot as plt

    tried = range(min(TRIED, len(p.split.test.user))) if task is None else [task]
    user = max((lists_of(p, learner, meta_params, one) for one in tried), key=Lists.moved)
    figure, axes = plt.subplots(figsize=(11, 7), layout="constrained")
    x = np.arange(len(user.steps))
    for item in np.flatnonzero((user.places < PLACES).any(axis=0)):
        own = np.minimum(user.places[:, item] + 1.0, PLACES + 1)
        moved = own[0] - own[-1]
        color = "C2" if moved > 0 else "C3" if moved < 0 else "0.5"
        axes.plot(x, own, color=color, alpha=0.6, zorder=1)
        for i in np.flatnonzero(own <= PLACES):
            box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": color}
            axes.text(x[i], own[i], f"{user.predicted[i, item]:.1f}", ha="center", va="center",
                      fontsize=8, bbox=box)  # fmt: skip
        for end, side, offset in ((0, "right", -0.16), (-1, "left", 0.16)):
            if own[end] <= PLACES:
                title = p.ratings.titles[int(item)]
                axes.text(x[end] + offset, own[end], title, ha=side, va="center", fontsize=8)
    axes.set(xlim=(-1.9, x[-1] + 1.9), ylim=(PLACES + 1.4, 0.4))
    axes.text(
        x[0] - 0.16, PLACES + 1, "further down", ha="right", va="center", fontsize=8, color="0.5"
    )
    axes.set_xticks(x, _labels(user), fontsize=7)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_title(_title(user, len(tried)), fontsize=10)
    return figure


def _labels(user: Lists) -> list[str]:
    """The number of ratings, and those that were added."""
    found = []
    for before, k in zip((0, *user.steps), user.steps, strict=False):
        added = [said.rpartition(": ") for said in user.given[before:k]]
        short = [
            f"{title if len(title) < 23 else title[:19] + '...'}: {rating}"
            for title, _, rating in added
        ]
        found.append("\n".join([f"{k} rating{'s' * (k != 1)}", *short]))
    return found


def _title(user: Lists, tried: int) -> str:
    what = f"The list of a new user, with predicted ratings, among the {OFTEN} items with the most ratings"
    if not user.moved():
        return f"{what}:\nthe same before and after {user.steps[-1]} ratings, for each of {tried} users"
    chosen = f", of {tried} users the one whose list changes most" * (tried > 1)
    return f"{what}{chosen}:\ngreen items rose and red ones fell as ratings were added"
