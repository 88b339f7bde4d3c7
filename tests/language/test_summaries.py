"""Styles, the scorers of sentences, and the recipe of summaries."""

import itertools
import json
import re
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj
from metajax import recipes
from metajax.cli import main as cli
from metajax.data.documents import Document
from metajax.recipes import run as runs
from metajax.recipes.language import rouge_rows as rouge_table
from metajax.recipes.language import style_scores, styles, summary_baselines, summary_report
from metajax.recipes.language.choice_model import fitted, scores_of
from metajax.recipes.language.documents import best_sentences, oracle, table
from metajax.recipes.language.rouge_rows import ORACLE, rouge_rows
from metajax.recipes.language.scorers import Found, choice_loss
from metajax.recipes.language.sentence_features import NAMES, reading, statistics
from metajax.recipes.language.styles import log_likelihood, utilities
from metajax.recipes.language.summaries import Summaries
from metajax.recipes.language.summary_baselines import NOT_ADAPTED, RULES, SCRATCH
from metajax.recipes.synthetic.sinusoid import Sinusoid
from metajax.types import Examples, Task

DOCUMENTS = (
    Document(
        ("Cats sleep.", "We propose cats that run.", "They win 3 games."), (), "Cats that run"
    ),
    Document(("Dogs bark.", "However, dogs are hard."), ("dogs are hard",), "Dogs"),
)
SMALL: dict[str, Any] = {"outer_steps": 2, "meta_batch": 2, "width": 4, "vocabulary": 50}


