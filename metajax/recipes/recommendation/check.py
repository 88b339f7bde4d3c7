"""Settings of the recipe of ratings that cannot work."""

from collections.abc import Iterable
from typing import Any

from metajax import checks
from metajax.names import choose
from metajax.recipes.experiment import refuse_ignored

SCENARIOS = ("new_users", "new_items", "both", "cross")


def check(s: Any, losses: Iterable[str], learners: Iterable[str]) -> None:
    """Checks settings before any data are read.

    Args:
      s: The settings of the recipe.
      losses, learners: Their names.

    Raises:
      ValueError: For a setting out of its range, or without effect.
    """
    for name in ("width", "outer_steps", "meta_batch"):
        checks.count("ratings", name, getattr(s, name))
    choose("ratings", "loss", s.loss, losses)
    choose("ratings", "learner", s.learner, learners)
    choose("ratings", "scenario", s.scenario, SCENARIOS)
    reads_features = s.learner not in ("zero_step", "bias")
    refuse_ignored("ratings", s, "learner", {"ids": reads_features, "width": reads_features})
    checks.count("ratings", "min_ratings", s.min_ratings, least=2)
    if not s.supports:
        raise ValueError("ratings: supports=() must hold at least one number.")
    for number in s.supports:
        checks.count("ratings", "supports", number)
    choose("ratings", "split", s.split, ("random", "time"))
    cross = s.scenario == "cross"
    refuse_ignored("ratings", s, "scenario", {"target": cross, "support_from": cross})
    if cross and not s.target:
        raise ValueError(
            "ratings: target=() must name a tag with scenario='cross', such as Horror."
        )
    if not 0 <= s.id_dropout < 1:
        raise ValueError(f"ratings: id_dropout={s.id_dropout:g} must be at least 0 and below 1.")
    given = s.shrinkage
    if given is not None and (
        len(given) != 7 or min(given[:4] + given[5:6]) <= 0 or min(given) < 0
    ):
        raise ValueError(
            f"ratings: shrinkage={given} must be seven numbers: item, user, content and ridge above 0, a "
            "power of at least 0, and ridge and power for new items. Or leave it out."
        )
