"""The laws of a task source, each tried on every source."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metajax as mj
from metajax import checks
from metajax.data.invented_sentences import invented_sentences
from metajax.data.store import Pictures
from metajax.masks import exists
from metajax.tasks.scaled import Scaled
from metajax.trees import as_pytree

RAGGED = [np.arange(100 * c, 100 * c + 3 + c) for c in range(6)]
FAMILIES = (
    mj.tasks.families.lines(),
    mj.tasks.families.polynomials(3),
    mj.tasks.families.harmonics(2),
)
REGRESSION = mj.tasks.sinusoid(shot=4, query_shot=6)
CLASSIFICATION = mj.tasks.clusters(way=3, shot=2, query_shot=2, dimension=3)
INVENTED = invented_sentences(domains=2, intents=5, each=6, outside=0)
IDS = np.arange(60 * 4).reshape(60, 4)
DRAWINGS = np.full((3, 6, 5, 5), 255, np.uint8)
NOISE = np.random.default_rng(0).integers(256, size=(4, 6, 9, 8, 3), dtype=np.uint8)


def _folder(request) -> Path:
    named = os.environ.get("METAJAX_DATA")
    if not named:
        pytest.skip("METAJAX_DATA is not set; it names a folder that holds mnist/")
    return Path(named).absolute()


ROWS: dict[str, Callable] = {
    "sinusoid": lambda _: mj.tasks.sinusoid(shot=4, query_shot=6),
    "functions": lambda _: mj.tasks.functions(mj.tasks.families.mixture(FAMILIES), noise=0.1),
    "linear_gaussian": lambda _: mj.tasks.linear_gaussian(dimension=3),
    "gaussian_process": lambda _: mj.tasks.gaussian_process(shot=4),
    "glyphs": lambda _: mj.tasks.glyphs(way=3, shot=2, query_shot=1, size=12),
    "clusters": lambda _: mj.tasks.clusters(way=3, shot=2, query_shot=1),
    "episodes": lambda _: mj.tasks.episodes(NOISE / 255, way=3, shot=2, query_shot=2),
    "episodes of classes of different sizes": lambda _: mj.tasks.episodes(
        RAGGED, way=4, shot=2, query_shot=1
    ),
    "episodes whose queries are labelled by class": lambda _: mj.tasks.episodes(
        RAGGED, way=4, shot=2, query_shot=1, query_labels="class"
    ),
    "episodes within groups": lambda _: mj.tasks.episodes(
        RAGGED, way=2, shot=2, query_shot=1, groups=list("ababab")
    ),
    "episodes by label": lambda _: mj.tasks.episodes(
        np.arange(40), labels=list("abcdefgh") * 5, way=4, shot=2, query_shot=1
    ),
    "episodes with a transform": lambda _: mj.tasks.episodes(
        NOISE, way=3, shot=2, query_shot=2, transform=Scaled((0.5,), (0.2,))
    ),
    "sentences": lambda _: mj.tasks.sentences(INVENTED, IDS, way=3, shot=2, query_shot=2),
    "with_outside": lambda _: mj.tasks.with_outside(
        mj.tasks.sentences(INVENTED, IDS, way=3, shot=2, query_shot=2), -IDS[:9] - 1, 4
    ),
    "images": lambda _: mj.tasks.images(
        Pictures(list(NOISE), list("abcd")), way=3, shot=2, query_shot=2, size=8, channels=3
    ),
    "scenes": lambda _: mj.tasks.scenes(
        DRAWINGS, exemplars=2, queries=2, distractors=1, objects=(3, 3), side=16
    ),
    "varied": lambda _: mj.tasks.varied(CLASSIFICATION, way=(2, 3), shot=(1, 2)),
    "ragged": lambda _: mj.tasks.ragged(
        mj.Examples(np.arange(25.0), np.arange(25.0)[:, None]),
        [3, 12, 6, 4],
        support=(1, 4),
        query=5,
    ),
    "varied regression": lambda _: mj.tasks.varied(REGRESSION, way=(1, 1), shot=(1, 4)),
    "mixture": lambda _: mj.tasks.mixture(
        [mj.tasks.sinusoid(), mj.tasks.functions(FAMILIES[0]), mj.tasks.sinusoid()], [1, 2, 3]
    ),
    "omniglot": lambda request: mj.tasks.omniglot(
        shot=2, query_shot=2, distortion=0.1, data=request.getfixturevalue("omniglot_data")
    ),
    "mnist": lambda request: mj.tasks.mnist("val", shot=2, query_shot=2, data=_folder(request)),
    "fashion_mnist": lambda request: mj.tasks.fashion_mnist(
        "val", shot=2, query_shot=2, part="subset", data=_folder(request)
    ),
}
ELSEWHERE = {
    "cifar_fs": "tests/data/test_cifar.py",
    "batch": "draws from a source",
    "streamed": "tests/train/test_streaming.py",
}


def test_every_source_has_a_row():
    public = {name for name, thing in vars(mj.tasks).items() if inspect.isfunction(thing)}
    assert public - set(ELSEWHERE) <= set(ROWS)


@pytest.fixture(scope="module", params=ROWS.values(), ids=list(ROWS))
def make(request):
    """Makes the source anew."""
    return lambda: request.param(request)


@pytest.fixture(scope="module")
def sample(make):
    return make()


@jax.jit
def draw(sample, key):
    """The data of a source are an argument, and all laws share one program."""
    return sample(key)


def test_same_key_same_bits_under_jit_and_vmap(sample, key):
    task = sample(key)
    # The covariance of close points enlarges rounding, so that a Gaussian process needs the tolerance.
    chex.assert_trees_all_close(task, draw(sample, key), rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_equal(draw(sample, key), draw(sample, key))
    keys = jax.random.split(key, 3)
    mapped = jax.jit(lambda sample, keys: jax.vmap(sample)(keys))(sample, keys)
    for i in range(3):
        chex.assert_trees_all_close(
            jax.tree.map(lambda leaf, i=i: leaf[i], mapped),
            draw(sample, keys[i]),
            rtol=1e-5,
            atol=1e-5,
        )


def test_another_key_gives_another_task(sample, key):
    task, other = draw(sample, key), draw(sample, jax.random.fold_in(key, 1))
    assert not np.array_equal(task.support.x, other.support.x)
    chex.assert_trees_all_equal_shapes_and_dtypes(task, other)


def test_tasks_depend_on_the_key_by_their_program(sample):
    assert isinstance(checks.source("law", sample), mj.Task)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_support_and_query_never_share_an_example(sample, seed):
    task = draw(sample, jax.random.key(seed))
    support, query = (np.asarray(part.x)[np.asarray(exists(part))] for part in task)
    rows = [{row.tobytes() for row in part} for part in (support, query)]
    assert [len(part) for part in rows] == [len(support), len(query)]
    assert not rows[0] & rows[1]


def test_equal_settings_are_one_program_and_stack(make, key):
    traced = 0

    @jax.jit
    def counted(sample, key):
        nonlocal traced
        traced += 1
        return sample(key)

    first, second = make(), make()
    chex.assert_trees_all_equal(counted(first, key), counted(second, key))
    assert traced == 1
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert as_pytree(first) is first  # its data are arguments of a program, not constants
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), first, second)
    one = jax.tree.map(lambda leaf: leaf[1], both)
    chex.assert_trees_all_equal(draw(one, key), draw(first, key))


def test_an_equal_source_is_evaluated_without_compiling(key):
    learner = mj.nearest_neighbour(mj.pixels)
    traced = 0

    def predict(adapted, x):
        nonlocal traced
        traced += 1
        return learner.predict(adapted, x)

    counted = learner._replace(predict=predict)

    def score():
        sample = mj.tasks.images(list(NOISE), way=3, shot=2, query_shot=1, size=8, channels=3)
        return mj.evaluate(counted, (), sample, mj.accuracy, key=key, num_tasks=4).values

    first = score()
    after = traced
    np.testing.assert_array_equal(score(), first)
    assert traced == after > 0


def test_a_batch_is_what_predictions_sees(key):
    keys = jax.random.split(key, 3)
    drawn = mj.tasks.batch(CLASSIFICATION, key, 3)
    for i in range(3):
        task = jax.jit(CLASSIFICATION)(jax.random.split(keys[i])[0])
        chex.assert_trees_all_equal(jax.tree.map(lambda leaf, i=i: leaf[i], drawn), task)
    learner = mj.nearest_neighbour(mj.pixels)
    chex.assert_trees_all_equal(
        mj.predictions(learner, (), CLASSIFICATION, key=key, num_tasks=3),
        mj.predictions(learner, (), drawn),
    )
    with pytest.raises(ValueError, match="batch: num_tasks=0 must be an integer of at least 1"):
        mj.tasks.batch(CLASSIFICATION, key, 0)
