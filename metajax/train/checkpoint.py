"""A pytree of arrays to disk and back by orbax, each leaf checked by name, shape and dtype."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metajax.trees import named_leaves

KEPT = 2
"""How many checkpoints stay: the newest, and the one before it in case the newest is lost."""


def save(folder: Path, step: int, tree: Any) -> None:
    """Write `tree` as the checkpoint of `step`: whole or not at all, and the older one survives.

    Raises:
      OSError: when it could not be written, for example because the disk is full.
    """
    with _manager(folder) as (manager, args):
        try:
            manager.save(step, args=args.StandardSave(named_leaves(tree, jnp.asarray)))
        except (OSError, ValueError, RuntimeError) as error:
            last = latest(folder)
            kept = f"that of step {last} is whole" if last is not None else "there is none yet"
            raise OSError(
                f"{folder}: the checkpoint of step {step} could not be written, and {kept}. Make "
                f"room and resume. The system said: {str(error).splitlines()[0][-200:]}"
            ) from error


def latest(folder: Path) -> int | None:
    """The newest step that was written whole, or None."""
    if not folder.is_dir():
        return None
    return max((int(path.name) for path in folder.iterdir() if path.name.isdigit()), default=None)


def restore(
    folder: Path, like: Any, step: int | None = None, *, leave_out: str | None = None
) -> Any:
    """Read a checkpoint into the tree of `like`, whose leaves give names, shapes and dtypes.

    Args:
      folder: where `save` wrote.
      like: a tree of arrays or of `jax.ShapeDtypeStruct`.
      step: which one; the newest if None.
      leave_out: the name of a part that may be on disk and is not in `like`.

    Raises:
      FileNotFoundError: when there is none.
      ValueError: when a leaf is missing, is too many, or has another shape or dtype.
    """
    step = latest(folder) if step is None else step
    if step is None or not (folder / str(step)).is_dir():
        raise FileNotFoundError(
            f"{folder}: there is no checkpoint{'' if step is None else f' of step {step}'} here; "
            "was anything trained in this folder?"
        )
    # To this machine's device, whichever and however many it was written on.
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    wanted = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here)
        for name, leaf in named_leaves(like, jnp.asarray).items()
    }
    with _manager(folder) as (manager, args):
        tree = manager.item_metadata(step)
        if tree is None:
            raise ValueError(f"{folder / str(step)} is not a checkpoint that metajax wrote.")
        found = {name: (tuple(leaf.shape), str(leaf.dtype)) for name, leaf in tree.tree.items()}
        spare = {
            name: jax.ShapeDtypeStruct(shape, dtype, sharding=here)
            for name, (shape, dtype) in found.items()
            if leave_out and name.startswith(leave_out) and name not in wanted
        }
        _compare(folder / str(step), found, wanted | spare)
        leaves = manager.restore(step, args=args.StandardRestore(wanted | spare))
    # By way of the host, which binds them to no device: what reads them may spread over all.
    arrays = [jnp.asarray(np.asarray(leaves[name])) for name in wanted]
    return jax.tree.unflatten(jax.tree.structure(like), arrays)


def _compare(path: Path, found: dict[str, tuple], wanted: dict[str, jax.ShapeDtypeStruct]) -> None:
    question = "was this run made with another way, model or learner?"
    for name, leaf in wanted.items():
        if name not in found:
            raise ValueError(
                f"{path}: {name} {leaf.shape} is not on disk and needed here; {question}"
            )
        shape, dtype = found[name]
        if (shape, dtype) != (tuple(leaf.shape), str(leaf.dtype)):
            raise ValueError(
                f"{path}: {name} is {shape} {dtype} on disk and {tuple(leaf.shape)} {leaf.dtype} "
                f"here; {question}"
            )
    spare = sorted(set(found) - set(wanted))
    if spare:
        raise ValueError(f"{path}: {', '.join(spare[:3])} on disk and unknown here; {question}")


@contextlib.contextmanager
def _manager(folder: Path) -> Iterator[tuple[Any, Any]]:
    import orbax.checkpoint as ocp  # takes a second to load

    options = ocp.CheckpointManagerOptions(
        max_to_keep=KEPT, enable_async_checkpointing=False, cleanup_tmp_directories=True
    )
    log, level = logging.getLogger("absl"), logging.getLogger("absl").level
    log.setLevel(logging.CRITICAL)  # what fails is raised, in our own words
    try:
        with ocp.CheckpointManager(
            folder.absolute(), options=options, item_handlers=ocp.StandardCheckpointHandler()
        ) as manager:
            yield manager, ocp.args
    finally:
        log.setLevel(level)
