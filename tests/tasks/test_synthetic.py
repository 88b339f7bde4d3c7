"""Invented tasks: their moments, and the learners that are optimal for them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metajax as mj


def wrong(value: Any) -> Any:
    return value


def test_sinusoid_has_the_moments_of_mamls_distribution(key):
    # Var of A sin(x - p): E[A^2] = (0.1^2 + 0.1*5 + 5^2)/3 = 8.5033, and E[sin^2] is 1/2 but for the
    # ends of the interval; predicting 0 costs 4.25 (4.2526 by quadrature).
    tasks = jax.jit(jax.vmap(mj.tasks.sinusoid()))(jax.random.split(key, 20_000))
    assert float(jnp.mean(tasks.query.y**2)) == pytest.approx(4.25, abs=0.1)
    assert float(tasks.support.x.min()) < -4.99
    assert float(jnp.abs(tasks.query.y).max()) <= 5.0


@pytest.mark.parametrize(
    "family, at",
    [
        (lambda subset: mj.tasks.families.lines(3.0, 0.0, subset=subset), [[1.0]]),
        (lambda subset: mj.tasks.families.polynomials(0, 3.0, subset=subset), [[1.0]]),
        (lambda subset: mj.tasks.families.harmonics(1, 3.0, subset=subset), [[0.0], [np.pi]]),
    ],
    ids=["lines", "polynomials", "harmonics"],
)
def test_far_tasks_lie_beyond_the_near_ones(family, at, key):
    # The one size that each has, of 3 at most: a slope, a constant, and an amplitude, which is the
    # norm of a wave of frequency 1/2 at two points a quarter of its length apart.
    def sizes(subset):
        values = jax.vmap(lambda k: family(subset)(k)(jnp.array(at)))(jax.random.split(key, 300))
        return jnp.linalg.norm(values[..., 0], axis=1)

    assert float(sizes("near").max()) <= 3.001
    assert float(sizes("far").min()) >= 2.999
    assert float(sizes("far").max()) <= 4.501


def test_queries_can_lie_on_another_interval(key):
    sample = mj.tasks.functions(mj.tasks.families.lines(), x=(-1.0, 1.0), query_x=(2.0, 3.0))
    task = sample(key)
    assert float(jnp.abs(task.support.x).max()) <= 1
    assert float(task.query.x.min()) >= 2
    with pytest.raises(ValueError, match=r"functions: query_x=\(3, 2\) must be two finite numbers"):
        mj.tasks.functions(mj.tasks.families.lines(), query_x=(3, 2))


REFUSED = {
    "sinusoid: shot=0 must be an integer of at least 1": lambda: mj.tasks.sinusoid(shot=0),
    r"sinusoid: amplitude=\(2, 1\) must be two finite numbers": lambda: mj.tasks.sinusoid(
        amplitude=(2, 1)
    ),
    r"sinusoid: phase=\(0, nan\) must be two finite": lambda: mj.tasks.sinusoid(phase=(0, np.nan)),
    r"functions: noise=-1\.0 must be a number of at least 0": lambda: mj.tasks.functions(
        mj.tasks.families.lines(), noise=-1.0
    ),
    "functions: noise=nan must be a number of at least 0": lambda: mj.tasks.functions(
        mj.tasks.families.lines(), noise=np.nan
    ),
    "functions: family=3 must be a function": lambda: mj.tasks.functions(wrong(3)),
    "polynomials: degree=-1 must be an integer of at least 0": lambda: (
        mj.tasks.families.polynomials(-1)
    ),
    "harmonics: terms=0 must be an integer of at least 1": lambda: mj.tasks.families.harmonics(0),
    "mixture: give at least one family": lambda: mj.tasks.families.mixture([]),
    "lines: subset='nearer' is unknown; did you mean 'near'": lambda: mj.tasks.families.lines(
        subset=wrong("nearer")
    ),
    r"gaussian_process: length=0\.0 must be a number above 0": lambda: mj.tasks.gaussian_process(
        length=0.0
    ),
    "linear_gaussian: noise=-1 must be": lambda: mj.tasks.linear_gaussian(noise=-1),
    "clusters: parts=0 must be an integer of at least 1": lambda: mj.tasks.clusters(parts=0),
    "glyphs: size=4 must be an integer of at least 8": lambda: mj.tasks.glyphs(size=4),
    r"glyphs: way=2\.5 must be an integer of at least 1": lambda: mj.tasks.glyphs(way=wrong(2.5)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_settings_without_tasks_are_refused(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


def test_no_learner_beats_the_optimum_of_linear_gaussian_tasks(key):
    sample = mj.tasks.linear_gaussian(dimension=4, shot=6, noise=0.5)

    def score(noise):
        learner = mj.linear_gaussian_optimum(noise)
        return mj.evaluate(learner, (), sample, mj.mse, key=key, num_tasks=2000, inductive=False)

    best = score(0.5)
    for other in (0.2, 1.5):  # the same learner, wrong about the noise
        regret = mj.compare(score(other), best)
        assert float(regret.mean) > float(regret.interval) > 0


def test_posterior_of_a_gaussian_process_is_the_textbook_formula(key, float64):
    # Rasmussen and Williams, equations 2.22 to 2.24, with inverses.
    x, y, new = (jax.random.normal(k, (5, 1)) for k in jax.random.split(key, 3))
    learner = mj.gaussian_process_optimum(length=0.7, amplitude=1.5, noise=0.3)
    found = learner.predict(learner.adapt((), mj.Examples(x, y), key), new)

    def k(a, b):
        return 1.5**2 * jnp.exp(-((a - b.T) ** 2) / (2 * 0.7**2))

    own = 1e-4 * 1.5**2
    inverse = jnp.linalg.inv(k(x, x) + (own + 0.3**2) * jnp.eye(5))
    mean = k(new, x) @ inverse @ y
    variance = 1.5**2 + own - jnp.diag(k(new, x) @ inverse @ k(x, new))
    np.testing.assert_allclose(found[:, 0], mean, rtol=1e-9)
    np.testing.assert_allclose(found[:, 1, 0], jnp.sqrt(variance), rtol=1e-9)


def test_no_learner_beats_the_optimum_of_gaussian_processes(key):
    sample = mj.tasks.gaussian_process(shot=6, noise=0.2)

    def score(metric, **options):
        learner = mj.gaussian_process_optimum(**options)
        return mj.evaluate(learner, (), sample, metric, key=key, num_tasks=1000, inductive=False)

    for metric in (mj.error_of_mean, mj.gaussian_nll):
        best = score(metric, noise=0.2)
        for other in ({"noise": 0.6}, {"noise": 0.2, "length": 0.6}):
            regret = mj.compare(score(metric, **other), best)
            assert float(regret.mean) > float(regret.interval) > 0
    assert float(score(mj.coverage, noise=0.2).mean) == pytest.approx(0.95, abs=0.01)


def test_glyphs_of_a_class_are_alike_and_classes_are_not(key):
    # A drawing is nearer to another of its class than to those of others, more often than by chance.
    task = jax.jit(mj.tasks.glyphs(way=20))(key)
    assert float(task.support.x.min()) >= 0
    assert 0.02 < float(task.support.x.mean()) < 0.4
    assert float(task.support.x.max()) > 0.9
    nearest = mj.nearest_neighbour(mj.pixels)
    scores = mj.evaluate(
        nearest, (), mj.tasks.glyphs(way=20), mj.accuracy, key=key, num_tasks=8, inductive=False
    )
    assert 0.15 < float(scores.mean) < 0.95  # chance is 0.05, and the task is not trivial
