"""Every promise of a task source, tried on every source."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract.tables import CLASSIFICATION, REGRESSION
from hypothesis import given, settings
from hypothesis import strategies as st

import metajax as mj

RAGGED = [np.arange(100 * c, 100 * c + 3 + c) for c in range(6)]
FAMILIES = (
    mj.tasks.families.lines(),
    mj.tasks.families.polynomials(3),
    mj.tasks.families.harmonics(2),
)
SOURCES = {
    "sinusoid": lambda _: REGRESSION,
    "functions": lambda _: mj.tasks.functions(mj.tasks.families.mixture(FAMILIES), noise=0.1),
    "linear_gaussian": lambda _: mj.tasks.linear_gaussian(dimension=3),
    "gaussian_process": lambda _: mj.tasks.gaussian_process(shot=4),
    "glyphs": lambda _: mj.tasks.glyphs(way=3, shot=2, query_shot=1, size=12),
    "clusters": lambda _: mj.tasks.clusters(way=3, shot=2, query_shot=1),
    "episodes": lambda _: CLASSIFICATION,
    "episodes of classes of different sizes": lambda _: mj.tasks.episodes(
        RAGGED, way=4, shot=2, query_shot=1
    ),
    "episodes whose queries are labelled by class": lambda _: mj.tasks.episodes(
        RAGGED, way=4, shot=2, query_shot=1, query_labels="class"
    ),
    "varied": lambda _: mj.tasks.varied(CLASSIFICATION, way=(2, 3), shot=(1, 2)),
    "omniglot": lambda request: mj.tasks.omniglot(
        shot=2, query_shot=2, data=request.getfixturevalue("omniglot_data")
    ),
}


@pytest.fixture(scope="module", params=SOURCES.values(), ids=list(SOURCES))
def sample(request):
    return request.param(request)


def test_same_key_same_bits_under_jit_and_vmap(sample, key):
    task = sample(key)
    # The covariance of close points enlarges rounding, so that a Gaussian process needs the tolerance.
    chex.assert_trees_all_close(task, jax.jit(sample)(key), rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_equal(jax.jit(sample)(key), jax.jit(sample)(key))
    keys = jax.random.split(key, 3)
    mapped = jax.vmap(sample)(keys)
    for i in range(3):
        chex.assert_trees_all_close(
            jax.tree.map(lambda leaf, i=i: leaf[i], mapped),
            jax.jit(sample)(keys[i]),
            rtol=1e-5,
            atol=1e-5,
        )


def test_another_key_gives_another_task(sample, key):
    other = sample(jax.random.fold_in(key, 1))
    assert not np.array_equal(sample(key).support.x, other.support.x)
    chex.assert_trees_all_equal_shapes_and_dtypes(sample(key), other)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_support_and_query_never_share_an_example(sample, seed):
    task = jax.jit(sample)(jax.random.key(seed))
    support = {row.tobytes() for row in np.asarray(task.support.x)}
    query = {row.tobytes() for row in np.asarray(task.query.x)}
    assert len(support) == len(task.support.x)
    assert len(query) == len(task.query.x)
    assert not support & query


def test_queries_can_be_labelled_by_their_class_among_all(key):
    sample = mj.tasks.episodes(RAGGED, way=4, shot=1, query_shot=2, query_labels="class")
    task = sample(key)  # the class of a value is value // 100
    assert task.query.y.tolist() == (task.query.x // 100).tolist()
    assert task.support.y.tolist() == [0, 1, 2, 3]


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    way=st.integers(1, 8),
    shot=st.integers(1, 5),
    query_shot=st.integers(1, 5),
)
def test_episodes_are_balanced_and_labelled_by_class(seed, way, shot, query_shot):
    values = np.arange(80).reshape(8, 10)  # the class of a value is value // 10
    sample = mj.tasks.episodes(values, way=way, shot=shot, query_shot=query_shot)
    support, query = sample(jax.random.key(seed))
    assert np.bincount(support.y, minlength=way).tolist() == [shot] * way
    assert np.bincount(query.y, minlength=way).tolist() == [query_shot] * way
    of_label = dict(
        zip(np.asarray(support.y).tolist(), (np.asarray(support.x) // 10).tolist(), strict=True)
    )
    assert len(set(of_label.values())) == way
    assert all(
        of_label[y] == x // 10 for x, y in zip(query.x.tolist(), query.y.tolist(), strict=True)
    )


def test_episodes_reach_every_example_of_classes_of_different_sizes(key):
    sample = mj.tasks.episodes(RAGGED, way=4, shot=2, query_shot=1)
    tasks = jax.jit(jax.vmap(sample))(jax.random.split(key, 500))
    assert set(np.ravel(tasks.support.x).tolist()) == set(np.concatenate(RAGGED).tolist())


def test_drawing_without_replacement_is_uniform(key):
    # Each ordered pair of five has probability 1/20; 20,000 draws put 1,000 in each, +- 31 (1 sd).
    from metajax.tasks.episodes import draw

    pairs = np.asarray(jax.vmap(lambda k: draw(k, 5, 2))(jax.random.split(key, 20_000)))
    counts = np.bincount(pairs[:, 0] * 5 + pairs[:, 1], minlength=25).reshape(5, 5)
    assert np.all(np.diag(counts) == 0)
    off_diagonal = counts[~np.eye(5, dtype=bool)]
    assert np.all(np.abs(off_diagonal - 1000) < 5 * 31)


def test_sinusoid_has_the_moments_of_mamls_distribution(key):
    # Var of A sin(x - p): E[A^2] = (0.1^2 + 0.1*5 + 5^2)/3 = 8.5033, and E[sin^2] is 1/2 but for the
    # ends of the interval; predicting 0 costs 4.25 (4.2526 by quadrature).
    tasks = jax.jit(jax.vmap(mj.tasks.sinusoid()))(jax.random.split(key, 20_000))
    assert float(jnp.mean(tasks.query.y**2)) == pytest.approx(4.25, abs=0.1)
    assert float(tasks.support.x.min()) < -4.99
    assert float(jnp.abs(tasks.query.y).max()) <= 5.0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"way": 9, "shot": 1, "query_shot": 1},
            "way=9 needs 9 classes and there are 8; use way=8",
        ),
        (
            {"way": 2, "shot": 5, "query_shot": 6},
            "shot=5 and query_shot=6 need 11 examples of a class and there are 10; use query_shot=5",
        ),
        ({"way": 0, "shot": 1, "query_shot": 1}, "each is 1 or more"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mj.tasks.episodes(np.zeros((8, 10)), **arguments)


def test_sinusoid_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match="shot=0 and query_shot=10; each is 1 or more"):
        mj.tasks.sinusoid(shot=0)
    with pytest.raises(ValueError, match=r"amplitude=\(2, 1\); give the smaller number first"):
        mj.tasks.sinusoid(amplitude=(2, 1))


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
    with pytest.raises(ValueError, match=r"query_x=\(3, 2\); give the smaller number first"):
        mj.tasks.functions(mj.tasks.families.lines(), query_x=(3, 2))


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: mj.tasks.functions(mj.tasks.families.lines(), noise=-1.0),
            r"noise=-1\.0; a deviation is 0",
        ),
        (lambda: mj.tasks.families.polynomials(-1), "degree=-1; it is 0 or more"),
        (lambda: mj.tasks.families.harmonics(0), "terms=0; it is 1 or more"),
        (lambda: mj.tasks.families.mixture([]), "there is no family; give 1 or more"),
    ],
)
def test_families_that_have_no_functions_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


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
    with pytest.raises(ValueError, match=r"length=0.0, amplitude=1.0 and noise=0.1; the first"):
        mj.tasks.gaussian_process(length=0.0)


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
    with pytest.raises(ValueError, match="size=4; the first three are 1 or more"):
        mj.tasks.glyphs(size=4)


def test_varied_takes_every_way_and_shot_and_nothing_else(key):
    numbers = np.arange(60).reshape(6, 10)  # the class of a number is number // 10
    whole = mj.tasks.episodes(numbers, way=4, shot=3, query_shot=2)
    sample = mj.tasks.varied(whole, way=(2, 4), shot=(1, 3))
    tasks = jax.jit(jax.vmap(sample))(jax.random.split(key, 200))
    seen = set()
    for support, query in zip(np.asarray(tasks.support.y), np.asarray(tasks.query.y), strict=True):
        there = np.bincount(support[support >= 0])
        assert len(set(there.tolist())) == 1  # as many of each class
        assert set(query[query >= 0].tolist()) == set(range(len(there)))
        assert np.bincount(query[query >= 0]).tolist() == [2] * len(there)
        seen.add((len(there), int(there[0])))
    assert seen == {(way, shot) for way in (2, 3, 4) for shot in (1, 2, 3)}
    with pytest.raises(ValueError, match=r"has 12 examples and way=.* needs 8; give the source's"):
        mj.tasks.varied(whole, way=(2, 4), shot=(1, 2))
