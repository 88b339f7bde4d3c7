"""Lists for a new user, and the mistakes of those who ask for one."""

import re
from typing import Any

import jax
import numpy as np
import pytest

import metajax as mj
from metajax import recipes
from metajax.cli import main as cli
from metajax.recipes import run as runs
from metajax.recipes.recommendation import inputs, picture
from metajax.recipes.recommendation.own import place_of, read_own
from metajax.recipes.recommendation.ratings import Ratings
from metajax.recipes.synthetic.sinusoid import Sinusoid


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "ridge"
    settings = Ratings(
        shrinkage=(1.0, 3.0, 3.0, 5.0, 0.0, 5.0, 1.0), outer_steps=2, meta_batch=4, width=4
    )
    runs.train(recipes.build(settings), settings, folder)
    return folder


@pytest.fixture(scope="module")
def run(folder):
    return mj.restore(folder)


def titles(run, number=3):
    return list(run.experiment.prepared.ratings.titles[:number])


def test_a_list_is_that_of_the_learner(run):
    p = run.experiment.prepared
    given = dict(zip(titles(run), [9.0, 2.0, 7.0], strict=True))
    found = mj.recommend(run, given, top=5)
    # The same from the parts, without padding.
    items = inputs.table(p.ratings, p.known)
    place = np.arange(len(p.ratings.items))
    x = inputs.described(items, place, items.total, items.number, np.ones(len(place), bool))
    y = (np.array([[9.0], [2.0], [7.0]]) - p.known.mean) / p.known.deviation
    support = mj.Examples(jax.tree.map(lambda leaf: leaf[:3], x), y.astype(np.float32))
    adapted = run.learner.adapt(run.meta_params, support, jax.random.key(0))
    predicted = np.array(run.learner.predict(adapted, x)[:, 0])
    order = [i for i in np.argsort(-predicted) if i > 2][:5]
    assert found.items == tuple(p.ratings.items[i] for i in order)
    expected = np.clip(p.known.mean + p.known.deviation * predicted[order], 0, 10)
    np.testing.assert_allclose(found.ratings, expected, rtol=1e-4)
    assert found.rated == tuple(titles(run))
    assert found.seconds > 0
    assert run.learner.predict(found.adapted, x).shape == (len(place), 1)


def test_rated_items_are_left_out_and_many_ratings_serve(run):
    p = run.experiment.prepared
    everything = mj.recommend(run, {}, top=len(p.ratings.items))
    assert len(everything.items) == len(p.ratings.items)
    assert list(everything.ratings) == sorted(everything.ratings, reverse=True)
    best = everything.titles[:25]
    found = mj.recommend(run, dict.fromkeys(best, 5.0), top=len(p.ratings.items))
    assert len(found.items) == len(p.ratings.items) - 25
    assert not set(best) & set(found.titles)


def test_items_are_found_by_identifier_title_and_title_without_year(run):
    ratings = run.experiment.prepared.ratings
    ratings = ratings._replace(
        items=["tt1", "tt2", "tt3"], titles=["Emma (1996)", "Emma (2020)", "Alien (1979)"]
    )
    assert [place_of(ratings, name) for name in ("tt2", "emma (1996)", "ALIEN")] == [1, 0, 2]
    with pytest.raises(
        ValueError, match=r"'Emma' is the title of several items: Emma \(1996\) = tt1"
    ):
        place_of(ratings, "Emma")
    with pytest.raises(
        ValueError, match=r"'Alein' is unknown in .* Did you mean 'Alien \(1979\)'\?"
    ):
        place_of(ratings, "Alein")


def wrong(value: Any) -> Any:
    return value


def test_what_cannot_be_served_is_refused(run):
    title = titles(run)[0]
    identifier = run.experiment.prepared.ratings.items[0]
    near = title[:-1] + "q"
    for given, message in (
        ({near: 5.0}, f"recommend: {near!r} is unknown in synthetic. Did you mean {title!r}"),
        ({title: 11.0}, "is rated 11.0; a rating must be a number from 0 to 10"),
        ({title: float("nan")}, "is rated nan; a rating must be a number"),
        ({title: "good"}, "is rated 'good'; a rating must be a number"),
        ({title: 5.0, identifier: 6.0}, "recommend: ratings hold one item twice"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            mj.recommend(run, wrong(given))
    with pytest.raises(ValueError, match="recommend: top=0 must be an integer of at least 1"):
        mj.recommend(run, {}, top=0)
    other = runs.Run(recipes.build(Sinusoid()), run.learner, (), 1, None)
    with pytest.raises(ValueError, match="the run was not made by `metajax train ratings`"):
        mj.recommend(other, {})


FILES = {
    "line 2 has 3 fields, but item,rating are 2. Quote a title": "item,rating\nA, B,5\n",
    "line 3 rates 'A' again": "item,rating\nA,5\nA,6\n",
}


@pytest.mark.parametrize("message", FILES)
def test_files_of_own_ratings_that_cannot_be_read(message, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text(FILES[message])
    with pytest.raises(ValueError, match=message):
        read_own(file)
    with pytest.raises(
        FileNotFoundError, match=r"none\.csv is no file; give one of lines item,rating"
    ):
        read_own(tmp_path / "none.csv")


def test_the_command(folder, run, tmp_path, capsys):
    first, second = titles(run, 2)
    file = tmp_path / "mine.csv"
    file.write_text(f'item,rating\n"{first}",9\n{second},3\n')

    def command(*arguments, status=0):
        with pytest.raises(SystemExit) as caught:
            cli.main(["recommend", str(folder), "--ratings", *map(str, arguments)])
        assert caught.value.code == status
        return capsys.readouterr().out

    said = command(file, "--top", 4)
    assert "After 2 ratings" in said
    assert f"Rated, and left out: {first}, {second}" in said
    assert re.search(r"ranking all items took \d+\.\d ms", said)
    found = mj.recommend(run, {first: 9.0, second: 3.0}, top=4)
    for title in found.titles:
        assert title in said
    file.write_text("item,rating\nThe Silent Harbor,9\n")
    said = command(file, status=2)
    assert "Did you mean 'The Silent Harbour'" in said


def test_the_picture_shows_the_places_of_the_list(run):
    experiment = run.experiment
    p, learner = experiment.prepared, experiment.learner
    places, said = picture.ranks(p, learner, run.meta_params, 0)
    assert len(said) == 10
    assert places.shape == (5, len(p.ratings.items))
    for row in places:
        assert sorted(row.tolist()) == list(range(len(row)))
    figure = picture.lists(p, learner, run.meta_params)
    drawn = {text.get_text() for text in figure.axes[0].texts}
    first = p.ratings.titles[int(np.argmin(places[-1]))]
    assert first in drawn
