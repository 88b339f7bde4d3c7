"""The recipe of ratings: its tasks, its settings, and what it learns."""

import json
from dataclasses import fields
from typing import Any

import jax
import numpy as np
import pytest

import metajax as mj
from metajax import recipes
from metajax.cli import main as cli
from metajax.recipes.recommendation import inputs, prepared, report
from metajax.recipes.recommendation.learners import LEARNERS, Sizes
from metajax.recipes.recommendation.ratings import Ratings

SHRINKAGE = (1.0, 3.0, 3.0, 5.0, 0.0, 5.0, 1.0)


def quick(**options: Any) -> Ratings:
    width = {} if options.get("learner") in ("bias", "zero_step") else {"width": 4}
    return Ratings(shrinkage=SHRINKAGE, meta_batch=8, outer_steps=2, **width, **options)


@pytest.fixture(scope="module")
def built():
    return recipes.build(quick())


def test_training_tasks_leave_their_own_ratings_out(built):
    # With the target left out, the bias of the item is (total - own + strength prior) / (count - 1 + strength).
    p = built.prepared
    sample = inputs.training_tasks(p.ratings, p.split, p.known, id_dropout=0.0)
    for key in jax.random.split(jax.random.key(1), 5):
        task = sample(key)
        place = np.asarray(task.query.x["item"])[task.query.mask] - 1
        y = np.asarray(task.query.y)[task.query.mask][:, 0]
        stats = np.asarray(task.query.x["stats"])[task.query.mask]
        known = p.known
        # The user is the training user who gave these items these ratings.
        rated = p.known.mean + p.known.deviation * y
        rows = np.flatnonzero(p.split.train & (p.ratings.item == place[0]))
        users = [
            u
            for u in p.ratings.user[rows]
            if all(
                np.any(
                    (p.ratings.user == u)
                    & (p.ratings.item == i)
                    & (np.abs(p.ratings.rating - r) < 1e-3)
                )
                for i, r in zip(place, rated, strict=True)
            )
        ]
        own = [rated - known.mean - known.user_bias[u] for u in users]
        strength = known.shrinkage.content
        expected = [
            (known.total[place] - o + strength * known.prior[place])
            / (known.number[place] - 1 + strength)
            / known.deviation
            for o in own
        ]
        assert any(np.allclose(stats[:, 0], e, atol=1e-4) for e in expected)


def test_hidden_rows_look_like_new_items(built):
    p = built.prepared
    task = inputs.training_tasks(p.ratings, p.split, p.known, id_dropout=0.999999)(
        jax.random.key(0)
    )
    x = jax.tree.map(lambda leaf: np.asarray(leaf)[task.query.mask], task.query.x)
    assert (x["item"] == 0).all()
    np.testing.assert_allclose(x["stats"][:, 0], x["stats"][:, 1], rtol=1e-5)  # the prior alone
    np.testing.assert_allclose(x["stats"][:, 2:], [[0, 1, 1]] * len(x["item"]))


def test_a_learner_that_has_not_trained_is_the_bias_model(built):
    # Base + shrunk mean of what it leaves: the fair baseline.
    p = built.prepared
    for name in ("bias", "ridge"):
        experiment = recipes.build(quick(learner=name))
        x = experiment.train(jax.random.key(0)).support.x
        meta_params = experiment.learner.init(jax.random.key(0), x)
        if name == "ridge":  # of taste it has none yet
            variance = meta_params.log_variance.at[0].set(-99.0).at[2:].set(-99.0)
            meta_params = meta_params._replace(log_variance=variance)
        found = report.predicted(p, experiment.learner, meta_params)(p.split.test, 3)
        expected = report.BASELINES[report.FAIR](report.Setting(p.ratings, p.split, p.known))(
            p.split.test, 3
        )
        asked = ~np.isnan(p.split.test.query_rating)
        np.testing.assert_allclose(found[asked], expected[asked], atol=2e-3)


def test_no_setting_is_left_open_and_settings_rebuild_the_experiment():
    experiment = recipes.build(Ratings(outer_steps=2, meta_batch=2))
    made = experiment.settings
    assert {f.name for f in fields(made) if getattr(made, f.name) is None} == {"data"}
    values = json.loads(json.dumps(recipes.to_json(made), allow_nan=False))
    again = recipes.build(recipes.from_json(values.pop("recipe"), values))
    assert again.settings == made
    np.testing.assert_allclose(again.prepared.known.prior, experiment.prepared.known.prior)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_is_built_and_has_a_hypergradient(name, built):
    p, key = built.prepared, jax.random.key(0)
    learner = LEARNERS[name](Sizes(len(p.ratings.items), 4, 3.0))
    tasks = jax.eval_shape(jax.vmap(built.train), jax.random.split(key, 2))
    meta_params = jax.eval_shape(learner.init, key, jax.eval_shape(built.train, key).support.x)
    objective = mj.query_loss(learner, mj.mse)
    loss, gradient = jax.eval_shape(jax.value_and_grad(objective), meta_params, tasks, key)
    assert loss.shape == ()
    assert jax.tree.structure(gradient) == jax.tree.structure(meta_params)


def test_a_trained_learner_is_better_than_its_start(tmp_path):
    settings = Ratings(shrinkage=SHRINKAGE, outer_steps=100, meta_batch=32)
    experiment = recipes.build(settings)
    p, learner = experiment.prepared, experiment.learner
    state = mj.fit(
        learner, experiment.objective, experiment.optimizer, experiment.train,
        key=jax.random.key(0), outer_steps=100, meta_batch=32, show_progress=False,
    )  # fmt: skip
    start = learner.init(jax.random.key(0), experiment.train(jax.random.key(0)).support.x)
    before, after = (
        report.judge(p.ratings.scale, report.predicted(p, learner, m), p.split.test)
        for m in (start, state.meta_params)
    )
    # Invented users have tastes, of which ten ratings tell something.
    assert after.absolute[10].mean() < before.absolute[10].mean()


