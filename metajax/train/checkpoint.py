"""The state of a run by outer step: one file a checkpoint, whole or not at all, readable in part."""

import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from metajax import files
from metajax.train import saved

KEPT = 2
"""How many checkpoints stay: the newest, and the one before it in case the newest is lost."""

ASIDE = ".damaged"
"""How the name of a damaged checkpoint ends after a run was resumed from the one before it."""


class Restored(NamedTuple):
    """The newest whole checkpoint.

    step: Its outer step.
    tree: What was read of it.
    damaged: A sentence on each newer one that is not whole, by its step.
    """

    step: int
    tree: Any
    damaged: dict[int, str]


def save(folder: Path, step: int, state: Any) -> None:
    """Writes `state` as the checkpoint of `step`, and then removes all but the newest `KEPT`.

    Raises:
      OSError: If it cannot be written, for example because the disk is full; older ones stay.
    """
    before = latest(folder)
    try:
        folder.mkdir(exist_ok=True)
        for part in folder.glob(f".*{files.PART}"):  # a killed process left it
            part.unlink()
        saved.save(path_of(folder, step), state)
    except OSError as error:
        kept = "there is none yet" if before is None else f"that of step {before} is whole"
        raise OSError(
            f"{folder}: the checkpoint of step {step} could not be written, and {kept}. Make room "
            f"and resume. The system said: {error}"
        ) from error
    for old in steps(folder)[KEPT:]:
        path_of(folder, old).unlink(missing_ok=True)


def latest(folder: Path) -> int | None:
    """The newest step with a checkpoint, or None.

    Example:
      >>> latest(Path("no such folder")) is None
      True
    """
    return max(steps(folder), default=None)


def restore(
    folder: Path, like: Any = None, step: int | None = None, part: str | None = None
) -> Any:
    """Reads a checkpoint.

    Args:
      folder: The folder that `save` wrote into.
      like: A tree of arrays or of `jax.ShapeDtypeStruct` whose structure is returned and whose leaves
        give names, shapes and dtypes. Without it, nested dicts by name are returned.
      step: Which checkpoint; None for the newest that is whole, with a warning that names those which
        are not.
      part: The name of a part, such as "meta_params", whose tree `like` then is; nothing else is read.

    Raises:
      FileNotFoundError: If there is no such checkpoint.
      ValueError: If it is damaged or does not fit `like`.

    Example:
      >>> import tempfile, jax.numpy as jnp
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save(Path(folder), 3, {"meta_params": {"w": jnp.ones(2)}, "step": jnp.array(3)})
      ...     restore(Path(folder), part="meta_params")["w"].tolist()
      [1.0, 1.0]
    """
    if step is not None:
        return _read(folder, step, like, part)
    found = newest(folder, like, part)
    for sentence in found.damaged.values():
        warnings.warn(f"{sentence} Step {found.step} is read in its place.", stacklevel=2)
    return found.tree


def newest(folder: Path, like: Any = None, part: str | None = None) -> Restored:
    """Reads the newest checkpoint that is whole; `like` and `part` as in `restore`.

    Raises:
      FileNotFoundError: If there is no checkpoint.
      DamagedError: If none is whole.
      ValueError: If one does not fit `like`.
    """
    damaged: dict[int, str] = {}
    for step in steps(folder):
        try:
            return Restored(step, _read(folder, step, like, part), damaged)
        except (files.DamagedError, FileNotFoundError) as error:
            damaged[step] = str(error)
    if not damaged:
        return _read(folder, None, like, part)
    raise files.DamagedError(
        f"{folder}: no checkpoint is whole. {' '.join(damaged.values())} Move them elsewhere to start the "
        "run anew."
    )


def _read(folder: Path, step: int | None, like: Any, part: str | None) -> Any:
    path = folder if step is None else path_of(folder, step)
    if step is None or not path.exists():
        raise FileNotFoundError(
            f"{folder}: there is no checkpoint{'' if step is None else f' of step {step}'}. Was "
            "anything trained in this folder?"
        )
    if not files.is_regular(path):
        raise files.DamagedError(f"{path} is not a regular file.")
    parts = tuple(part.split("/")) if part else ()
    return saved.load_part(path, like, parts, "mj.fit")


def set_aside(folder: Path, step: int) -> Path:
    """Renames a damaged checkpoint, so that it counts no more and is not lost; returns its new path."""
    path = path_of(folder, step)
    return path.rename(path.with_name(path.name + ASIDE))


def path_of(folder: Path, step: int) -> Path:
    """The file of a checkpoint, which `mj.load` reads as well."""
    return folder / f"{step}.npz"


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint, the newest first."""
    if not folder.is_dir():
        return []
    named = [re.fullmatch(r"([0-9]{1,18})\.npz", path.name) for path in folder.iterdir()]
    return sorted((int(match[1]) for match in named if match), reverse=True)
