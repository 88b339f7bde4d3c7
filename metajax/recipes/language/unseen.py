"""What of other data a run has not seen: its own data set, or a copy of it, must not be its test."""

from collections import Counter

from metajax.data.sentences import Sentences
from metajax.recipes.language.prepared import Prepared

_SHARE = 0.5
"""A class that has this share of its sentences among those of the run is one of the run."""


def unseen(p: Prepared, found: Sentences) -> tuple[Sentences, tuple[str, ...]]:
    """Leaves out classes of which most sentences were for training or validation.

    Args:
      p: The prepared sentences of the run.
      found: Other sentences.

    Returns:
      The sentences of the other classes, and notes on what was left out, or was seen in them.

    Raises:
      ValueError: If no class is left.
    """
    known = {*p.train.texts, *p.val.texts}
    seen = [text in known for text in found.texts]
    every = Counter(found.classes())
    of_run = Counter(own for own, was in zip(found.classes(), seen, strict=True) if was)
    left_out = {own for own, number in of_run.items() if number >= _SHARE * every[own]}
    if len(left_out) == len(every):
        raise ValueError(
            f"{p.name}: {found.source or found.name} has only classes that this run was trained or validated "
            "on. Use other sentences, or leave --on out for the run's own test classes."
        )
    kept = found.at([i for i, own in enumerate(found.classes()) if own not in left_out])
    shared = sum(number for own, number in of_run.items() if own not in left_out)
    notes = []
    if left_out:
        notes.append(
            f"{len(left_out)} of {len(every)} classes of {found.name} are left out, because the run was "
            "trained or validated on them"
        )
    if shared:
        notes.append(
            f"{shared:,} of {len(kept.texts):,} sentences are also among those for training or validation"
        )
    return kept, tuple(notes)
