"""Pairs of sentences as tokens."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from metajax.data.translations import Pairs
from metajax.recipes.language.pieces import Pieces

Tokens = list[list[int]]


class Encoded(NamedTuple):
    """Pairs as tokens."""

    sources: Tokens
    targets: Tokens

    def at(self, places: Sequence[int]) -> "Encoded":
        """The pairs at these places."""
        return Encoded(*([side[i] for i in places] for side in self))


def encoded(pieces: Pieces, pairs: Pairs, where: Callable[[int, int], str], length: int) -> Encoded:
    """Returns pairs as tokens.

    Args:
      pieces: The vocabulary.
      pairs: The sentences.
      where: Names sentence `i` of the sources (0) or translations (1), for messages.
      length: The tokens of a row.

    Raises:
      ValueError: For a sentence that is longer than a row, naming it.
    """
    found = Encoded(*(pieces.encode(side) for side in pairs))
    for number, (side, texts) in enumerate(zip(found, pairs, strict=True)):
        for i, tokens in enumerate(side):
            if not 0 < len(tokens) < length:
                raise ValueError(
                    f"translation: {where(i, number)} has {len(tokens)} tokens, but length={length} takes 1 to "
                    f"{length - 1}: {texts[i][:60]!r}. Leave it out, or take a greater --length."
                )
    return found
