"""The recipe of translation: runs that go on from others, reports, and settings it refuses."""

import json
import re
from dataclasses import replace
from typing import Any

import chex
import jax
import jax.numpy as jnp
import pytest

import metajax as mj
from metajax import recipes
from metajax.cli import main as cli
from metajax.metrics.bleu import chrf
from metajax.recipes import run as runs
from metajax.recipes.language.finetuning import fine_tuned
from metajax.recipes.language.translation import Translation
from metajax.recipes.language.translation_judge import SCRATCH, contenders
from metajax.recipes.language.translation_learners import network, tokens_per_step, tokens_read
from metajax.recipes.synthetic.sinusoid import Sinusoid

SMALL: dict[str, Any] = {
    "synthetic": True,
    "width": 8,
    "layers": 1,
    "pairs": (50,),
    "query": 2,
    "meta_batch": 1,
    "adapt_tokens": 2_000,
    "target_tokens": 2_000,
    "patience": 1,
}
INNER: dict[str, Any] = {"support": 4, "batches": 2, "num_steps": 3}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "base"
    settings = replace(Translation(**SMALL), target_tokens=1_000)
    experiment = recipes.build(settings)
    runs.train(experiment, experiment.settings, folder)
    return folder


def test_tokens_are_counted_by_hand(base):
    joint = recipes.build(Translation(**SMALL)).prepared
    rows = joint.train
    total, number = int((rows.packed.segment > 0).sum()), int(rows.numbers.sum())
    assert rows.tokens == pytest.approx(total / number)
    assert tokens_per_step(joint) == pytest.approx(2 * rows.tokens)
    for learner, expected in (("fomaml", 3 * 2 + 2), ("reptile", 3 * 2)):
        p = recipes.build(Translation(learner=learner, start=str(base), **SMALL, **INNER)).prepared
        assert tokens_per_step(p) == pytest.approx(expected * rows.tokens)
        assert tokens_read(p) == pytest.approx(2_000, abs=tokens_per_step(p))


@pytest.mark.parametrize("learner", ["fomaml", "reptile"])
def test_a_run_goes_on_from_joint_training(learner, base):
    experiment = recipes.build(Translation(learner=learner, start=str(base), **SMALL, **INNER))
    values = json.loads(json.dumps(recipes.to_json(experiment.settings)))
    again = recipes.build(recipes.from_json(values.pop("recipe"), values))
    assert again.settings == experiment.settings
    begin = mj.restore(base).meta_params
    first = again.learner.init(jax.random.key(5), None)
    for ours, theirs in zip(jax.tree.leaves(first), jax.tree.leaves(begin), strict=True):
        assert jnp.array_equal(ours, theirs)
    tasks = jax.tree.map(lambda leaf: leaf[None], jax.jit(experiment.train)(jax.random.key(0)))
    shapes = jax.eval_shape(jax.grad(experiment.objective), begin, tasks, jax.random.key(0))
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, begin)


def test_the_third_language_is_unseen_and_supports_are_nested():
    settings = replace(Translation(**SMALL), pairs=(50, 100), third="alpha")
    p = recipes.build(settings).prepared
    assert p.settings.languages == ("beta", "gamma")
    few, more = p.support(50), p.support(100)
    assert more.at(range(50)) == few
    sentences = set(p.pieces.decode(more.targets))
    assert sentences <= set(p.corpus.train["alpha"].targets)
    seen = {t for name in p.settings.languages for t in p.corpus.train[name].targets}
    assert not sentences & seen
    assert not set(p.test.targets) & (seen | sentences)


def test_the_report_has_every_row(base, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["evaluate", str(base), "--seed", "2"])
    assert caught.value.code == 0
    found = json.loads((base / "evaluation-synthetic.json").read_text())
    scores, above, beams, chrf = found["tables"].values()
    assert list(scores) == list(beams) == list(chrf) == ["joint", SCRATCH]
    difference = scores["joint"]["mean"][0] - scores[SCRATCH]["mean"][0]
    assert above[SCRATCH]["mean"][0] == pytest.approx(difference)
    out = capsys.readouterr().out
    assert "tok:13a" in out
    assert "95% interval, the middle of 1,000 bootstrap samples" in out
    assert "standard errors" not in out
    assert all(half > 0 for _, half in zip(*chrf["joint"].values(), strict=True))
    p = recipes.build(Translation(beside=(str(base),), **SMALL)).prepared
    others = contenders(p, None)
    assert list(others) == ["joint", "joint of base", SCRATCH]
    run: Any = mj.restore(base)
    start: Any = others["joint of base"]
    chex.assert_trees_all_equal(tuple(start), (run.meta_params, run.experiment.prepared.train))


