"""Episodes of any pictures: a folder of class folders, a published data set, or arrays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metajax import checks
from metajax.data import folder
from metajax.data.resize import resized
from metajax.data.store import Ink, Pictures
from metajax.names import choose
from metajax.tasks.episodes import Labels, Transform, episodes
from metajax.tasks.scaled import Scaled, chain
from metajax.types import Sample

AGREE = 0.9
"""The share of pictures that must agree for the polarity of ink to be known."""


def images(
    pictures: str | Path | Pictures | Sequence[np.ndarray],
    *,
    way: int,
    shot: int,
    query_shot: int,
    size: int = 28,
    channels: int = 1,
    mean: float | Sequence[float] = 0.0,
    deviation: float | Sequence[float] = 1.0,
    ink: Ink | None = None,
    transform: Transform | None = None,
    query_labels: Labels = "episode",
    name: str = "images",
) -> Sample:
    """Episodes of pictures, preprocessed as a trained learner expects them; reads files now.

    Pictures that are not square are cropped to the square in their centre, and resized with
    antialiasing. They stay on the device as uint8 and are scaled inside `jit`.

    Args:
      pictures: A folder with one folder of picture files per class; a `Pictures`, such as
        `metajax.data.DATASETS["mnist"].pictures(None)`; or one array per class,
        `(n, height, width)` or `(n, height, width, channels)`, uint8 or floats in [0, 1].
      way: The number of classes in an episode.
      shot: The number of support pictures per class.
      query_shot: The number of query pictures per class.
      size: The side of a picture in pixels.
      channels: 1 for grey (the luminance of colours), 3 for colours.
      mean: Subtracted from pictures in [0, 1]; one number, or one per channel.
      deviation: Divides them then; one number, or one per channel.
      ink: The polarity of drawings that a learner was trained on; pictures of the other polarity
        are inverted. None leaves them as they are. If the polarity of `pictures` is not known, it is
        estimated: ink is dark if the outermost pixels are brighter than the whole in 90 % of the
        pictures, and bright if they are darker in 90 %.
      transform: As in `episodes`, on scaled pictures `(shot + query_shot, size, size, channels)`.
      query_labels: As in `episodes`.
      name: The first word of error messages.

    Returns:
      `sample(key) -> Task` of pictures `(way * shot, size, size, channels)`, and labels.

    Raises:
      FileNotFoundError, PermissionError: If a folder is missing or may not be read.
      ValueError: For more classes or pictures than there are, for files or arrays that are no
        pictures, and for a polarity that is needed but not clear.

    Example:
      >>> import jax, numpy as np, metajax as mj
      >>> dark, light = np.zeros((3, 9, 9), np.uint8), np.full((4, 6, 8), 255, np.uint8)
      >>> sample = mj.tasks.images([dark, light], way=2, shot=1, query_shot=1, size=4, mean=0.5)
      >>> sorted(sample(jax.random.key(0)).support.x[:, 0, 0, 0].tolist())
      [-0.5, 0.5]
    """
    size = checks.count(name, "size", size)
    folder.check_channels(name, channels)
    scale = _scale(name, mean, deviation, channels)
    if ink is not None:
        choose(name, "ink", ink, ("bright", "dark"))
    if isinstance(pictures, str | Path):
        pictures = folder.read(pictures, size=size, channels=channels)
    elif not isinstance(pictures, Pictures):
        pictures = Pictures([_array(name, i, of_class) for i, of_class in enumerate(pictures)], [])
        if not pictures.classes:
            raise ValueError(f"{name}: there is no class. Give one array of pictures per class.")
    _check_enough(name, pictures, checks.count(name, "shot", shot), query_shot)
    classes = [resized(of_class, size, channels) for of_class in pictures.classes]
    if ink is not None and ink != (pictures.ink or polarity(classes, name)):
        classes = [(255 if own.dtype == np.uint8 else 1) - own for own in classes]
    return episodes(
        classes,
        way=way,
        shot=shot,
        query_shot=query_shot,
        transform=scale if transform is None else chain(scale, transform),
        query_labels=query_labels,
        name=name,
    )


def polarity(classes: Sequence[np.ndarray], name: str = "polarity") -> Ink:
    """Returns the polarity of drawings, from whether their outermost pixels are brighter than the whole.

    Args:
      classes: Arrays `(n, height, width, channels)`.
      name: The first word of the error message.

    Raises:
      ValueError: If fewer than 90 % of the pictures agree.

    Example:
      >>> cross = np.zeros((1, 3, 3, 1)); cross[:, 1, 1] = 1
      >>> polarity([cross]), polarity([1 - cross])
      ('bright', 'dark')
    """
    brighter = np.concatenate([_border(own) - own.mean(axis=(1, 2, 3)) for own in classes])
    if np.mean(brighter > 0) >= AGREE:
        return "dark"
    if np.mean(brighter < 0) >= AGREE:
        return "bright"
    raise ValueError(
        f"{name}: ink is needed bright or dark, but the border is brighter than the whole in "
        f"{np.mean(brighter > 0):.0%} of the pictures, and at least {AGREE:.0%} must agree. Give the "
        'polarity as Pictures(..., ink="bright") or "dark", or leave the pictures as they are: ink=None, or '
        "--ink any on the command line."
    )


def _border(pictures: np.ndarray) -> np.ndarray:
    grey = pictures.mean(axis=-1)
    rim = np.concatenate([grey[:, 0], grey[:, -1], grey[:, 1:-1, 0], grey[:, 1:-1, -1]], axis=1)
    return rim.mean(axis=1)


def _check_enough(name: str, pictures: Pictures, shot: int, query_shot: int) -> None:
    """Checks that the smallest class has enough pictures, where classes have names."""
    needed = shot + checks.count(name, "query_shot", query_shot)
    numbers = [len(own) for own in pictures.classes]
    if not pictures.names or min(numbers) >= needed:
        return
    fewest = int(np.argmin(numbers))
    short = sum(number < needed for number in numbers)
    others = f", the fewest of {short} classes with too few" if short > 1 else ""
    raise ValueError(
        f"{name}: shot={shot} and query_shot={query_shot} need {needed} pictures of each class, but "
        f"{pictures.names[fewest]} has {numbers[fewest]}{others}. Use fewer, or add pictures."
    )


def _scale(name: str, mean: Any, deviation: Any, channels: int) -> Scaled:
    numbers = {}
    for argument, value in {"mean": mean, "deviation": deviation}.items():
        try:
            found = tuple(np.ravel(np.asarray(value, float)).tolist())
        except (TypeError, ValueError):
            found = ()
        if len(found) not in (1, channels) or not np.all(np.isfinite(found)):
            raise ValueError(
                f"{name}: {argument}={value!r} must be one number, or {channels}, one per channel."
            )
        numbers[argument] = found
    for number in numbers["deviation"]:
        checks.positive(name, "deviation", number)
    none = {"mean": {0.0}, "deviation": {1.0}}
    return Scaled(**{key: None if {*own} == none[key] else own for key, own in numbers.items()})


def _array(name: str, i: int, of_class: Any) -> np.ndarray:
    """The pictures of class `i` as `(n, height, width, channels)`."""
    found = np.asarray(of_class)
    found = found[..., None] if found.ndim == 3 else found
    if found.ndim != 4 or found.shape[-1] not in (1, 3) or 0 in found.shape:
        raise ValueError(
            f"{name}: class {i} has shape {np.shape(of_class)}, but (n, height, width) or (n, height, width, "
            "channels) with 1 or 3 channels is needed. Give one array per class."
        )
    if found.dtype == np.uint8:
        return found
    if found.dtype.kind != "f" or not (found.min() >= 0 and found.max() <= 1):
        raise ValueError(
            f"{name}: class {i} is {found.dtype} from {found.min()} to {found.max()}; give uint8, or floats "
            "in [0, 1]."
        )
    return found.astype(np.float32)
