"""Names a user types: checked against those that exist, with the nearest one suggested."""

import difflib
from collections.abc import Iterable, Sequence


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


def neither(what: str, kinds: str, name: str, known: Sequence[str], more: str) -> ValueError:
    """The error for a name that is no known one, and no file or folder either.

    Args:
      what: The setting and its value, as the user wrote it.
      kinds: What it is neither of.
      name: The value.
      known: The names that there are.
      more: What may be given besides.

    Example:
      >>> print(neither("on='bcd'", "a data set nor a folder", "bcd", ["bccd"], "a folder"))
      on='bcd' is neither a data set nor a folder. Did you mean 'bccd'? There are: bccd. Or give a folder.
    """
    near = nearest(name, known)
    hint = f"Did you mean {near!r}? " if near else ""
    return ValueError(
        f"{what} is neither {kinds}. {hint}There are: {', '.join(known)}. Or give {more}."
    )
