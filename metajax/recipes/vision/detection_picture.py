"""What a detector finds in the scenes of a new task."""

from typing import Any

import jax
import numpy as np

from metajax.metrics.detection import STRIDE, detections
from metajax.recipes.vision.detect import Detected
from metajax.types import Params

_LEAST = 0.3
"""The least score of a box that is drawn."""


def picture(e: Any, meta_params: Params, seed: int = 3) -> Any:
    """Draws the exemplars of one test task, and the boxes that are found in its query scenes."""
    from metajax.recipes import plots  # loads matplotlib

    support, query = jax.jit(e.test)(jax.random.key(seed))
    adapted = jax.jit(e.learner.adapt)(meta_params, support, jax.random.key(0))
    maps = jax.jit(e.learner.predict)(adapted, query.x)
    found = detections(maps)
    heat = np.asarray(jax.nn.sigmoid(maps[..., 0]))
    scenes = [
        Detected(
            _colours(query.x[i]),
            np.asarray(found.corners[i])[kept],
            np.asarray(found.scores[i])[kept],
            heat[i],
            STRIDE,
        )
        for i, kept in enumerate(np.asarray(found.scores) >= _LEAST)
    ]
    wanted = [np.asarray(c)[np.asarray(m)] for c, m in zip(*query.y, strict=True)]
    exemplars = [
        (_colours(x), np.asarray(c)[np.asarray(m)])
        for x, c, m in zip(support.x, *support.y, strict=True)
    ]
    titles = [f"scene {i + 1}" for i in range(len(scenes))]
    return plots.detections(scenes, titles, exemplars=exemplars, wanted=wanted)


def _colours(x: jax.Array) -> np.ndarray:
    return np.repeat(np.rint(255 * np.asarray(x)).astype(np.uint8), 3, axis=-1)