@pytest.fixture(autouse=True)
def few_tasks(monkeypatch):
    monkeypatch.setattr(style_scores, "TASKS", 100)
    monkeypatch.setattr(styles, "PARTICLES", 256)
    monkeypatch.setattr(summary_baselines, "VALIDATION", 50)
    monkeypatch.setattr(summary_baselines, "POOLED", 100)
    monkeypatch.setattr(summary_baselines, "STRENGTHS", (1.0, 10.0))
    monkeypatch.setattr(rouge_table, "DRAWS", 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "anil"
    settings = Summaries(learner="anil", **SMALL)
    runs.train(recipes.build(settings), settings, folder)
    return folder


@pytest.fixture(scope="module")
def run(folder):
    return mj.restore(folder)


@pytest.fixture(scope="module")
def p():
    return recipes.build(Summaries(**SMALL)).prepared


def test_statistics_by_hand():
    how = reading(DOCUMENTS, 5)._replace(mean=np.zeros(len(NAMES)), deviation=np.ones(len(NAMES)))
    columns = dict(zip(NAMES, statistics(DOCUMENTS[0], how).T, strict=True))
    assert columns["position"].tolist() == [0, 0.5, 1]
    assert columns["last"].tolist() == [0, 0, 1]
    assert columns["length"].tolist() == pytest.approx(np.log1p([2, 5, 4]))
    assert columns["digits"].tolist() == [0, 0, 1]
    assert columns["contribution"].tolist() == columns["rule"].tolist() == [0, 1, 0]
    # "cat", "that" and "run" of the title are in the second sentence, "cat" in the first.
    assert 1 > columns["title"][1] > columns["title"][0] > columns["title"][2] == 0


def test_words_of_test_documents_are_not_read_into_the_weights():
    how = reading(DOCUMENTS[:1], 100)
    assert "bark" not in how.idf
    assert "we propos" in how.place


def test_the_oracle_and_labels():
    document = Document(("a b.", "c d e.", "x y."), ("a b c d e",))
    assert oracle(document, 1) == [1]
    assert oracle(document, 3) == [0, 1]  # a third one would lower the score
    read = table([document, DOCUMENTS[0]], reading(DOCUMENTS, 5), 3)
    assert read.labels[0, :3].tolist() == [0.5, 0.5, 0]
    assert read.labels[1].sum() == 0  # no summary
    assert read.exists.sum(axis=1).tolist() == [3, 3]


def test_sentences_that_do_not_exist_are_never_chosen():
    assert best_sentences(np.array([[-1e9, 0.0, -1e9]]), 2) == [[1]]


def test_a_set_is_as_likely_as_all_orders_of_choosing_it():
    # With probabilities 1/2, 1/4, 1/4: 1/2 * 1/2 for (0, 1), and 1/4 * 2/3 for (1, 0).
    utility = jnp.log(jnp.array([[2.0, 1.0, 1.0]]))
    found = log_likelihood(utility, jnp.array([[0.5, 0.5, 0.0]]), 2)
    assert float(jnp.exp(found[0])) == pytest.approx(1 / 4 + 1 / 6)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_probability_of_being_among_the_chosen(number):
    utility = jnp.array([[2.0, 0.0, -1.0, 1.0, -1e9]])
    found = styles.inclusion(utility, number)
    sets = [list(own) for own in itertools.combinations(range(4), number)]
    labels = jax.nn.one_hot(jnp.array(sets), 5).sum(axis=1)
    odds = jnp.exp(log_likelihood(jnp.repeat(utility, len(sets), axis=0), labels, number))
    np.testing.assert_allclose(found[0], odds @ labels, atol=1e-6)
    assert float(found.sum()) == pytest.approx(number)


def test_documents_that_were_seen_or_are_cut_are_told(run, tmp_path, monkeypatch):
    said = {}
    monkeypatch.setattr(summary_report, "judged", lambda p, *rest: said.update(p=rest[-1]))
    run.experiment.on("synthetic", None, None).judge(run.meta_params, 1)
    corpus, whole = said["p"].corpus, run.experiment.prepared.corpus
    assert corpus.test == whole.test
    assert (
        "documents are left out, because the run was trained or validated on them"
        in corpus.notes[-1]
    )
    rows = [
        {"document": [f"Sentence {i} of {j}." for i in range(30)], "summary": "x"}
        for j in range(25)
    ]
    path = tmp_path / "long.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    run.experiment.on(str(path), None, None).judge(run.meta_params, 1)
    assert (
        said["p"]
        .corpus.notes[-1]
        .startswith("25 of 25 documents of long have more than 24 sentences")
    )
    path.write_text(
        "\n".join(map(json.dumps, [*rows[:-1], {"document": "None here. At all. Ever."}]))
    )
    with pytest.raises(ValueError, match="1 of 25 documents of long have no summary, such as"):
        recipes.build(Summaries(data_set=str(path), shot=1, query=1, **SMALL))


def test_styles_choose_what_they_prefer(p):
    drawn = style_scores.style_tasks(p)
    y, x = drawn.task.query.y, drawn.task.query.x
    assert jnp.allclose(y.sum(axis=-1), 1)
    assert bool((jnp.where(y > 0, x["exists"], True)).all())
    # Labels are draws of a softmax, so they are found as often as the softmax says.
    utility = jax.vmap(utilities)(drawn.weights, x)
    best = jax.nn.softmax(utility).max(axis=-1)
    found = Found(1)(utility, y)
    assert float(found.mean()) == pytest.approx(float(best.mean()), abs=0.04)
    # No document is both support and query.
    support = drawn.task.support.x["stats"][0].reshape(10, -1)
    query = x["stats"][0].reshape(10, -1)
    apart = jnp.abs(support[:, None] - query[None]).max(axis=-1)
    assert drawn.task.support.y.shape == (style_scores.TASKS, 10, 24)
    assert float((apart == 0).mean()) < 0.05  # invented documents can be alike


def test_the_logit_is_where_its_gradient_vanishes(key):
    x = {"stats": jax.random.normal(key, (6, 4, 3)), "exists": jnp.ones((6, 4), bool)}
    y = jax.nn.one_hot(jnp.array([0, 1, 2, 3, 0, 0]), 4).at[5].set(0.0)
    centre = jnp.array([1.0, 0.0, -1.0])
    weights = fitted(x, y, 0.5, centre)

    def value(w):
        return choice_loss(scores_of(w, x), y).sum() + 0.25 * jnp.sum((w - centre) ** 2)

    assert jnp.abs(jax.grad(value)(weights)).max() < 1e-4


def test_bounds_of_styles_are_in_order_and_adapting_helps(p):
    shares = {name: values.mean() for name, values in style_scores.style_shares(p, {}).items()}
    order = ["random", NOT_ADAPTED, SCRATCH, style_scores.IDEAL, style_scores.BEST]
    assert [shares[name] for name in order] == sorted(shares[name] for name in order)
    assert shares[SCRATCH] > shares[NOT_ADAPTED] + 0.1


def test_invented_summaries_are_found_by_the_rule(p):
    rows = {name: values[:, 0].mean() for name, values in rouge_rows(p, {}).items()}
    assert max(rows, key=lambda name: rows[name]) == ORACLE
    assert max(rows["random"], rows["lead"]) < rows["cue phrases"] - 0.1
    assert rows["cue phrases"] == pytest.approx(rows[ORACLE], abs=0.05)
    assert set(RULES) <= set(rows)


@pytest.mark.slow
def test_a_short_run_is_better_than_not_adapting(optimised):
    learner = "anil"
    e = recipes.build(Summaries(learner=learner, outer_steps=100, summaries=0.0))
    state = mj.fit(
        e.learner,
        e.objective,
        optax.adam(3e-3),
        e.train,
        key=jax.random.key(0),
        outer_steps=100,
        meta_batch=8,
        show_progress=False,
    )
    ours = {learner: style_scores.adapting(e.learner, state.meta_params)}
    shares = style_scores.style_shares(e.prepared, ours)
    gain = mj.compare(mj.score(shares[learner]), mj.score(shares[NOT_ADAPTED]))
    assert gain.mean > 0.05 + gain.interval


def test_documents_with_the_label_hidden_change_nothing(run):
    # What a learner scores does not depend on query targets or on masked support documents.
    task = style_scores.style_tasks(run.experiment.prepared).task
    one = jax.tree.map(lambda leaf: leaf[0], task)
    scorer = style_scores.adapting(run.learner, run.meta_params)
    plain = scorer(one, jax.random.key(0))
    hidden = Task(one.support, one.query._replace(y=jnp.zeros_like(one.query.y)))
    assert jnp.array_equal(plain, scorer(hidden, jax.random.key(0)))
    more = jax.tree.map(lambda a: jnp.concatenate([a, a[:2] * 0]), one.support._replace(mask=None))
    padded = Examples(more.x, more.y, jnp.arange(12) < 10)
    found = scorer(Task(padded, one.query), jax.random.key(0))
    np.testing.assert_allclose(found, plain, atol=1e-4)


def test_the_report_has_every_row_and_paired_differences(run):
    found = run.experiment.judge(run.meta_params, 1)
    styles_found, above, rouge, _ = found.tables
    assert {"anil", *RULES, style_scores.IDEAL, style_scores.BEST} <= set(styles_found.rows)
    for row, ((difference, _),) in above.rows.items():
        expected = styles_found.rows["anil"][0][0] - styles_found.rows[row][0][0]
        assert difference == pytest.approx(expected, abs=1e-3)
    assert rouge.columns == ("R1", "R2", "RL")
    assert rouge.rows[ORACLE][0][0] == max(row[0][0] for row in rouge.rows.values())


WRONG = {
    "summaries: sentences=4 must be 1, 2 or 3": {"sentences": 4},
    "summaries: summaries=2 must be from 0 to 1": {"summaries": 2.0},
    "summaries: num_steps=3 has no effect with learner='neural_process'": {"num_steps": 3},
    "Did you mean 'synthetic'?": {"data_set": "syntetic"},
    "need 500 documents of at least 3 sentences for train, but synthetic has": {"shot": 490},
}


@pytest.mark.parametrize("message", WRONG)
def test_settings_that_cannot_work(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        recipes.build(Summaries(**WRONG[message]))


def a_file(path, number, *, summary=True):
    rows = [
        {"document": f"Item {i} is old. We propose item {i + 1}. It uses {i} parts."}
        | ({"summary": f"propose item {i + 1}"} if summary else {})
        for i in range(number)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_other_documents(run, tmp_path):
    other = run.experiment.on(str(a_file(tmp_path / "mine.jsonl", 25)), None, None)
    found = other.judge(run.meta_params, 1)
    (rouge, _) = found.tables
    assert rouge.rows[ORACLE][0][0] == pytest.approx(rouge.rows["cue phrases"][0][0])
    assert rouge.rows["lead"][0][0] < rouge.rows[ORACLE][0][0]
    with pytest.raises(ValueError, match="25 of 25 documents of bare have no summary"):
        run.experiment.on(str(a_file(tmp_path / "bare.jsonl", 25, summary=False)), None, None)
    with pytest.raises(ValueError, match="few: 5 documents; at least 20 are needed"):
        run.experiment.on(str(a_file(tmp_path / "few.jsonl", 5)), None, None)


def test_documents_are_summarised(folder, run, tmp_path, capsys):
    labelled = a_file(tmp_path / "labelled.jsonl", 10)
    documents = tmp_path / "documents.jsonl"
    documents.write_text('{"document": ["A <b>.", "We propose C & D."], "title": "T"}')
    page = tmp_path / "page.html"
    arguments = ["--labelled", str(labelled), "--documents", str(documents), "--out", str(page)]
    with pytest.raises(SystemExit) as caught:
        cli.main(["summarize", str(folder), *arguments])
    assert caught.value.code == 0
    assert f"The page is {page}" in capsys.readouterr().out.replace("\n", "")
    text = page.read_text()
    assert "A &lt;b&gt;." in text
    assert "C &amp; D." in text
    assert text.count("<mark>") == 2  # one sentence before, and one after
    with pytest.raises(SystemExit) as caught:
        cli.main(["summarize", str(folder), "--labelled", str(documents), *arguments[2:]])
    assert caught.value.code == 2
    assert "labelled document 1 has no summary" in capsys.readouterr().out


def test_what_cannot_be_summarised_is_refused(run):
    other = runs.Run(recipes.build(Sinusoid()), run.learner, (), 1, None)
    with pytest.raises(ValueError, match="the run was not made by `metajax train summaries`"):
        mj.summarize(other, DOCUMENTS[1:], DOCUMENTS)
    with pytest.raises(ValueError, match="summarize: there is no document"):
        mj.summarize(run, DOCUMENTS[1:], [])


def test_settings_are_those_of_the_run(run):
    assert replace(run.settings, learner="anil") == Summaries(learner="anil", **SMALL)
