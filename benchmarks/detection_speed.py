"""How long an outer step of the detector takes: compiling, composing scenes, and the step itself.

python benchmarks/detection_speed.py    writes results/detection_speed.json; needs no data
"""

import json
import resource
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import record

import metajax as mj
from metajax import recipes
from metajax.cpu import prepare_cpu
from metajax.recipes.run import estimator_of
from metajax.recipes.vision.detection import Detection

RESULT = "detection_speed"
TURNS, STEPS_A_TURN = 5, 3


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes until all that it returns is there."""
    begun = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - begun


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def quartiles(times: list[float]) -> list[float]:
    return np.quantile(times, [0.25, 0.5, 0.75]).tolist()


def main() -> None:
    prepare_cpu()
    settings = Detection()
    e = recipes.build(settings)
    mesh = mj.task_mesh(settings.meta_batch)
    estimator = estimator_of(e, settings.meta_batch, mesh)
    init, update = mj.outer_step(e.objective, e.optimizer, estimator)
    draw = jax.jit(lambda key: mj.tasks.batch(e.train, key, settings.meta_batch))
    keys = list(jax.random.split(jax.random.key(0), TURNS + 1))
    first = seconds(lambda: draw(keys[0]))
    drawing = [seconds(lambda key=key: draw(key)) for key in keys]
    tasks = draw(keys[0])
    x = jax.tree.map(lambda leaf: leaf[0], tasks.support.x)
    state = init(e.learner.init(jax.random.key(1), x))
    before = peak_mb()

    def step() -> Any:
        nonlocal state
        state, out = update(state, tasks, jax.random.key(2))
        return out

    compiling = seconds(step)
    turns = [np.mean([seconds(step) for _ in range(STEPS_A_TURN)]).item() for _ in range(TURNS)]
    scenes = sum(
        int(np.prod(jax.tree.leaves(part.x)[0].shape[:2])) for part in (tasks.support, tasks.query)
    )
    found = {
        "scenes": scenes,
        "tasks": settings.meta_batch,
        "devices": mesh.size,
        "first_draw_s": first,
        "draw_s": quartiles(drawing),
        "first_step_s": compiling,
        "step_s": quartiles(turns),
        "scenes_a_second": scenes / float(np.median(turns)),
        "peak_mb": peak_mb(),
        "peak_mb_before": before,
    }
    record.write(RESULT, {**found, "settings": recipes.to_json(settings), **record.context()})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
