"""Statistics and baselines against arithmetic on paper and scikit-surprise."""

import os
from functools import partial

import numpy as np
import pytest

from metajax.data import movietweetings
from metajax.data.invented_ratings import invented_ratings
from metajax.data.ratings import Item, assembled
from metajax.recipes.recommendation.baselines import BASELINES, FAIR
from metajax.recipes.recommendation.factors import factorised, folded
from metajax.recipes.recommendation.fair import fair_prediction, tuned
from metajax.recipes.recommendation.frozen import Frozen
from metajax.recipes.recommendation.judge import absolute_error, judge
from metajax.recipes.recommendation.setting import Setting
from metajax.recipes.recommendation.split import Split, split
from metajax.recipes.recommendation.statistics import Shrinkage, statistics

POOL = 10
RATINGS = invented_ratings(600, 120)
PARTS = split(RATINGS, "new_users")


def tiny():
    """Users 0 and 1 rate items 0 and 1; item 2 has no rating, and items 1 and 2 are alike."""
    columns = {
        "user": np.array([0, 0, 1]),
        "item": np.array([0, 1, 0]),
        "rating": np.array([8.0, 4.0, 6.0]),
    }
    items = ["a", "b", "c"]
    known = {"a": Item("A"), "b": Item("B", ("x",)), "c": Item("C", ("x",))}
    return assembled("tiny", columns, ["u", "v"], items, known, (0.0, 10.0))


def one_task(support_item, support_rating, query_item, query_rating, user=0) -> Frozen:
    def row(values, length, fill):
        return np.array([list(values) + [fill] * (length - len(values))])

    return Frozen(
        np.array([user]),
        row(support_item, POOL, 0),
        row(support_rating, POOL, np.nan),
        row(query_item, 4, 0),
        row(query_rating, 4, np.nan),
    )


def a_split(ratings, tasks, own=False) -> Split:
    new = np.zeros(len(ratings.items), bool)
    return Split(
        np.ones(len(ratings.rating), bool),
        new,
        *(tasks, tasks, tasks, tasks),
        supports=(1, 3, 5, 10),
        trained=np.full(len(ratings.users), own),
    )


def test_biases_are_the_minimum_of_the_regularised_squares():
    # Alternating means solve the normal equations of sum (r - mu - bu - bi)^2 + 2 bu^2 + 3 bi^2.
    known = statistics(RATINGS, PARTS.train, Shrinkage(3.0, 2.0, 1.0))
    user, item, rating = (x[PARTS.train] for x in (RATINGS.user, RATINGS.item, RATINGS.rating))
    item_bias = known.plain_bias()
    left = rating - rating.mean() - known.user_bias[user] - item_bias[item]
    for index, bias, strength in ((user, known.user_bias, 2.0), (item, item_bias, 3.0)):
        gradient = np.bincount(index, left, minlength=len(bias)) - strength * bias
        assert np.abs(gradient).max() < 0.05 * np.bincount(index).max()


def test_a_fair_prediction_by_hand():
    # With everything shrunk to nothing but the mean of 6: item a has 2 ratings of sum +2, user biases 0.
    ratings = tiny()
    known = statistics(ratings, np.ones(3, bool), Shrinkage(1e9, 1e9, 2.0, 1e9, 0.0, 1e9, 0.0))
    assert known.mean == 6
    np.testing.assert_allclose(known.total, [2, -2, 0], atol=1e-6)
    # Without features that matter, the prior is the mean of the items' means +1 and -2, weighed alike.
    np.testing.assert_allclose(known.prior, np.average([1, -2], weights=[2, 1]), atol=1e-6)
    known = known._replace(
        prior=np.zeros(3), new_prior=np.zeros(3), shrinkage=known.shrinkage._replace(user=1.0)
    )
    # Item biases 2 / (2 + 2), -2 / (1 + 2), 0; a rating of 9 for a leaves 2.5, and half of it is the bias.
    tasks = one_task([0], [9.0], [1, 2], [5.0, 5.0])
    found = fair_prediction(known, a_split(ratings, tasks), tasks, 1)
    np.testing.assert_allclose(found[0, :2], [6 - 2 / 3 + 1.25, 6 + 1.25], rtol=1e-6)
    # A training user's own rating of 8 for a is left out of the statistics: (2 - 2) / (1 + 2).
    tasks = one_task([0], [8.0], [1], [5.0])
    found = fair_prediction(known, a_split(ratings, tasks, own=True), tasks, 1)
    np.testing.assert_allclose(found[0, 0], 6 - 2 / 3 + (8 - 6 - 0) / 2, rtol=1e-6)


