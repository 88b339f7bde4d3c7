"""Names a user types: checked against those that exist, with the nearest one suggested."""

import difflib
from collections.abc import Iterable


def choose(where: str, argument: str, name: str, known: Iterable[str]) -> str:
    """Return `name` if it is known.

    Raises:
      ValueError: naming the nearest known name and all of them.

    Example:
      >>> choose("omniglot", "split", "vinyal", ("random", "vinyals"))
      Traceback (most recent call last):
      ValueError: omniglot: split='vinyal' is unknown; did you mean 'vinyals'? There are: random, vinyals.
    """
    known = sorted(known)
    if name in known:
        return name
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(
        f"{where}: {argument}={name!r} is unknown; {hint}There are: {', '.join(known)}."
    )
