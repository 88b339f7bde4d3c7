"""How time and memory of an outer step grow: with the meta-batch, inner steps, way and width.

Run by `python benchmarks/speed/speed.py --scaling`; writes results/scaling_PLATFORM.json. Memory
is what XLA reserves for temporaries of the compiled step on one device.
"""

import time
from dataclasses import replace

import numpy as np
import record
from nets.tuned import jax_apply
from rows.speed import CURVES, TUNED, Workload
from workloads import arrays

REPEATS = 5
SMALL = replace(TUNED["B"], channels=(1, 16, 16, 16, 16), meta_batch=4)
ADJOINTS = ("unrolled", "remat", "mixed_mode", "truncated", "first_order")


def workload(curve: str, value: int) -> Workload:
    """The point of a curve; everything else as in workload B, or as in a narrower one."""
    if curve == "meta_batch":
        return replace(TUNED["B"], meta_batch=value)
    if curve == "num_steps":
        return replace(SMALL, num_steps=value, rate=0.01)
    if curve == "way":
        return replace(TUNED["B"], outputs=value, support=value, query=value, meta_batch=4)
    return replace(TUNED["B"], channels=(1, *(4 * [value])), meta_batch=4)


def measure(w: Workload, adjoint: str, in_one_pass: bool = False) -> dict:
    """Seconds of a hypergradient, and megabytes of its temporaries."""
    import jax
    import jax.numpy as jnp
    import optax

    import metajax as mj

    data = arrays(w)
    model = mj.Model(lambda key, x: data.weights, jax_apply(w))
    chosen = mj.truncated(2) if adjoint == "truncated" else getattr(mj, adjoint)
    learner = mj.maml(model, mj.cross_entropy, optax.sgd(w.rate), w.num_steps, adjoint=chosen)
    objective = mj.query_loss(learner, mj.cross_entropy)
    mesh = mj.task_mesh(w.meta_batch)
    estimator = jax.value_and_grad if in_one_pass else mj.parallel(w.meta_batch, mesh=mesh)
    sx, sy, qx, qy = (jnp.asarray(a) for a in data.tasks)
    tasks = mj.Task(mj.Examples(sx, sy), mj.Examples(qx, qy))
    weights = jax.tree.map(jnp.asarray, data.weights)
    init, estimate = mj.lift(estimator)(objective)
    arguments = (weights, init(weights, tasks, jax.random.key(0)), tasks, jax.random.key(0))
    lowered = jax.jit(estimate).lower(*arguments)
    started = time.perf_counter()
    step = lowered.compile()
    compile_s = time.perf_counter() - started
    jax.block_until_ready(step(*arguments))
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        jax.block_until_ready(step(*arguments))
        seconds.append(time.perf_counter() - started)
    memory = step.memory_analysis()
    return {
        "seconds": np.quantile(seconds, [0.25, 0.5, 0.75]).tolist(),
        "temporaries_mb": memory.temp_size_in_bytes / 1e6 if memory else None,
        "compile_s": compile_s,
    }


def run() -> None:
    """Measures every point."""
    from metajax.cpu import prepare_cpu

    prepare_cpu()
    result = {**record.context(), "curves": {}}
    name = f"scaling_{result['machine']['platform']}"
    for curve, values in CURVES.items():
        lines = ADJOINTS if curve == "num_steps" else ("unrolled", "unrolled, in one pass")
        lines = lines[:1] if curve in ("way", "width") else lines
        for line in lines:
            points = []
            for value in values:
                if "one pass" in line and value > 64:
                    break  # memory grows with the meta-batch, which is the point
                adjoint = line.partition(",")[0]
                points.append(
                    {"value": value, **measure(workload(curve, value), adjoint, "," in line)}
                )
                print(curve, line, points[-1], flush=True)
            result["curves"].setdefault(curve, {})[line] = points
            record.write(name, result)