def test_joint_training_helps_a_new_language():
    size: dict[str, Any] = {"width": 16, "query": 8, "outer_rate": 1e-2, "target_tokens": 40_000}
    e = recipes.build(replace(Translation(**SMALL), **size))
    state = mj.fit(
        e.learner,
        e.objective,
        e.optimizer,
        e.train,
        key=jax.random.key(0),
        outer_steps=e.settings.outer_steps,
        meta_batch=1,
        show_progress=False,
    )
    net, p = network(e.prepared), e.prepared
    how: dict[str, Any] = {"rates": (1e-2,), "most_tokens": 8_000, "patience": 5}
    how |= {"smoothing": 0.1, "word_dropout": 0.1}
    pairs = p.support(50)

    def quality(translations, references):
        return chrf(*map(p.pieces.decode, (translations, references)))

    def reached(start):
        return fine_tuned(net, start, pairs, quality=quality, length=64, seed=0, **how).quality

    assert reached(state.meta_params) > reached(net.init(jax.random.key(1))) + 8


def test_another_language_from_two_files(base, tmp_path):
    run: Any = mj.restore(base)
    p = run.experiment.prepared
    pairs = p.corpus.train["gamma"].at(range(80))
    source, target = tmp_path / "mine.nl", tmp_path / "mine.plain"
    source.write_text("\n".join(pairs.sources))
    target.write_text("\n".join(pairs.targets))
    found = run.experiment.on(str(source), None, None).judge(run.meta_params, 1)
    assert found.title.startswith("joint from nl to plain on 16 sentences of mine")
    assert list(found.tables[0].rows) == ["joint", SCRATCH]
    with pytest.raises(ValueError, match=r"must be the file of sentences in the other language"):
        run.experiment.on(str(target), None, None)
    target.write_text("\n".join(pairs.targets[:-1]))
    with pytest.raises(ValueError, match=r"mine.nl: line 80 has no translation"):
        run.experiment.on(str(source), None, None)
    source.write_text(f"{pairs.sources[0]}\n{pairs.sources[1]}\n")
    target.write_text(f"{pairs.targets[0]}\n{' '.join([pairs.targets[1].split()[0]] * 64)}\n")
    with pytest.raises(ValueError, match=r"mine.plain: line 2 has 64 tokens, but length=64 takes"):
        run.experiment.on(str(source), None, None)
    target.write_text("\n".join(pairs.targets[:2]))
    with pytest.raises(ValueError, match=r"has 2 pairs, of which 2 are to adapt on"):
        run.experiment.on(str(source), None, None)
    source.write_text("hello\n")
    target.write_text("world\n")
    with pytest.raises(ValueError, match="'hello' is no word of these languages"):
        run.experiment.on(str(source), None, None)


WRONG = {
    "translation: learner='fomaml' goes on from joint training": {"learner": "fomaml"},
    "translation: num_steps=3 has no effect with learner='joint'": {"num_steps": 3},
    "support=5 does not divide evenly into batches=2": {
        "learner": "reptile", "support": 5, "batches": 2, "start": "somewhere",
    },
    "translation: pairs=(0, 50) must be numbers above 0": {"pairs": (0, 50)},
    "translation: pairs=(30, 50) must be at least 40 each": {"pairs": (30, 50)},
    "translation: vocabulary=7 has no effect with data_set='synthetic'": {"vocabulary": 7},
    "translation: smoothing=1 must be from 0 to below 1": {"smoothing": 1.0},
    "translation: dropout=1 must be from 0 to below 1": {"dropout": 1.0},
    "did you mean 'gamma'?": {"third": "gama"},
    "pairs=5000, but synthetic has 3000 training pairs of 'gamma'": {"pairs": (5_000,)},
    "length=8 takes 1 to 7": {"length": 8},
    "must be a multiple of 2 * heads=8": {"width": 9},
    "somewhere: there is no settings.json": {"start": "somewhere"},
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_settings_that_cannot_work(message):
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        recipes.build(replace(Translation(**SMALL), **WRONG[message]))


def test_runs_that_do_not_fit(base, tmp_path):
    with pytest.raises(ValueError, match=r"has width=8, but this run has 16. Make them equal"):
        recipes.build(replace(Translation(**SMALL), start=str(base), width=16))
    with pytest.raises(ValueError, match=r"target_tokens=500 are used up, because start="):
        recipes.build(replace(Translation(**SMALL), start=str(base), target_tokens=500))
    settings = Sinusoid(outer_steps=1, meta_batch=1)
    runs.train(recipes.build(settings), settings, tmp_path / "sine")
    with pytest.raises(ValueError, match="was not made by `metajax train translation`"):
        recipes.build(replace(Translation(**SMALL), beside=(str(tmp_path / "sine"),)))
