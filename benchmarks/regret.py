"""What is left to learn: error above that of the best possible learner, on linear-Gaussian tasks.

python benchmarks/regret.py             trains and tests; writes results/regret.json
python benchmarks/regret.py --tables    rewrite the table in README.md

Tasks are `y = w.x + noise` with standard normal weights, so the best prediction is the posterior mean.
Every learner adapts a linear model from a start that is random before training, and regret is taken
task by task.
"""

import argparse
import json

import jax
import numpy as np
import optax
import record

import metajax as mj

DIMENSION, SHOT, NOISE = 4, 10, 0.5
PULL = 2 * NOISE**2 / SHOT
"""With a loss that is a mean over the shots, iMAML's minimum around a centre of 0 is the posterior mean."""
STEPS = (1, 5, 20, 300)
SEEDS = (0, 1, 2)
OUTER_STEPS, META_BATCH, OUTER_RATE = 3_000, 32, 3e-3
TEST_TASKS = 10_000
MODEL = mj.Model(lambda key, x: jax.random.normal(key, (x.shape[1], 1)), lambda w, x: x @ w)
RATE = 0.1
SGD = optax.sgd(RATE)
SOLVED = mj.implicit(mj.conjugate_gradient(DIMENSION))
LEARNERS = {
    "from_scratch": mj.from_scratch(MODEL, mj.mse, SGD, 5),
    "maml": mj.maml(MODEL, mj.mse, SGD, 5),
    "fomaml": mj.maml(MODEL, mj.mse, SGD, 5, adjoint=mj.first_order),
    "meta_sgd": mj.meta_sgd(MODEL, mj.mse, 5, rate=RATE),
    "meta_curvature": mj.meta_curvature(MODEL, mj.mse, 5, rate=RATE),
    "imaml": mj.imaml(MODEL, mj.mse, SGD, 300, strength=PULL, adjoint=SOLVED),
}
SAMPLE = mj.tasks.linear_gaussian(DIMENSION, SHOT, noise=NOISE)


def score(learner: mj.Learner, meta_params, num_steps=None) -> mj.Evaluation:
    return mj.evaluate(
        learner,
        meta_params,
        SAMPLE,
        mj.mse,
        key=jax.random.key(1_000),
        num_tasks=TEST_TASKS,
        num_steps=num_steps,
        inductive=False,
    )


def regrets(learner: mj.Learner, best: np.ndarray, seed: int) -> np.ndarray:
    """Of every test task after each of `STEPS`, `(tasks, steps)`, of one trained model."""
    state = mj.fit(
        learner,
        mj.query_loss(learner, mj.mse),
        optax.chain(
            mj.clip_by_global_norm(1.0),
            optax.adam(optax.cosine_decay_schedule(OUTER_RATE, OUTER_STEPS)),
        ),
        SAMPLE,
        key=jax.random.key(seed),
        outer_steps=OUTER_STEPS,
        meta_batch=META_BATCH,
        show_progress=False,
    )
    return np.asarray(score(learner, state.meta_params, STEPS).values) - best[:, None]


def numbers(values: np.ndarray) -> list[float | None]:
    """For JSON, which has no infinity."""
    return [float(value) if np.isfinite(value) else None for value in values]


def run() -> None:
    np.seterr(invalid="ignore")  # what diverged has no deviation
    best = np.asarray(score(mj.linear_gaussian_optimum(NOISE), ()).values)
    rows = {}
    for name, learner in LEARNERS.items():
        found = np.stack([regrets(learner, best, seed) for seed in SEEDS])
        of_models = found.mean(axis=1)
        deviation = found.mean(axis=0).std(axis=0, ddof=1)
        rows[name] = {
            "regret": numbers(of_models.mean(axis=0)),
            "interval_95": numbers(1.96 * deviation / np.sqrt(TEST_TASKS)),
            "lowest_seed": numbers(of_models.min(axis=0)),
            "highest_seed": numbers(of_models.max(axis=0)),
        }
        print(name, rows[name]["regret"], flush=True)
    settings = {
        "dimension": DIMENSION,
        "shot": SHOT,
        "noise": NOISE,
        "inner_rate": RATE,
        "pull": PULL,
        "outer_steps": OUTER_STEPS,
        "meta_batch": META_BATCH,
        "outer_rate": OUTER_RATE,
        "num_test_tasks": TEST_TASKS,
        "seeds": SEEDS,
    }
    record.write(
        "regret",
        {
            "steps": STEPS,
            "rows": rows,
            "best_possible_error": float(best.mean()),
            "settings": settings,
            "interval": "1.96 standard deviations over tasks of the mean over seeds / sqrt(tasks)",
            **record.context(),
        },
    )


def tables() -> str:
    """The table as Markdown, from the file alone."""
    result = json.loads((record.RESULTS / "regret.json").read_text())
    settings = result["settings"]
    lines = [
        f"Regret on linear-Gaussian tasks, {settings['dimension']} dimensions, {settings['shot']} shots: "
        "squared error above that of the best possible predictor, "
        f"{result['best_possible_error']:.3f}, of a linear model after inner steps at a rate of "
        f"{settings['inner_rate']:g}. Mean ± 95 % interval over {settings['num_test_tasks']:,} test tasks, "
        f"of {len(settings['seeds'])} trained models, whose lowest and highest are in brackets. All were "
        "trained on the loss after 5 steps, imaml after 300; its pull is the one that the noise asks for. "
        "Learned rates end at the edge of what is stable over 5 steps, and beyond it over more.",
        "",
        f"| | {' | '.join(f'{steps} step' + 's' * (steps > 1) for steps in result['steps'])} |",
        "|---|" + "---|" * len(result["steps"]),
    ]
    for name, row in result["rows"].items():
        cells = [
            f"{mean:z.3f} ± {interval:.3f} ({low:z.3f} to {high:z.3f})"
            if mean is not None and mean < 100
            else "diverged"
            for mean, interval, low, high in zip(
                row["regret"],
                row["interval_95"],
                row["lowest_seed"],
                row["highest_seed"],
                strict=True,
            )
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", action="store_true", help="rewrite the table in README.md")
    if parser.parse_args().tables:
        record.put_into_readme("regret.py", tables())
    else:
        run()
