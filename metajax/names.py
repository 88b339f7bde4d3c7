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
    near = nearest(str(name), known)
    hint = f"; did you mean {near!r}?" if near else "."
    raise ValueError(
        f"{where}: {argument}={name!r} is unknown{hint} There are: {', '.join(known)}."
    )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, if any is.

    Example:
      >>> nearest("protonets", ("maml", "protonet"))
      'protonet'
    """
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1)), None)
