"""Bias and variance of truncated estimators against the truncation length, where both are known.

python benchmarks/truncation.py           writes results/truncation.json, in about a minute
python benchmarks/truncation.py --race    at equal wall time on a learned schedule: truncation_race.json
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import record
from rows.truncation import HORIZON, LENGTHS, NAMES

import metajax as mj

DECAY, SIGMA, REPEATS = 0.9, 0.1, 20_000
OUTER_STEPS, SEEDS = 1_000, 8


def estimator(name: str, length: int, *, pairs: int = 1, sigma: float = SIGMA, staggered: bool):
    """By name, with perturbations where it takes them."""
    options = (length,) if name == "truncated_backprop" else (length, pairs, sigma)
    return getattr(mj, name)(*options, staggered=staggered)


def alike(meta_batch: int) -> mj.Task:
    """Tasks that say nothing, for systems that are always the same."""
    return mj.Task(*2 * [mj.Examples(jnp.zeros(meta_batch), ())])


def decaying() -> mj.Unroll:
    """A state that becomes 0.9 of itself plus theta, and half its squared distance to 1 as loss.

    Linear and quadratic: smoothing adds a constant, so that the exact gradient is the smoothed one.
    """

    def advance(theta, state, task, key):
        del task, key
        state = DECAY * state + theta
        return state, (state - 1) ** 2 / 2

    return mj.Unroll(lambda theta, task, key: jnp.zeros(()), advance, HORIZON)


def influence_balancing() -> mj.Unroll:
    """23 numbers, of which each hands half of itself on; theta is added to 10 and taken from 13.

    The first of them is to be 1. The next steps say that a greater theta makes it greater; in the
    long run it is -6 theta. Tallec and Ollivier, ICLR 2018. https://arxiv.org/abs/1702.05043
    """
    matrix = (jnp.eye(23) + jnp.eye(23, k=1)) / 2
    sign = jnp.where(jnp.arange(23) < 10, 1.0, -1.0)

    def advance(theta, state, task, key):
        del task, key
        state = matrix @ state + theta * sign
        return state, (state[0] - 1) ** 2 / 2

    return mj.Unroll(lambda theta, task, key: jnp.ones(23), advance, 128)


def bias_and_deviation(name: str, length: int) -> dict:
    """Of an outer step whose particles are spread over the horizon, one at each truncation.

    Such a step makes as many inner steps as the horizon has, whatever the length. Its particles are
    independent; here they are the parts of an episode, which have the same means and variances.
    """
    unroll, theta, task = decaying(), jnp.array(0.05), alike(1)
    init, estimate = estimator(name, length, staggered=False)(unroll)
    truncations = HORIZON // length

    @jax.jit
    @jax.vmap
    def episode(key):
        def step(state, key):
            _, gradient, state = estimate(theta, state, task, key)
            return state, gradient

        keys = jax.random.split(key, truncations)
        return jax.lax.scan(step, init(theta, task, key), keys)[1]

    gradients = np.asarray(episode(jax.random.split(jax.random.key(length), REPEATS)), np.float64)
    exact = float(jax.grad(unroll)(theta, task, jax.random.key(0)))
    episodes = (gradients.mean(axis=1) - exact) / abs(exact)  # noise reused correlates its parts
    return {
        "length": length,
        "bias": float(episodes.mean()),
        "bias_standard_error": float(episodes.std() / REPEATS**0.5),
        "deviation": float(np.sum(gradients.var(axis=0)) ** 0.5 / truncations / abs(exact)),
    }


def balance(name: str, length: int) -> dict:
    """The objective while Adam follows an estimator on influence balancing, by outer steps."""
    unroll, task, start = influence_balancing(), alike(8), jnp.array(0.5)
    chosen = estimator(name, length, staggered=True) if name else jax.value_and_grad
    init, update = mj.outer_step(unroll, optax.adam(3e-3), chosen)
    value = jax.vmap(lambda theta: unroll(theta, alike(1), jax.random.key(0)))

    @jax.jit
    @jax.vmap
    def train(key):
        def step(state, key):
            state, _ = update(state, task, key)
            return state, state.meta_params

        keys = jax.random.split(key, OUTER_STEPS + 1)
        return jax.lax.scan(step, init(start, task, keys[-1]), keys[:-1])[1]

    thetas = train(jax.random.split(jax.random.key(1), SEEDS))
    shown = np.unique(np.geomspace(1, OUTER_STEPS, 60).astype(int)) - 1
    losses = np.stack([value(thetas[:, i]) for i in shown])
    return {"outer_steps": (shown + 1).tolist(), "loss": losses.tolist()}


def measure() -> None:
    started = time.perf_counter()
    result = {
        **record.context(),
        "settings": {
            "decay": DECAY,
            "horizon": HORIZON,
            "sigma": SIGMA,
            "repeats": REPEATS,
            "influence_balancing": {"horizon": 128, "meta_batch": 8, "seeds": SEEDS, "adam": 3e-3},
        },
        "lengths": {name: [bias_and_deviation(name, n) for n in LENGTHS] for name in NAMES},
        "balancing": {
            "backpropagation through all": balance("", 128),
            **{
                f"{NAMES[name]}, {length} steps": balance(name, length)
                for name, length in (
                    ("truncated_backprop", 1),
                    ("truncated_backprop", 8),
                    ("truncated_evolution", 8),
                    ("persistent_evolution", 8),
                    ("noise_reuse_evolution", 8),
                )
            },
        },
    }
    result["seconds"] = round(time.perf_counter() - started, 1)
    record.write("truncation", result)


def noisy_quadratic(horizon: int) -> mj.Unroll:
    """SGD with momentum on quadratics of noisy gradients; rates over time and momentum are learned.

    A truncation asks for low rates at once, which lower the noise; the horizon wants high ones first.
    Wu, Ren, Liao and Grosse, ICLR 2018. https://arxiv.org/abs/1803.02021

    A task holds curvatures `(d,)` as support and a start `(d,)` as query.
    """

    def build(weights):
        def rate(step):
            knots = jnp.linspace(0, horizon, len(weights["log_rates"]))
            return jnp.exp(jnp.interp(step, knots, weights["log_rates"]))

        return optax.sgd(rate, momentum=jax.nn.sigmoid(weights["momentum"]))

    def init(weights, task, key):
        del key
        return task.query.x, build(weights).init(task.query.x)

    def advance(weights, state, task, key):
        params, opt_state = state
        curvature = task.support.x
        noise = jax.random.normal(key, params.shape)
        gradient = curvature * params + jnp.sqrt(curvature) * noise
        updates, opt_state = build(weights).update(gradient, opt_state, params)
        params = jnp.asarray(optax.apply_updates(params, updates))
        return (params, opt_state), jnp.mean(curvature * params**2) / 2

    return mj.Unroll(init, advance, horizon)


def quadratic(key: jax.Array) -> mj.Task:
    """Curvatures from 1 to 1/100, and a start."""
    curvature_key, start_key = jax.random.split(key)
    curvature = 10 ** -jax.random.uniform(curvature_key, (20,), maxval=2)
    start = 3 * jax.random.normal(start_key, (20,)) / jnp.sqrt(curvature)
    return mj.Task(mj.Examples(curvature, ()), mj.Examples(start, ()))


def race(seconds: float, seeds: int) -> None:
    """Every estimator for as long, judged on the whole horizon of test tasks between its seconds."""
    horizon, length, meta_batch = 200, 10, 16
    unroll = noisy_quadratic(horizon)
    roads = {
        "backpropagation through all": jax.value_and_grad,
        "truncated backpropagation": mj.truncated_backprop(length),
        "PES": mj.persistent_evolution(length, 2, 0.05),
        "NRES": mj.noise_reuse_evolution(length, 2, 0.05),
        "evolution strategies on all": mj.evolution(4, 0.05),
    }
    settings = {"horizon": horizon, "length": length, "meta_batch": meta_batch, "adam": 0.02}
    result = {**record.context(), "settings": {**settings, "seconds": seconds}, "roads": {}}
    for name, road in roads.items():
        result["roads"][name] = run(unroll, road, meta_batch, seconds, seeds)
        for curve in result["roads"][name]:
            print(name, curve["curve"][-1][1], "after", curve["outer_steps"], "outer steps")
        record.write("truncation_race", result)


def run(unroll: mj.Unroll, road, meta_batch: int, seconds: float, seeds: int) -> list[dict]:
    """For each seed the test objective by seconds of training; compilation and tests are apart."""
    start = {"log_rates": jnp.full(6, np.log(0.05), jnp.float32), "momentum": jnp.zeros(())}
    init, update = mj.outer_step(unroll, optax.adam(0.02), road)
    test_key = jax.random.key(7)
    test_tasks = jax.vmap(quadratic)(jax.random.split(test_key, 256))
    judge = jax.jit(lambda weights: unroll(weights, test_tasks, test_key))

    def tasks_of(key):
        return jax.vmap(quadratic)(jax.random.split(key, meta_batch))

    @jax.jit
    def block(state, key):
        def step(state, key):
            task_key, update_key = jax.random.split(key)
            return update(state, tasks_of(task_key), update_key)[0], None

        return jax.lax.scan(step, state, jax.random.split(key, 20))[0]

    runs = []
    for seed in range(seeds):
        key = jax.random.key(seed)
        state = init(start, tasks_of(key), key)
        jax.block_until_ready(block(state, key))  # compiled before the clock starts
        curve, spent, blocks = [(0.0, float(judge(start)))], 0.0, 0
        while spent < seconds:
            begun = time.perf_counter()
            while time.perf_counter() - begun < seconds / 30:
                blocks += 1
                state = jax.block_until_ready(block(state, jax.random.fold_in(key, blocks)))
            spent += time.perf_counter() - begun
            curve.append((spent, float(judge(state.meta_params))))
        weights = jax.tree.map(lambda leaf: leaf.tolist(), state.meta_params)
        runs.append({"curve": curve, "outer_steps": int(state.step), "weights": weights})
    return runs


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--race", action="store_true")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each estimator and seed")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.race:
        race(arguments.seconds, arguments.seeds)
    else:
        measure()
