"""The state of a run by outer step: one file a checkpoint, whole or not at all, readable in part."""

from pathlib import Path
from typing import Any

from metajax import archive
from metajax.train import saved

KEPT = 2
"""How many checkpoints stay: the newest, and the one before it in case the newest is lost."""


def save(folder: Path, step: int, state: Any) -> None:
    """Writes `state` as the checkpoint of `step`, and then removes all but the newest `KEPT`.

    Raises:
      OSError: If it cannot be written, for example because the disk is full; older ones stay.
    """
    before = latest(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part in folder.glob(f".*{archive.PART}"):  # a killed process left it
            part.unlink()
        saved.save(path_of(folder, step), state)
    except OSError as error:
        kept = "there is none yet" if before is None else f"that of step {before} is whole"
        raise OSError(
            f"{folder}: the checkpoint of step {step} could not be written, and {kept}. Make room "
            f"and resume. The system said: {error}"
        ) from error
    for old in sorted(_steps(folder))[:-KEPT]:
        path_of(folder, old).unlink()


def latest(folder: Path) -> int | None:
    """The newest step with a checkpoint, or None.

    Example:
      >>> latest(Path("no such folder")) is None
      True
    """
    return max(_steps(folder), default=None)


def restore(
    folder: Path, like: Any = None, step: int | None = None, part: str | None = None
) -> Any:
    """Reads a checkpoint.

    Args:
      folder: The folder that `save` wrote into.
      like: A tree of arrays or of `jax.ShapeDtypeStruct` whose structure is returned and whose leaves
        give names, shapes and dtypes. Without it, nested dicts by name are returned.
      step: Which checkpoint; the newest if None.
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
    step = latest(folder) if step is None else step
    if step is None or not path_of(folder, step).is_file():
        raise FileNotFoundError(
            f"{folder}: there is no checkpoint{'' if step is None else f' of step {step}'}. Was "
            "anything trained in this folder?"
        )
    parts = tuple(part.split("/")) if part else ()
    return saved.load_part(path_of(folder, step), like, parts, "mj.fit")


def path_of(folder: Path, step: int) -> Path:
    """The file of a checkpoint, which `mj.load` reads as well."""
    return folder / f"{step}.npz"


def _steps(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return [
        int(path.stem) for path in folder.iterdir() if path.suffix == ".npz" and path.stem.isdigit()
    ]
