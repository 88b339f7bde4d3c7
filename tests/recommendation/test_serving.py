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
from metajax.recipes.recommendation.learners import LEARNERS, Sizes
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
    "line 3 is of user 'u2', and those before of 'u1'": "user,item,rating\nu1,A,5\nu2,B,6\n",
    "line 2 has 1 fields, but the header has 3": "user,item,rating\n1\n",
    "is empty; give a file of ratings": "\n",
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


def test_the_picture_shows_places_and_predicted_ratings(run):
    experiment = run.experiment
    p, learner = experiment.prepared, experiment.learner
    user = picture.lists_of(p, learner, run.meta_params, 0)
    assert user.steps == (0, 1, 3, 5, 10)
    assert len(user.given) == 10
    for row in user.places:
        assert sorted(row.tolist()) == list(range(len(p.ratings.items)))
    # The list and its ratings are those that this user would be served.
    tasks = p.split.test
    given = {
        p.ratings.items[i]: float(r)
        for i, r in zip(tasks.support_item[0], tasks.support_rating[0], strict=True)
    }
    served = mj.recommend(run, given, top=len(p.ratings.items))
    first = int(np.argmin(user.places[-1]))
    place = served.titles.index(p.ratings.titles[first])
    assert user.predicted[-1, first] == pytest.approx(served.ratings[place], abs=1e-4)
    figure = picture.lists(p, learner, run.meta_params, task=0)
    drawn = {text.get_text() for text in figure.axes[0].texts}
    assert {p.ratings.titles[first], f"{user.predicted[-1, first]:.1f}"} <= drawn
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels[0] == "0 ratings"
    assert labels[1].startswith("1 rating\n")
    assert labels[4].count("\n") == 5


def test_the_picture_says_when_a_list_is_the_same_for_all(run):
    p = run.experiment.prepared
    learner = LEARNERS["bias"](Sizes(len(p.ratings.items), 4, 3.0))
    meta_params = learner.init(jax.random.key(0), run.experiment.train(jax.random.key(0)).support.x)
    title = picture.lists(p, learner, meta_params).axes[0].get_title()
    assert "the same before and after 10 ratings, for each of 12 users" in title


def test_items_with_few_ratings_are_left_out_on_request(run):
    known = run.experiment.prepared.known
    most = int(np.sort(known.number)[-5])
    found = mj.recommend(run, {}, top=len(known.number), least=most)
    assert len(found.items) == int((known.number >= most).sum())
    assert found.numbers.min() == most
    with pytest.raises(ValueError, match="recommend: least=1000000 is more than any item has"):
        mj.recommend(run, {}, least=1_000_000)


OWN = {
    "no header": b"A,5\nB,6\n",
    "another order": b"rating,title\n5,A\n6,B\n",
    "more columns": b"item;when;score\nA;1;5\nB;2;6\n",
    "tabs, a mark and an empty line": b"\xef\xbb\xbfitem\trating\r\nA\t5\r\n\r\nB\t6\r\n",
    "spaces": b"item, rating\nA, 5\n B , 6\n",
}


@pytest.mark.parametrize("name", OWN)
def test_own_ratings_as_people_write_them(name, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_bytes(OWN[name])
    assert read_own(file) == {"A": "5", "B": "6"}
