"""Frozen vectors of sentences: any callable, whose results are kept on disk."""

import contextlib
import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from metajax import files
from metajax.data import store

_COMPARED = 8
"""Sentences whose vectors are computed anew, to see whether kept ones still hold."""
Vectors = Callable[[Sequence[str]], np.ndarray]
"""Sentences to vectors `(n, d)`."""


def vectors_of(name: str) -> Vectors:
    """Returns a callable by its name.

    Args:
      name: "wordllama", whose weights are in its package, or "module:function" of your own.

    Raises:
      ModuleNotFoundError: If it is not installed.
      ValueError: For a name of another form, or a function that does not exist.
    """
    if name == "wordllama":
        return _wordllama()
    module, colon, function = name.partition(":")
    if not colon:
        raise ValueError(
            f"vectors={name!r} is neither 'wordllama' nor 'module:function', such as 'mine:embed'."
        )
    try:
        with _from_here():
            found: Any = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        inside = error.name is not None and not f"{module}.".startswith(f"{error.name}.")
        raise ModuleNotFoundError(
            f"vectors={name!r}: module {module!r} needs {error.name!r}, which is not installed; install it."
            if inside
            else f"vectors={name!r}: there is no module {module!r}; install it, or run where it is."
        ) from error
    except AttributeError as error:
        raise ValueError(f"vectors={name!r}: module {module!r} has no {function!r}.") from error
    if not callable(found):
        raise ValueError(f"vectors={name!r}: {function!r} of module {module!r} is no function.")
    return cast(Vectors, found)


@contextlib.contextmanager
def _from_here() -> Iterator[None]:
    """Lets modules of the current folder be imported, which a console script does not look in."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _wordllama() -> Vectors:
    try:
        wordllama: Any = importlib.import_module("wordllama")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "vectors='wordllama' needs it; install it with pip install 'metajax[language]'."
        ) from error
    # Weights and tokenizer are in the package, which looks for the latter in another of its folders.
    folder = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    return lambda texts: np.asarray(model.embed(list(texts)))


def kept(
    name: str, vectors: Vectors, texts: Sequence[str], folder: Path | None = None
) -> np.ndarray:
    """Returns the vectors of sentences, computed once and kept in the user cache.

    Some are computed anew each time: where they differ, because the callable has changed, all are.

    Args:
      name: Of the callable, as part of the file's name.
      vectors: The callable.
      texts: The sentences.
      folder: Of the files; by default `vectors` in the user cache.

    Raises:
      ValueError: For vectors of another shape than `(n, d)`, or that are not finite, naming a sentence.
    """
    digest = hashlib.sha256("\0".join([name, *texts]).encode()).hexdigest()[:16]
    folder = store.cache_dir() / "vectors" if folder is None else folder
    path = folder / f"{name.replace(':', '-').replace('/', '-')}-{digest}.npy"
    if files.is_regular(path):
        with contextlib.suppress(OSError, ValueError, EOFError):  # a damaged file is computed again
            before = np.load(path, allow_pickle=False)
            if _as_before(name, vectors, texts, before):
                return before
    found = _computed(name, vectors, texts)
    folder.mkdir(parents=True, exist_ok=True)
    with files.whole(path) as file:
        np.save(file, found)
    return found


def _as_before(name: str, vectors: Vectors, texts: Sequence[str], before: np.ndarray) -> bool:
    """Whether some of the texts have the vectors that were kept."""
    if before.ndim != 2 or len(before) != len(texts):
        return False
    places = np.unique(np.linspace(0, len(texts) - 1, _COMPARED).astype(int)).tolist()
    anew = _computed(name, vectors, [str(texts[int(i)]) for i in places])
    same_width = anew.shape[1] == before.shape[1]
    return same_width and np.allclose(anew, before[places], rtol=0, atol=1e-2 * np.abs(anew).max())


def _computed(name: str, vectors: Vectors, texts: Sequence[str]) -> np.ndarray:
    found = np.asarray(vectors(list(texts)), np.float32)
    if found.ndim != 2 or len(found) != len(texts):
        raise ValueError(
            f"vectors={name!r} returns shape {found.shape} for {len(texts)} sentences; it must return (n, d)."
        )
    wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(wrong):
        raise ValueError(
            f"vectors={name!r} returns nan or infinity for {len(wrong)} sentence(s), the first of them "
            f"{texts[wrong[0]][:60]!r}."
        )
    return found
