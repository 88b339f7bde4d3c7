"""A trained optimiser in one file, and back as a plain optax transformation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metajax import archive, files
from metajax.names import choose
from metajax.optimizers.hyperparameters import hyperparameters, schedule
from metajax.optimizers.lstm import lstm
from metajax.optimizers.meta_lstm import meta_lstm
from metajax.optimizers.mlp import mlp
from metajax.trees import named_leaves
from metajax.types import LearnedOptimizer, Optimizer, Params

_FORMAT, _VERSION, _WRITER = "metajax learned optimizer", 1, "mj.optimizers.export"
_NAMED: dict[str, Callable[..., LearnedOptimizer]] = {
    "hyperparameters": hyperparameters,
    "schedule": schedule,
    "lstm": lstm,
    "meta_lstm": meta_lstm,
    "mlp": mlp,
}
_OF_OPTAX = frozenset(
    (
        *("adabelief", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamaxw", "adamw"),
        *(
            "adan",
            "amsgrad",
            "fromage",
            "lamb",
            "lars",
            "lbfgs",
            "lion",
            "nadam",
            "nadamw",
            "noisy_sgd",
        ),
        *("novograd", "optimistic_adam", "optimistic_adam_v2", "optimistic_gradient_descent"),
        *("polyak_sgd", "radam", "rmsprop", "rprop", "sgd", "sign_sgd", "signum", "sm3", "yogi"),
    )
)
"""The optimisers of optax that a file may name; it may not name anything else there."""


def export(path: str | Path, optimizer: LearnedOptimizer, weights: Params) -> None:
    """Writes an optimiser with its weights into one file, whole or not at all.

    The file is a NumPy `.npz` archive: a header in JSON and the arrays, nothing that is executed when
    it is read. Every bit of the weights is kept.

    Args:
      path: The file; what is there is replaced.
      optimizer: As it was trained.
      weights: Such as `state.meta_params.optimizer` after training `mj.learned(..., optimizer)`.

    Raises:
      ValueError: For weights of another optimiser, or settings that JSON does not hold.
      OSError: If the file cannot be written.

    Example:
      >>> import jax, tempfile, metajax as mj
      >>> optimizer = mj.optimizers.mlp(hidden=4)
      >>> weights = optimizer.init(jax.random.key(0))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     mj.optimizers.export(f"{folder}/mine.npz", optimizer, weights)
      ...     rule = mj.optimizers.load(f"{folder}/mine.npz")  # for optax.apply_updates, as any other
    """
    path = Path(path)
    leaves = named_leaves(weights, np.asarray)
    _check_fit("export: the weights", leaves, optimizer)
    name, settings = optimizer.recipe or (None, {})
    if isinstance(settings.get("make"), str) and settings["make"] not in _OF_OPTAX:
        name, settings = (
            None,
            {},
        )  # a part of optax that is no optimiser; `load` needs it as an argument
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "optimizer": name,
        "settings": settings,
        "weights": {n: [list(leaf.shape), leaf.dtype.name] for n, leaf in leaves.items()},
    }
    try:
        archive.write(path, header, {f"weights/{n}": leaf for n, leaf in leaves.items()})
    except TypeError as error:
        raise ValueError(
            f"export: the settings of {name!r} are {settings} and JSON does not hold them ({error}); "
            "give plain numbers, strings and lists."
        ) from error


def load(path: str | Path, optimizer: LearnedOptimizer | None = None) -> Optimizer:
    """Reads a file that `export` wrote, and returns an ordinary optax transformation.

    Args:
      path: The file.
      optimizer: One of your own, which no name in `mj.optimizers` stands for.

    Returns:
      The same updates as `optimizer.build(weights)` gave before.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: For a file that is damaged, is something else, has a newer version, or does not fit.

    Example:
      >>> import jax, jax.numpy as jnp, optax, tempfile, metajax as mj
      >>> sgd = mj.optimizers.hyperparameters(optax.sgd, positive={"learning_rate": 0.5})
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     mj.optimizers.export(f"{folder}/sgd.npz", sgd, sgd.init(jax.random.key(0)))
      ...     rule = mj.optimizers.load(f"{folder}/sgd.npz")
      >>> updates, _ = rule.update(jnp.ones(1), rule.init(jnp.zeros(1)), jnp.zeros(1))
      >>> updates.tolist()
      [-0.5]
    """
    found, weights = read(path, optimizer)
    return found.build(weights)


def read(
    path: str | Path, optimizer: LearnedOptimizer | None = None
) -> tuple[LearnedOptimizer, Params]:
    """Reads an optimiser and its weights, to train them further; otherwise as `load`.

    Example:
      >>> import jax, tempfile, metajax as mj
      >>> optimizer = mj.optimizers.schedule("sgd", num_steps=2, rate=1.0)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     mj.optimizers.export(f"{folder}/rates.npz", optimizer, optimizer.init(jax.random.key(0)))
      ...     again, weights = mj.optimizers.read(f"{folder}/rates.npz")
      >>> again.recipe[0], weights.tolist()  # logarithms
      ('schedule', [0.0, 0.0])
    """
    path = Path(path)
    header, leaves = _open(path)
    optimizer = optimizer or _made_again(path, header["optimizer"], header["settings"])
    _check_fit(str(path), leaves, optimizer)
    like = jax.eval_shape(optimizer.init, jax.random.key(0))
    ordered = [jnp.asarray(leaves[name]) for name in named_leaves(like, np.asarray)]
    return optimizer, jax.tree.unflatten(jax.tree.structure(like), ordered)


def _open(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header, and the arrays by name."""
    header = archive.read_header(path, _FORMAT, _VERSION, _WRITER)
    damaged = f"{path} is not a whole file that {_WRITER} wrote"
    try:
        described = {f"weights/{n}": (s, d) for n, (s, d) in header["weights"].items()}
        if not {"optimizer", "settings"} <= set(header) or not isinstance(header["settings"], dict):
            raise ValueError("settings are missing")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise files.DamagedError(f"{damaged} ({error}); export it again.") from error
    arrays = archive.read_arrays(path, described, _WRITER, header.get("sha256"))
    return header, {name.removeprefix("weights/"): array for name, array in arrays.items()}


def _made_again(path: Path, name: str | None, settings: dict[str, Any]) -> LearnedOptimizer:
    if name is None:
        raise ValueError(
            f"{path} holds the weights of an optimiser that has no name in mj.optimizers; give it: "
            "mj.optimizers.load(path, optimizer)."
        )
    make = _NAMED[choose(str(path), "optimizer", name, _NAMED)]
    if "make" in settings:
        choose(str(path), "make", settings["make"], _OF_OPTAX)
    try:
        return make(**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: {name} with the settings {settings} cannot be made ({error}); was it exported "
            "by another version of metajax?"
        ) from error


def _check_fit(where: str, leaves: dict[str, Any], optimizer: LearnedOptimizer) -> None:
    """Checks that arrays are the weights of an optimiser.

    Raises:
      ValueError: Naming the array that is not.
    """
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