def test_train_evaluate_elsewhere_and_resume(tmp_path, capsys):
    folder = tmp_path / "run"

    def run(*arguments, status=0):
        with pytest.raises(SystemExit) as caught:
            cli.main([str(argument) for argument in arguments])
        assert caught.value.code == status
        return capsys.readouterr().out

    said = run(
        "train", "ratings", "--outer-steps", 4, "--report-every", 2, "--meta-batch", 4,
        "--shrinkage", *SHRINKAGE, "--learner", "bias", "--run-dir", folder,
    )  # fmt: skip
    for shown in ("mean absolute error", "nDCG@5", "bias + content", "user by user", "1 rating"):
        assert shown in said
    found = json.loads((folder / "evaluation.json").read_text())
    assert found["columns"] == ["1 rating", "3 ratings", "5 ratings", "10 ratings"]
    fair = found["tables"]["mean absolute error"]["bias + content"]["mean"]
    assert fair == sorted(fair, reverse=True)
    assert (folder / "plots" / "adaptation.png").read_bytes().startswith(b"\x89PNG")

    # Other ratings: the same invention with other names, in a file.
    other = tmp_path / "other.csv"
    ratings = prepared.invented_ratings(400, 100, seed=5)
    lines = zip(ratings.user, ratings.item, ratings.rating, strict=True)
    other.write_text("user,item,rating\n" + "".join(f"{u},{i},{r:g}\n" for u, i, r in lines))
    pytest.importorskip("polars")
    said = run("evaluate", folder, "--on", other)
    assert "bias on" in said
    assert "users of other, new_users" in said
    assert (folder / "evaluation-other.json").is_file()
    assert "frozen. Leave --num-tasks out" in run("evaluate", folder, "--num-tasks", 5, status=2)
    assert "Leave --way, --shot and" in run("evaluate", folder, "--shot", 5, status=2)
    assert "its own numbers of inner steps" in run("evaluate", folder, "--num-steps", 5, status=2)
    assert "evaluate: on='othr.csv' is neither a data set with ratings nor a file" in run(
        "evaluate", folder, "--on", "othr.csv", status=2
    )
    again = run("evaluate", folder, "--seed", 2)
    assert "bias + content" in again


REFUSED = [
    ({"learner": "ridg"}, "learner='ridg' is unknown; did you mean 'ridge'"),
    (
        {"data_set": "movietweeting"},
        "neither a data set with ratings nor a file. Did you mean 'movietweetings'",
    ),
    ({"scenario": "cross"}, r"target=\(\) must name a tag with scenario='cross'"),
    (
        {"scenario": "cross", "target": ("Horor",)},
        "target='Horor' is unknown; did you mean 'Horror'",
    ),
    ({"target": ("Horror",)}, r"target=\('Horror',\) has no effect with scenario='new_users'"),
    ({"support_from": "target"}, "support_from='target' has no effect with scenario='new_users'"),
    ({"supports": ()}, r"supports=\(\) must hold at least one number"),
    ({"supports": (0, 3)}, "supports=0 must be an integer of at least 1"),
    ({"min_ratings": 1}, "min_ratings=1 must be an integer of at least 2"),
    ({"width": 0}, "width=0 must be an integer of at least 1"),
    ({"learner": "bias", "ids": True}, "ids=True has no effect with learner='bias'"),
    ({"learner": "zero_step", "width": 8}, "width=8 has no effect with learner='zero_step'"),
    ({"min_ratings": 10**9}, "min_ratings=1000000000 leaves no user to train on; the most"),
    ({"outer_steps": 0}, "outer_steps=0 must be an integer of at least 1"),
    ({"outer_rate": -1.0}, r"outer_rate=-1\.0 must be a number above 0"),
    ({"id_dropout": 1.0}, "id_dropout=1 must be at least 0 and below 1"),
    ({"shrinkage": (1.0, 2.0)}, r"shrinkage=\(1.0, 2.0\) must be seven numbers"),
    (
        {"shrinkage": (0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0)},
        "must be seven numbers: item, user, content and ridge above 0",
    ),
    ({"loss": "cubed"}, "loss='cubed' is unknown"),
    ({"scenario": "old_users"}, "scenario='old_users' is unknown"),
]


@pytest.mark.parametrize("given, message", REFUSED)
def test_settings_that_cannot_work_are_refused(given, message):
    with pytest.raises(ValueError, match=f"ratings: .*{message}"):
        recipes.build(Ratings(**given))


def test_ratings_that_are_too_few_or_without_times_are_refused(tmp_path):
    pytest.importorskip("polars")
    file = tmp_path / "few.csv"
    file.write_text("user,item,rating\n1,a,3\n1,b,4\n2,a,5\n")
    with pytest.raises(ValueError, match="0 users of few have the 13 ratings that a task needs"):
        recipes.build(Ratings(data_set=str(file)))
    with pytest.raises(ValueError, match="split='time' needs times, but few has none"):
        recipes.build(Ratings(data_set=str(file), split="time"))
    with pytest.raises(
        ValueError, match="scenario='cross' needs items with tags, but few has none"
    ):
        recipes.build(Ratings(data_set=str(file), scenario="cross", target=("Horror",)))
    file.write_text("user,item,rating\n1,a,3\n2,a,3\n")
    with pytest.raises(
        ValueError, match="every rating of few is 3, so there is nothing to predict"
    ):
        recipes.build(Ratings(data_set=str(file)))
