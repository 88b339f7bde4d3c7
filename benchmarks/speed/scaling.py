"""How time and memory of an outer step grow: with the meta-batch, inner steps, way and width.

Run by `python benchmarks/speed.py --scaling`; writes results/scaling_PLATFORM.json and .png. Memory
is what XLA reserves for temporaries of the compiled step on one device.
"""

import time
from dataclasses import replace

import numpy as np
import record
from workloads import WORKLOADS, Workload, arrays, jax_apply

REPEATS = 5
SMALL = replace(WORKLOADS["B"], channels=(1, 16, 16, 16, 16), meta_batch=4)
CURVES = {
    "meta_batch": [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
    "num_steps": [1, 2, 4, 8, 16, 32, 64, 128],
    "way": [2, 5, 10, 20, 50],
    "width": [8, 16, 32, 64, 128],
}
ADJOINTS = ("unrolled", "remat", "mixed_mode", "truncated", "first_order")


def workload(curve: str, value: int) -> Workload:
    """The point of a curve; everything else as in workload B, or as in a narrower one."""
    if curve == "meta_batch":
        return replace(WORKLOADS["B"], meta_batch=value)
    if curve == "num_steps":
        return replace(SMALL, num_steps=value, rate=0.01)
    if curve == "way":
        return replace(WORKLOADS["B"], outputs=value, support=value, query=value, meta_batch=4)
    return replace(WORKLOADS["B"], channels=(1, *(4 * [value])), meta_batch=4)


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
    estimator = jax.value_and_grad if in_one_pass else mj.parallel(w.meta_batch)
    sx, sy, qx, qy = (jnp.asarray(a) for a in data.tasks)
    tasks = mj.Task(mj.Examples(sx, sy), mj.Examples(qx, qy))
    weights = jax.tree.map(jnp.asarray, data.weights)
    lowered = jax.jit(estimator(objective)).lower(weights, tasks, jax.random.key(0))
    started = time.perf_counter()
    step = lowered.compile()
    compile_s = time.perf_counter() - started
    jax.block_until_ready(step(weights, tasks, jax.random.key(0)))
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        jax.block_until_ready(step(weights, tasks, jax.random.key(0)))
        seconds.append(time.perf_counter() - started)
    memory = step.memory_analysis()
    return {
        "seconds": np.quantile(seconds, [0.25, 0.5, 0.75]).tolist(),
        "temporaries_mb": memory.temp_size_in_bytes / 1e6 if memory else None,
        "compile_s": compile_s,
    }


def run() -> None:
    """Measure every point and draw the curves."""
    from metajax.cli.machine import one_device_per_core

    one_device_per_core()
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
    draw(result, record.RESULTS / f"{name}.png")


def draw(result: dict, path) -> None:
    """Time above, memory below, a column for each curve."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 7), layout="constrained")
    axes = figure.subplots(2, len(CURVES))
    titles = {
        "meta_batch": "workload B, by tasks in the meta-batch",
        "num_steps": "16 filters, 4 tasks, by inner steps",
        "way": "workload B, 4 tasks, by way",
        "width": "workload B, 4 tasks, by filters",
    }
    for column, (curve, lines) in enumerate(result["curves"].items()):
        for line, points in lines.items():
            x = [point["value"] for point in points]
            low, middle, high = np.transpose([point["seconds"] for point in points]) * 1e3
            axes[0, column].plot(x, middle, marker="o", markersize=3, label=line)
            axes[0, column].fill_between(x, low, high, alpha=0.2)
            memory = [point["temporaries_mb"] for point in points]
            axes[1, column].plot(x, memory, marker="o", markersize=3, label=line)
        axes[0, column].set(title=titles[curve], ylabel="ms a hypergradient")
        axes[1, column].set(xlabel=curve, ylabel="MB of temporaries on a device")
        for row in (0, 1):
            axes[row, column].set(xscale="log", yscale="log")
            axes[row, column].set_xticks(CURVES[curve], [str(value) for value in CURVES[curve]])
            axes[row, column].minorticks_off()
            axes[row, column].grid(alpha=0.25)
            axes[row, column].spines[["top", "right"]].set_visible(False)
        if len(lines) > 1:
            axes[0, column].legend(frameon=False, fontsize=8)
    machine = result["machine"]
    figure.suptitle(
        f"{machine['processor']}, {machine['cores']} cores, {machine['device']}, float32"
    )
    figure.savefig(path, dpi=130)
