"""Runs of the recipe of translation that others start from, or are judged beside."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from metajax.recipes.language.translation_data import Prepared
from metajax.recipes.language.translation_learners import LEARNERS, tokens_per_step, tokens_read

SHARED = ("data_set", "third", "pairs", "vocabulary", "width", "layers", "length", "seed")
"""Settings that have to be equal."""


def read(p: Prepared, what: str, folder: str) -> tuple[Any, Prepared]:
    """Returns the meta-parameters and the prepared sentences of a run.

    Args:
      p: The prepared sentences beside which it is read.
      what: The setting that names the folder.
      folder: Of the run.

    Raises:
      FileNotFoundError: For a folder without a run.
      ValueError: For a run of another recipe, or of other languages or sizes.
    """
    from metajax.recipes.run import restore  # which imports the recipes

    run = restore(Path(folder).expanduser(), data=p.settings.data)
    other = None if run.experiment is None else run.experiment.prepared
    if not isinstance(other, Prepared):
        raise ValueError(
            f"translation: {what}={folder!r} was not made by `metajax train translation`. Give such a run."
        )
    for name in SHARED:
        own, others = (getattr(part.settings, name) for part in (p, other))
        if own != others:
            raise ValueError(
                f"translation: {what}={folder!r} has {name}={others!r}, but this run has {own!r}. Make them "
                "equal."
            )
    if run.step < other.settings.outer_steps:
        raise ValueError(
            f"translation: {what}={folder!r} stopped at outer step {run.step} of {other.settings.outer_steps}. "
            "Finish it with `metajax resume`."
        )
    return run.meta_params, other


def started(p: Prepared) -> Prepared:
    """Reads the run that training starts from, and resolves the number of outer steps and their rate.

    Raises:
      FileNotFoundError, ValueError: As `read`; ValueError where `start` has read all target tokens.
    """
    s = p.settings
    s = replace(s, beside=tuple(str(Path(one).expanduser().resolve()) for one in s.beside))
    if s.start is not None:
        meta_params, other = read(p, "start", s.start)
        s = replace(s, start=str(Path(s.start).expanduser().resolve()))
        p = p._replace(begin=(meta_params, tokens_read(other)))
    for folder in s.beside:
        read(p, "beside", folder)
    if s.outer_rate is None:
        s = replace(s, outer_rate=LEARNERS[s.learner].rate)
    p = p._replace(settings=s)
    if s.outer_steps is None:
        left = s.target_tokens - (0 if p.begin is None else p.begin[1])
        if left < tokens_per_step(p):
            raise ValueError(
                f"translation: target_tokens={s.target_tokens:,} are used up, because start={s.start!r} has "
                f"read {s.target_tokens - left:,}. Give more --target-tokens."
            )
        s = replace(s, outer_steps=round(left / tokens_per_step(p)))
    return p._replace(settings=s)
