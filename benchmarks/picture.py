"""Draws the picture at the top of README.md from a short run.

python benchmarks/picture.py    trains for a minute and writes docs/images/adaptation.png
"""

import argparse

import jax
import numpy as np
import optax
import record

import metajax as mj

PATH = record.HERE.parent / "docs" / "images" / "adaptation.png"
OUTER_STEPS, META_BATCH, NUM_STEPS = 6_000, 24, 10
STEPS = tuple(range(NUM_STEPS + 1))
INNER = optax.chain(mj.clip_by_global_norm(50.0), optax.sgd(0.01))


def trained(learner: mj.Learner) -> mj.TrainState:
    """MAML on sine waves, on the losses after one to three inner steps."""
    return mj.fit(
        learner,
        mj.query_loss(learner, mj.mse, num_steps=(1, 2, 3)),
        optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adam(optax.cosine_onecycle_schedule(OUTER_STEPS, 5e-3)),
        ),
        mj.tasks.sinusoid(shot=10),
        key=jax.random.key(0),
        outer_steps=OUTER_STEPS,
        meta_batch=META_BATCH,
        show_progress=False,
    )


def error(learner: mj.Learner, meta_params) -> mj.Evaluation:
    """Squared error after each inner step, on the same 600 tasks of 5 points."""
    return mj.evaluate(
        learner, meta_params, mj.tasks.sinusoid(shot=5), mj.mse, key=jax.random.key(1),
        num_tasks=600, num_steps=STEPS, inductive=False,
    )  # fmt: skip


def draw(maml: mj.Learner, scratch: mj.Learner, meta_params):
    """Two new tasks at the left; the error of all by inner steps at the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.1), layout="constrained")
    *waves, errors = figure.subplots(1, 3, width_ratios=[1, 1, 1.05])
    x = np.linspace(-5, 5, 200, dtype=np.float32)[:, None]
    tasks = mj.tasks.batch(mj.tasks.sinusoid(shot=5, query_shot=400), jax.random.key(11), 2)
    for i, axes in enumerate(waves):
        support, query = jax.tree.map(lambda leaf, i=i: leaf[i], tasks)
        order = np.argsort(query.x[:, 0])
        axes.plot(query.x[order], query.y[order], color="0.8", linewidth=4, label="new function")
        adapted = maml.adapt(meta_params, support, jax.random.key(2), num_steps=(0, 1, 10))
        curves = jax.vmap(maml.predict, in_axes=(0, None))(adapted, x)
        for steps, curve, style in zip((0, 1, 10), curves, (":", "--", "-"), strict=True):
            label = f"{steps} step" + "s" * (steps != 1)
            axes.plot(x, curve, color="C0", linestyle=style, label=label)
        axes.plot(support.x, support.y, "o", color="C3", markersize=6, label="5 examples")
        axes.set(title=f"new task {i + 1}", ylim=(-5.5, 5.5), xlabel="x")
    waves[0].legend(frameon=False, fontsize=8, ncols=2, loc="lower left")
    rows = {"MAML": (maml, meta_params), "from scratch": (scratch, ())}
    for name, (learner, start) in rows.items():
        scores = error(learner, start)
        mean, interval = np.asarray(scores.mean), np.asarray(scores.interval)
        errors.plot(STEPS, mean, marker="o", markersize=3, label=name)
        errors.fill_between(STEPS, mean - interval, mean + interval, alpha=0.2)
    errors.set(
        title="squared error on 600 new tasks",
        xlabel="inner steps",
        yscale="log",
        xticks=STEPS[::2],
    )
    errors.set_yticks([0.25, 0.5, 1, 2, 4], ["0.25", "0.5", "1", "2", "4"])
    errors.minorticks_off()
    errors.legend(frameon=False)
    for axes in (*waves, errors):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    maml = mj.maml(mj.mlp(), mj.mse, INNER, NUM_STEPS)
    scratch = mj.from_scratch(mj.mlp(), mj.mse, INNER, NUM_STEPS)
    figure = draw(maml, scratch, trained(maml).meta_params)
    PATH.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PATH, dpi=110)
    print(PATH, f"{PATH.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
