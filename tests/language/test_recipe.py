"""The recipes of sentences: what they build, what they learn, and what they refuse."""

import json
from dataclasses import fields, replace
from typing import Any

import jax
import numpy as np
import pytest

import metajax as mj
from metajax import recipes
from metajax.cli import main as cli
from metajax.data.invented_sentences import invented_sentences
from metajax.data.sentence_files import read_sentences
from metajax.recipes.experiment import Shots
from metajax.recipes.language.classify import learner_of
from metajax.recipes.language.intents import Intents
from metajax.recipes.language.learners import LEARNERS
from metajax.recipes.language.relations import Relations
from metajax.recipes.language.report import rows_of
from metajax.recipes.language.split import by_domain
from metajax.recipes.language.unseen import unseen
from metajax.recipes.language.vectors import kept, vectors_of


def quick(kind: Any = Intents, **options: Any):
    return kind(
        **{"synthetic": True, "outer_steps": 2, "meta_batch": 2, "test_tasks": 6, **options}
    )


@pytest.fixture(scope="module")
def built():
    return recipes.build(quick())


def letters(texts):
    """Vectors of sentences: how often each letter is in them."""
    return np.array([[text.count(chr(97 + i)) for i in range(26)] for text in texts], float) + 0.01


def test_domains_are_disjoint(built):
    p = built.prepared
    domains = [set(part.domains) for part in (p.train, p.val, p.test)]
    assert [len(d) for d in domains] == [4, 2, 2]
    assert len(set.union(*domains)) == 8
    one = recipes.build(quick(train_domains=1)).prepared
    assert set(one.train.domains) < domains[0]
    second = recipes.build(quick(split_seed=1)).prepared
    assert set(second.test.domains) != domains[2]


def test_inverse_frequencies_come_from_training_text(built):
    p = built.prepared
    changed = recipes.build(quick()).prepared
    ids = p.fitted.inputs(p.train)["ids"]
    features = changed.fitted.plain.apply((), {"ids": ids[:3]})
    number = len(p.train.texts)
    # An n-gram of no training sentence weighs log(n + 1) + 1, which is the most.
    frequency = mj.text.inverse_frequency(ids, 1 + 5 * 1024)
    assert frequency.max() == pytest.approx(np.log(number + 1) + 1)
    np.testing.assert_allclose(features, mj.text.bag(frequency).apply((), ids[:3]), rtol=1e-5)


@pytest.mark.parametrize(
    "name, encoder",
    [
        *((name, "ngrams") for name in LEARNERS),
        ("maml", "tokens"),
        ("lrd2", "vectors"),
        ("anil", "vectors_ngrams"),
    ],
)
def test_every_learner_and_encoder_is_built_and_has_a_hypergradient(name, encoder):
    own = {"vectors": f"{__name__}:letters"} if "vectors" in encoder else {}
    experiment, key = recipes.build(quick(learner=name, encoder=encoder, **own)), jax.random.key(0)
    x = jax.eval_shape(experiment.train, key).support.x
    meta_params = jax.eval_shape(experiment.learner.init, key, x)
    tasks = jax.eval_shape(jax.vmap(experiment.train), jax.random.split(key, 2))
    loss, gradient = jax.eval_shape(
        jax.value_and_grad(experiment.objective), meta_params, tasks, key
    )
    assert loss.shape == ()
    assert jax.tree.structure(gradient) == jax.tree.structure(meta_params)


@pytest.mark.parametrize("kind", [Intents, Relations])
def test_settings_rebuild_the_experiment(kind):
    made = recipes.build(quick(kind)).settings
    assert {f.name for f in fields(made) if getattr(made, f.name) is None} <= {
        "data",
        "vectors",
        "train_domains",
    }
    assert made.width == 256
    values = json.loads(json.dumps(recipes.to_json(made), allow_nan=False))
    assert recipes.build(recipes.from_json(values.pop("recipe"), values)).settings == made


