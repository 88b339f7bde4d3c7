"""Directions in which the classes of training differ more than the sentences of one class."""

from collections.abc import Iterable

import numpy as np


def discriminants(rows: Iterable[np.ndarray], classes: np.ndarray, width: int) -> np.ndarray:
    """Returns Fisher's discriminants with a diagonal within-class covariance, `(d, width)`.

    Features are divided by their deviation within a class, and the singular vectors of the class means,
    centred, are taken. A covariance of all pairs of features would not be known from as few sentences as
    these; the deviations are shrunk half of the way to their mean square.

    Args:
      rows: Features of the sentences in order, in parts `(n, d)`.
      classes: The class of each sentence, `(n,)` integers from 0.
      width: The number of directions. Beyond one less than the number of classes they are 0.

    Example:
      >>> x = np.array([[1.0, 0.0], [1.2, 1.0], [-1.0, 0.0], [-1.2, 1.0]])
      >>> classes = np.array([0, 0, 1, 1])
      >>> directions = discriminants([x], classes, 2)  # the first feature tells, the second does not
      >>> (abs(directions) > 1e-6).tolist()
      [[True, False], [False, False]]

    Reference:
      Fisher, Annals of Eugenics 7, 1936; with a diagonal covariance, Dudoit, Fridlyand and Speed, JASA 97,
      2002, section 2.
    """
    number = np.bincount(classes)[:, None]
    sums = squares = np.zeros(())
    done = 0
    for part in rows:
        member = np.zeros((len(number), len(part)), np.float32)
        member[classes[done : done + len(part)], np.arange(len(part))] = 1
        sums = sums + (member @ part).astype(np.float64)
        squares = squares + np.sum(part.astype(np.float64) ** 2, axis=0)
        done += len(part)
    means = sums / number
    within = (squares - np.sum(number * means**2, axis=0)) / done
    scale = 1 / np.sqrt(within / 2 + within.mean() / 2 + 1e-12)
    _, _, directions = np.linalg.svd((means - means.mean(axis=0)) * scale, full_matrices=False)
    known = min(width, len(means) - 1)
    found = np.zeros((len(scale), width), np.float32)
    found[:, :known] = (directions[:known] * scale).T
    return found


def scaled(directions: np.ndarray, rows: Iterable[np.ndarray]) -> np.ndarray:
    """Returns directions by which the features of these rows have a root mean square length of 1.

    Args:
      directions: `(d, width)`.
      rows: Features of sentences, in parts `(n, d)`.

    Example:
      >>> scaled(np.array([[2.0], [0.0]]), [np.array([[1.0, 5.0]]), np.array([[-1.0, 5.0]])]).tolist()
      [[1.0], [0.0]]
    """
    squares = np.concatenate([np.sum((part @ directions) ** 2, axis=1) for part in rows])
    return directions / max(np.sqrt(squares.mean()), 1e-12)