def test_raw_means_by_hand():
    ratings = tiny()
    known = statistics(ratings, np.ones(3, bool), Shrinkage(1.0, 1.0, 1.0))
    tasks = one_task([0, 1], [9.0, 3.0], [0, 2], [5.0, 5.0])
    setting = Setting(ratings, a_split(ratings, tasks), known)

    def of(name, k):
        return BASELINES[name](setting)(tasks, k)[0, :2]

    np.testing.assert_allclose(of("global mean", 1), [6, 6])
    np.testing.assert_allclose(of("item mean", 1), [7, 6])  # no rating: the mean
    np.testing.assert_allclose(of("user mean", 1), [9, 9])
    np.testing.assert_allclose(of("user mean", 2), [6, 6])
    np.testing.assert_allclose(of("user + item mean", 2), [7, 6])


def test_users_are_averaged_over_draws_before_the_interval():
    # One user is off by 1 and 3 in two draws, another by 2 in one: means 2 and 2, without a deviation.
    tasks = Frozen(
        np.array([5, 5, 9]),
        np.zeros((3, POOL), int),
        np.zeros((3, POOL)),
        np.zeros((3, 3), int),
        np.array([[4.0, 4.0, np.nan], [6.0, 6.0, np.nan], [5.0, 5.0, 5.0]]),
    )
    found = judge((0.0, 10.0), lambda tasks, k: np.full((3, 3), 3.0), tasks)
    assert found.absolute[1].tolist() == [2.0, 2.0]
    assert float(found.mae(3).interval) == 0
    assert found.squared[1].tolist() == [(1 + 9) / 2, 4.0]
    assert found.rmse(1)[0] == pytest.approx(np.sqrt((5 + 4) / 2))
    # Predictions are cut to the scale.
    cut = judge((0.0, 10.0), lambda tasks, k: np.full((3, 3), 99.0), tasks)
    assert cut.absolute[1].tolist() == [(6 + 4) / 2, 5.0]


@pytest.mark.parametrize("scenario", ["new_users", "both", "new_items", "cross"])
def test_users_and_items_of_tests_are_new(scenario):
    target = RATINGS.features[:, 4] > 0 if scenario == "cross" else None
    parts = split(RATINGS, scenario, target=target, seed=3)
    users = set(RATINGS.user[parts.train].tolist())
    items = set(RATINGS.item[parts.train].tolist())
    new = set(np.flatnonzero(parts.new).tolist())
    assert not items & new
    for tasks in (parts.val, parts.test):
        asked = ~np.isnan(tasks.query_rating)
        given = ~np.isnan(tasks.support_rating)
        assert given.all()
        # Every rating of a task is one of the table, and no query is a support rating.
        table = {
            (u, i): r
            for u, i, r in zip(RATINGS.user, RATINGS.item, RATINGS.rating.tolist(), strict=True)
        }
        for n, user in enumerate(tasks.user):
            assert all(
                table[user, i] == r
                for i, r in zip(
                    tasks.query_item[n][asked[n]], tasks.query_rating[n][asked[n]], strict=True
                )
            )
            assert not set(tasks.query_item[n][asked[n]]) & set(tasks.support_item[n][given[n]])
        assert (set(tasks.user.tolist()) <= users) == (scenario == "new_items")
        assert set(tasks.query_item[asked].tolist()) <= (items if scenario == "new_users" else new)
        assert set(tasks.support_item[given].tolist()) <= items
    assert not set(parts.val.user.tolist()) & set(parts.test.user.tolist())


def test_statistics_are_the_same_whoever_is_asked_for_what():
    # Tuning takes the same validation users, who have no training rating, in all three scenarios.
    error = partial(absolute_error, RATINGS.scale)
    found = [
        tuned(RATINGS, split(RATINGS, scenario), error).shrinkage
        for scenario in ("new_users", "both", "new_items")
    ]
    assert found[0] == found[1] == found[2]


def test_both_kinds_of_support_across_domains_have_the_same_queries():
    target = RATINGS.features[:, 4] > 0
    source, own = (
        split(RATINGS, "cross", target=target, support_from=kind).test
        for kind in ("source", "target")
    )
    np.testing.assert_array_equal(source.query_item, own.query_item)
    assert target[own.support_item].all()
    assert not target[source.support_item].any()


def test_supports_by_time_are_the_earliest():
    assert RATINGS.time is not None
    parts = split(RATINGS, "new_users", by_time=True)
    when = {
        (u, i): t for u, i, t in zip(RATINGS.user, RATINGS.item, RATINGS.time.tolist(), strict=True)
    }
    for n, user in enumerate(parts.test.user):
        given = [when[user, i] for i in parts.test.support_item[n]]
        asked = [
            when[user, i]
            for i, r in zip(parts.test.query_item[n], parts.test.query_rating[n], strict=True)
            if not np.isnan(r)
        ]
        assert given == sorted(given)
        assert given[-1] < min(asked)