def test_a_trained_learner_and_baselines_on_the_same_tasks():
    settings = replace(quick(way=5), outer_steps=40, meta_batch=4, mixed=0.0)
    experiment = recipes.build(settings)
    p, learner = experiment.prepared, experiment.learner
    state = mj.fit(
        learner, experiment.objective, experiment.optimizer, experiment.train,
        key=jax.random.key(0), outer_steps=40, meta_batch=4, show_progress=False,
    )  # fmt: skip
    x = experiment.train(jax.random.key(0)).support.x
    start = learner.init(jax.random.key(0), x)
    shots = Shots(1, 10, 5)
    rows = rows_of(
        p, {"before": (learner, start), "after": (learner, state.meta_params)}, shots, num_tasks=40
    )
    mean = {name: np.mean([*row.accuracy.values()]) for name, row in rows.items()}
    assert mean["after"] > 40  # chance is 20
    assert mean["untrained r2d2"] > 40
    assert mean["after"] > max(score for name, score in mean.items() if name != "after")
    assert set(rows["after"].auroc) == set(p.test.domains)
    assert np.mean([*rows["after"].auroc.values()]) > 60


def test_train_evaluate_on_a_file_and_on_another_size(tmp_path, capsys):
    folder = tmp_path / "run"

    def run(*arguments, status=0):
        with pytest.raises(SystemExit) as caught:
            cli.main([str(argument) for argument in arguments])
        said = " ".join(capsys.readouterr().out.split())
        assert caught.value.code == status, said
        return said

    said = run(
        "train", "intents", "--synthetic", "--outer-steps", 2, "--report-every", 2, "--meta-batch", 2,
        "--train-way", 5, "--test-tasks", 6, "--run-dir", folder,
    )  # fmt: skip
    for shown in ("accuracy %, 5-way 1-shot", "logistic regression", "untrained r2d2", "AUROC"):
        assert shown in said
    assert (folder / "plots" / "adaptation.png").read_bytes().startswith(b"\x89PNG")
    tables = json.loads((folder / "evaluation.json").read_text())["tables"]
    assert "centroid" in tables["accuracy %, 5-way 1-shot"]

    mine = tmp_path / "mine.csv"
    found = invented_sentences(domains=1, intents=6, each=12, seed=7)
    lines = [f"{text},{label}" for text, label in zip(found.texts, found.labels, strict=True)]
    mine.write_text("\n".join(["text,label", *lines]) + "\n")
    said = run("evaluate", folder, "--on", mine, "--way", 6, "--shot", 2)
    assert "tasks of mine, 6-way 2-shot" in said
    assert (folder / "evaluation-mine.json").is_file()

    refused = run("evaluate", folder, "--on", mine, "--shot", 5, status=2)
    assert "line 2: label" in refused and "has 12 sentence(s), but a task needs 15" in refused
    refused = run("evaluate", folder, "--num-steps", 3, status=2)
    assert "has its own numbers of inner steps. Leave --num-steps out" in refused
    assert "Leave --ink out" in run("evaluate", folder, "--on", mine, "--ink", "any", status=2)
    experiment: Any = mj.restore(folder).experiment
    mine.write_text("\n".join(["text,label", *lines, f"{' '.join(map(str, range(99)))},intent00"]))
    with pytest.raises(ValueError, match=r"line 74:.*n-grams do not fit in width="):
        experiment.on(str(mine), None, None)
    mine.write_text("text\nhi\n")
    with pytest.raises(ValueError, match="but needs label"):
        experiment.on(str(mine), None, None)
    with pytest.raises(ValueError, match="neither a data set of sentences nor a file"):
        experiment.on("x", None, None)


def test_vectors_are_computed_once_and_checked(tmp_path):
    calls = []

    def embed(texts):
        calls.append(len(texts))
        return letters(texts)

    first = kept("mine:embed", embed, ["a", "bb"], tmp_path)
    np.testing.assert_array_equal(first, kept("mine:embed", embed, ["a", "bb"], tmp_path))
    kept("mine:embed", embed, ["a", "b"], tmp_path)
    assert calls == [2, 2, 2]  # the second to compare
    texts = [f"text {i}" for i in range(100)]
    kept("mine:embed", embed, texts, tmp_path)
    kept("mine:embed", embed, texts, tmp_path)
    assert calls[3:] == [100, 8]
    changed = kept("mine:embed", lambda texts: 2 * embed(texts), texts, tmp_path)
    np.testing.assert_allclose(changed, 2 * letters(texts), rtol=1e-6)
    with pytest.raises(ValueError, match=r"returns shape \(2,\) for 2 sentences"):
        kept("one", lambda texts: np.zeros(len(texts)), ["a", "b"], tmp_path)
    with pytest.raises(ValueError, match=r"nan or infinity for 1 sentence.*'b'"):
        kept("two", lambda texts: np.array([[1.0], [np.nan]]), ["a", "b"], tmp_path)


