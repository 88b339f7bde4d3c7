"""A trained optimiser in one file, and back as a plain optax transformation."""

import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metajax import optimizers
from metajax.names import choose
from metajax.trees import named_leaves
from metajax.types import LearnedOptimizer, Optimizer, Params

_FORMAT, _VERSION = "metajax learned optimizer", 1
_NAMED: dict[str, Callable[..., LearnedOptimizer]] = {
    "hyperparameters": optimizers.hyperparameters,
    "schedule": optimizers.schedule,
    "lstm": optimizers.lstm,
    "meta_lstm": optimizers.meta_lstm,
    "mlp": optimizers.mlp,
}


def export(path: str | Path, optimizer: LearnedOptimizer, weights: Params) -> None:
    """Write an optimiser with its weights into one file, whole or not at all.

    The file is a NumPy `.npz` archive: a header in JSON and the arrays, nothing that is executed when
    it is read. Every bit of the weights is kept.

    Args:
      path: of the file; what is there is replaced.
      optimizer: as it was trained.
      weights: such as `state.meta_params.optimizer` after training `mj.learned(..., optimizer)`.

    Raises:
      ValueError: for weights of another optimiser, or settings that JSON does not hold.
      OSError: when the file cannot be written.

    Example:
      >>> import jax, tempfile, metajax as mj
      >>> optimizer = mj.optimizers.mlp(hidden=4)
      >>> weights = optimizer.init(jax.random.key(0))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     mj.export(f"{folder}/mine.npz", optimizer, weights)
      ...     rule = mj.load(f"{folder}/mine.npz")  # for optax.apply_updates, as any other
    """
    path = Path(path)
    leaves = named_leaves(weights, np.asarray)
    _see_that_it_fits("export: the weights", leaves, optimizer)
    name, settings = optimizer.recipe or (None, {})
    described = {n: [list(leaf.shape), leaf.dtype.name] for n, leaf in leaves.items()}
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "optimizer": name,
        "settings": settings,
        "weights": described,
    }
    try:
        text = json.dumps(header)
    except TypeError as error:
        raise ValueError(
            f"export: the settings of {name!r} are {settings} and JSON does not hold them ({error}); "
            "give plain numbers, strings and lists."
        ) from error
    # NumPy's format knows its own types; bfloat16 goes as the integers it is made of.
    arrays: dict[str, Any] = {f"weights/{n}": _plain(leaf) for n, leaf in leaves.items()}
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
        try:
            np.savez(file, **arrays, header=np.array(text))
        except BaseException:
            Path(file.name).unlink()
            raise
    Path(file.name).replace(path)


def load(path: str | Path, optimizer: LearnedOptimizer | None = None) -> Optimizer:
    """The optimiser in a file that `export` wrote, as an ordinary optax transformation.

    Args:
      path: of the file.
      optimizer: for one of your own, which no name in `mj.optimizers` stands for.

    Returns:
      The same updates as `optimizer.build(weights)` gave before.

    Raises:
      FileNotFoundError: when there is no file.
      ValueError: for a file that is damaged, something else, of a newer version, or does not fit.

    Example:
      >>> import jax, jax.numpy as jnp, optax, tempfile, metajax as mj
      >>> sgd = mj.optimizers.hyperparameters(optax.sgd, positive={"learning_rate": 0.5})
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     mj.export(f"{folder}/sgd.npz", sgd, sgd.init(jax.random.key(0)))
      ...     rule = mj.load(f"{folder}/sgd.npz")
      >>> updates, _ = rule.update(jnp.ones(1), rule.init(jnp.zeros(1)), jnp.zeros(1))
      >>> updates.tolist()
      [-0.5]
    """
    found, weights = read(path, optimizer)
    return found.build(weights)


def read(
    path: str | Path, optimizer: LearnedOptimizer | None = None
) -> tuple[LearnedOptimizer, Params]:
    """The optimiser in a file and its weights, to train them further; otherwise as `load`."""
    path = Path(path)
    header, leaves = _open(path)
    optimizer = optimizer or _made_again(path, header["optimizer"], header["settings"])
    _see_that_it_fits(str(path), leaves, optimizer)
    like = jax.eval_shape(optimizer.init, jax.random.key(0))
    ordered = [jnp.asarray(leaves[name]) for name in named_leaves(like, np.asarray)]
    return optimizer, jax.tree.unflatten(jax.tree.structure(like), ordered)


def _open(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays by name, every byte of them checked by the archive's checksums."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file; give one that mj.export wrote.")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(str(arrays.pop("header")))
        if header["format"] != _FORMAT:
            raise ValueError(f"its format is {header['format']!r}")
        version = int(header["version"])
        leaves = {}
        for name, (shape, dtype) in header["weights"].items() if version <= _VERSION else ():
            leaves[name] = arrays[f"weights/{name}"].view(jnp.dtype(dtype))
            if leaves[name].shape != tuple(shape):
                raise ValueError(f"{name} is {leaves[name].shape} and its header says {shape}")
    except (zipfile.BadZipFile, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is {path.stat().st_size:,} bytes and not a whole file that mj.export wrote "
            f"({type(error).__name__}: {error}); export it again."
        ) from error
    if version > _VERSION:
        raise ValueError(
            f"{path} is of version {version} and this metajax reads up to {_VERSION}; upgrade metajax."
        )
    return header, leaves


def _made_again(path: Path, name: str | None, settings: dict[str, Any]) -> LearnedOptimizer:
    if name is None:
        raise ValueError(
            f"{path} holds the weights of an optimiser that has no name in mj.optimizers; give it: "
            "mj.load(path, optimizer)."
        )
    make = _NAMED[choose(str(path), "optimizer", name, _NAMED)]
    try:
        return make(**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: {name} with the settings {settings} cannot be made ({error}); was it exported "
            "by another version of metajax?"
        ) from error


def _see_that_it_fits(where: str, leaves: dict[str, Any], optimizer: LearnedOptimizer) -> None:
    name = optimizer.recipe[0] if optimizer.recipe else "this optimiser"
    wanted = named_leaves(jax.eval_shape(optimizer.init, jax.random.key(0)), np.asarray)
    for key in [*wanted, *leaves]:
        found, needed = (side[key].shape if key in side else "absent" for side in (leaves, wanted))
        if found != needed:
            raise ValueError(
                f"{where}: {key or 'the array'} is {found} and {name} needs it {needed}; was it "
                "trained with other settings?"
            )
    for key, leaf in leaves.items():
        if jax.dtypes.canonicalize_dtype(leaf.dtype) != leaf.dtype:
            raise ValueError(
                f"{where}: {key or 'the array'} is {leaf.dtype}, which JAX would round here; set "
                'jax.config.update("jax_enable_x64", True).'
            )


def _plain(leaf: np.ndarray) -> np.ndarray:
    return leaf if leaf.dtype.isbuiltin == 1 else leaf.view(f"u{leaf.dtype.itemsize}")