def test_baselines_are_in_the_order_that_the_invention_asks_for():
    known = tuned(RATINGS, PARTS, partial(absolute_error, RATINGS.scale))
    setting = Setting(RATINGS, PARTS, known)
    error = {
        name: float(judge(RATINGS.scale, fit(setting), PARTS.test).mae(5).mean)
        for name, fit in BASELINES.items()
    }
    assert error[FAIR] < error["user + item mean"] < error["user mean"]
    assert error[FAIR] < error["item bias + content"] < error["global mean"]
    assert error["user mean, shrunk"] < error["user mean"]


def trainset(surprise, user, item, rating):
    rows = [(u, i, float(r), None) for u, i, r in zip(user, item, rating, strict=True)]
    reader = surprise.Reader(rating_scale=(-10, 10))
    return surprise.Dataset(reader).construct_trainset(rows)


def test_surprise_agrees_on_the_biases():
    surprise = pytest.importorskip("surprise")
    user, item, rating = (x[PARTS.train] for x in (RATINGS.user, RATINGS.item, RATINGS.rating))
    train = trainset(surprise, user, item, rating)
    model = surprise.BaselineOnly(
        {"method": "als", "reg_i": 3, "reg_u": 2, "n_epochs": 8}, verbose=False
    )
    model.fit(train)
    known = statistics(RATINGS, PARTS.train, Shrinkage(3.0, 2.0, 1.0))
    for name, ours, theirs, inner in (
        ("user", known.user_bias, model.bu, train.to_inner_uid),
        ("item", known.total / (known.number + 3.0), model.bi, train.to_inner_iid),
    ):
        present = np.unique({"user": user, "item": item}[name])
        expected = [theirs[inner(one)] for one in present]
        # The sums of items are taken with the user biases of the last round, theirs with those before it.
        np.testing.assert_allclose(ours[present], expected, atol=2e-3, err_msg=name)


def test_surprise_agrees_on_what_factors_add():
    # Two ways to factorise: alternating least squares here, gradient descent there; on invented ratings
    # with three factors both must explain training ratings beyond the biases, to a similar degree.
    surprise = pytest.importorskip("surprise")
    known = statistics(RATINGS, PARTS.train, Shrinkage(3.0, 2.0, 1.0))
    setting = Setting(RATINGS, PARTS, known)
    user, item, left = setting.training()
    factors = factorised(setting, 3, 2.0, rounds=30)
    train = trainset(surprise, user, item, left)
    model = surprise.SVD(3, n_epochs=200, biased=False, lr_all=0.01, reg_all=0.1, random_state=0)
    model.fit(train)
    theirs = np.stack([model.qi[train.to_inner_iid(i)] for i in np.unique(item)])
    ours = factors[np.unique(item)]
    # The two spaces of item factors agree: cosines of the principal angles between them.
    cosines = np.linalg.svd(np.linalg.qr(ours)[0].T @ np.linalg.qr(theirs)[0], compute_uv=False)
    assert cosines[:2].min() > 0.8


def test_folding_in_by_hand():
    # One factor: items a and b have 1 and 2; a leaves (9 - fair) and the taste is left / (1 + strength).
    ratings = tiny()
    known = statistics(ratings, np.ones(3, bool), Shrinkage(1.0, 1.0, 1.0))
    tasks = one_task([0], [9.0], [1], [5.0])
    setting = Setting(ratings, a_split(ratings, tasks), known)
    left, fair = setting.left(tasks, 1)
    found = folded(setting, np.array([[1.0], [2.0], [0.0]]), 3.0, tasks, 1)
    assert found[0, 0] == pytest.approx(fair[0, 0] + 2 * left[0, 0] / 4)


def test_the_films_give_the_known_errors():
    named = os.environ.get("METAJAX_DATA")
    if not named:
        pytest.skip("METAJAX_DATA is not set; it names a folder that holds movietweetings/")
    pytest.importorskip("polars")
    ratings = movietweetings.load(named)
    parts = split(ratings, "new_users")
    assert (int(parts.train.sum()), len(np.unique(parts.test.user))) == (65_781, 297)
    known = statistics(ratings, parts.train, Shrinkage(1.0, 2.0, 3.0))
    found = judge(ratings.scale, partial(fair_prediction, known, parts), parts.test)
    measured = [float(found.mae(k).mean) for k in (1, 3, 5, 10)]
    assert measured == pytest.approx([1.163, 1.117, 1.094, 1.075], abs=0.01)
    setting = Setting(ratings, parts, known)
    raw = judge(ratings.scale, BASELINES["user + item mean"](setting), parts.test)
    assert float(raw.mae(3).mean) == pytest.approx(1.301, abs=0.002)