def test_vectors_of_a_module_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_vectors_here.py").write_text(
        "def embed(texts):\n    return [[1.0]] * len(texts)\nsize = 3"
    )
    assert vectors_of("my_vectors_here:embed")(["a"]) == [[1.0]]
    with pytest.raises(ValueError, match="'size' of module 'my_vectors_here' is no function"):
        vectors_of("my_vectors_here:size")
    (tmp_path / "my_needy_vectors.py").write_text("import not_installed_anywhere")
    with pytest.raises(ModuleNotFoundError, match="needs 'not_installed_anywhere'"):
        vectors_of("my_needy_vectors:embed")
    with pytest.raises(ModuleNotFoundError, match="there is no module 'nowhere'"):
        vectors_of("nowhere:embed")


def rows(domains):
    """Sentences of domains with so many labels each, 20 of each label."""
    return [
        f"word{d}x{label}x{i} thing,label{d}x{label},domain{d}"
        for d, number in enumerate(domains)
        for label in range(number)
        for i in range(20)
    ]


def test_training_domains_of_few_labels(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["text,label,domain", *rows([6, 6, 6, 6, 3])]))
    seed = next(
        seed
        for seed in range(20)
        if "domain4" in by_domain("x", read_sentences(path), "drawn", seed, {}).train.domains
    )
    settings = Intents(learner="anil", data_set=str(path), split_seed=seed, test_tasks=6)
    e = recipes.build(settings)
    assert e.settings.train_way == 3
    assert recipes.build(e.settings).settings == e.settings
    with pytest.raises(ValueError, match=r"has 3 label.*train_way=4.*use --train-way 3 or less"):
        recipes.build(replace(settings, train_way=4))
    with pytest.raises(ValueError, match=r"needs 31.*lower --shot or --test-query-shot"):
        recipes.build(replace(settings, test_query_shot=30))
    path.write_text("\n".join(["text,label,domain", *rows([6, 6, 6, 6, 1])]))
    with pytest.raises(ValueError, match=r"'domain4' has 1 label.*leave that domain out"):
        recipes.build(settings)


def test_what_the_run_has_seen_is_no_test(built, tmp_path):
    p = built.prepared
    found, notes = unseen(p, invented_sentences())
    assert found.texts == p.test.texts
    assert (
        "classes of synthetic are left out, because the run was trained or validated on" in notes[0]
    )
    with pytest.raises(ValueError, match="only classes that this run was trained or validated on"):
        unseen(p, p.train)
    new = replace_text(p.test, 0, p.train.texts[0])
    found, notes = unseen(p, new)
    assert (found, notes[0][:10]) == (new, "1 of 1,200")
    assert built.on("synthetic", None, None).test_name == "synthetic"


def replace_text(found, index, text):
    return found._replace(texts=[*found.texts[:index], text, *found.texts[index + 1 :]])


REFUSED = [
    ({"learner": "mamll"}, "learner='mamll' is unknown; did you mean 'maml'"),
    ({"encoder": "vectors_ngrams"}, "encoder='vectors_ngrams' needs vectors"),
    ({"encoder": "vectors"}, "encoder='vectors' needs vectors, such as vectors='wordllama'"),
    ({"vectors": "wordllama"}, "vectors='wordllama' has no effect with encoder='ngrams'"),
    ({"encoder": "vectors", "vectors": "word"}, "neither 'wordllama' nor 'module:function'"),
    ({"encoder": "vectors", "vectors": "json:embed"}, "module 'json' has no 'embed'"),
    ({"way": 16}, "domain .* has 15 label\\(s\\), but way=16. Add labels, or use --way 15 or less"),
    ({"shot": 31}, "has 40 sentence.*but a task needs 41"),
    (
        {"learner": "anil", "train_way": 9},
        "train_way=9 must be at most way=5, because learner='anil'",
    ),
    ({"mixed": 2.0}, "mixed=2 must be a share from 0 to 1"),
    ({"width": 16}, "n-grams do not fit in width=16"),
    ({"split": "first"}, "split='first' is unknown"),
    ({"test_tasks": 1}, "test_tasks=1 must be an integer of at least 2"),
]


@pytest.mark.parametrize("options, message", REFUSED, ids=[str(row[0]) for row in REFUSED])
def test_settings_that_cannot_work_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        recipes.build(quick(**options))


def test_a_learner_without_a_fixed_head_takes_any_way(built):
    learner = learner_of(built.prepared, 15)
    assert learner.num_steps is None
