"""Every recipe with every learner, adjoint and problem that can be named, and the settings it refuses."""

import json
from dataclasses import fields, replace
from typing import Any, get_args

import jax
import numpy as np
import optax
import pytest

import metajax as mj
from metajax import recipes
from metajax.recipes.adjoints import ADJOINTS, IMPLICIT
from metajax.recipes.learners import LEARNERS, ClassifierName, InContextName, RegressorName, names
from metajax.recipes.synthetic.icl import Icl
from metajax.recipes.synthetic.optimizer import Optimizer
from metajax.recipes.synthetic.problems import OPTIMIZERS, PROBLEMS
from metajax.recipes.synthetic.sinusoid import Sinusoid
from metajax.recipes.training import by_pretraining
from metajax.recipes.vision.omniglot import Omniglot

GLYPHS: Any = {"source": "glyphs", "test_source": "glyphs", "filters": 2}
PIXELS: Any = {"source": "glyphs", "test_source": "glyphs"}
PRETRAINED = [name for name, row in LEARNERS.items() if row.objective is by_pretraining]


def shapes_of(settings):
    """The shapes of the loss and of the hypergradient, and those of the meta-parameters."""
    experiment, key = recipes.build(settings), jax.random.key(0)
    x = jax.eval_shape(experiment.train, key).support.x
    meta_params = jax.eval_shape(experiment.learner.init, key, x)
    tasks = jax.eval_shape(jax.vmap(experiment.train), jax.random.split(key, 2))
    loss, gradient = jax.eval_shape(
        jax.value_and_grad(experiment.objective), meta_params, tasks, key
    )
    return loss, gradient, meta_params


def test_every_learner_of_the_table_can_be_named():
    assert names("classify") == get_args(ClassifierName)
    assert names("regress") == get_args(RegressorName)
    assert names("in_context") == get_args(InContextName)
    assert {*names("classify"), *names("regress"), *names("in_context")} == set(LEARNERS)


@pytest.mark.parametrize(
    "settings",
    [
        Omniglot(learner=name, **(PIXELS if name == "nearest_neighbour" else GLYPHS))
        for name in names("classify")
        if name not in PRETRAINED
    ]
    + [Sinusoid(learner=name, source="mixture") for name in names("regress")]
    + [Optimizer(learner=name) for name in OPTIMIZERS]
    + [Optimizer(problem=name) for name in PROBLEMS]
    + [Optimizer(start="learned", adjoint="first_order", loss_from=40)],
    ids=lambda s: f"{recipes.name_of(s)}-{s.learner}-{getattr(s, 'problem', s.source)}",
)
def test_every_name_is_built_and_has_a_hypergradient(settings):
    loss, gradient, meta_params = shapes_of(settings)
    assert loss.shape == ()
    assert jax.tree.structure(gradient) == jax.tree.structure(meta_params)


@pytest.mark.parametrize("name", PRETRAINED)
def test_pretraining_needs_a_finite_number_of_classes(name):
    with pytest.raises(ValueError, match="this source invents new classes in every task"):
        recipes.build(Omniglot(learner=name, **GLYPHS))


def test_every_adjoint_gives_a_hypergradient_of_its_own(key):
    sizes = {}
    for name in (*ADJOINTS, *IMPLICIT):
        experiment = recipes.build(Omniglot(learner="imaml", adjoint=name, num_steps=2, **GLYPHS))
        tasks = mj.tasks.batch(experiment.train, key, 2)
        meta_params = experiment.learner.init(key, tasks.support.x[0])
        gradient = jax.jit(jax.grad(experiment.objective))(meta_params, tasks, key)
        sizes[name] = float(optax.tree.norm(gradient))
    exact = sizes.pop("unrolled")
    for name in ("remat", "mixed_mode"):
        assert sizes.pop(name) == pytest.approx(exact, rel=1e-4)
    assert len({round(size, 5) for size in (exact, *sizes.values())}) == 6
    with pytest.raises(ValueError, match="inner loop of learner='maml' does not end in one"):
        recipes.build(Sinusoid(adjoint="neumann"))


RESOLVED = [
    Sinusoid(),
    Sinusoid(learner="imaml"),
    Sinusoid(learner="anil"),  # clips nothing: its bound is infinite
    Icl(width=8),
    Icl(width=8, source="gaussian_process", learner="recurrent"),
    Optimizer(problem="quadratics", num_steps=4),
    Omniglot(**GLYPHS),
    Omniglot(learner="reptile", **GLYPHS),
    Omniglot(learner="protonet", train_way=6, **GLYPHS),
]


@pytest.mark.parametrize("settings", RESOLVED, ids=lambda s: f"{recipes.name_of(s)}-{s.learner}")
def test_resolved_settings_rebuild_the_same_experiment(settings, key):
    experiment = recipes.build(settings)
    values = json.loads(json.dumps(recipes.to_json(experiment.settings), allow_nan=False))
    again = recipes.build(recipes.from_json(values.pop("recipe"), values))
    assert again.settings == experiment.settings
    losses = []
    for e in (experiment, again):
        tasks = mj.tasks.batch(e.train, key, 2)
        meta_params = e.learner.init(key, jax.tree.map(lambda leaf: leaf[0], tasks.support.x))
        losses.append(float(jax.jit(e.objective)(meta_params, tasks, key)))
    assert losses[0] == losses[1]


def test_no_default_is_left_open():
    open_in = {
        Sinusoid: set(),
        Icl: set(),
        # The folder of the data and the tasks of a pass belong to the machine, and invented characters
        # have no split.
        Omniglot: {"data", "tasks_per_pass", "split_seed"},
        Optimizer: {"data"},
    }
    for kind, expected in open_in.items():
        made = recipes.build(kind(**GLYPHS) if kind is Omniglot else kind()).settings
        assert {f.name for f in fields(made) if getattr(made, f.name) is None} == expected
    found = recipes.build(Sinusoid()).settings
    assert (found.loss_steps, found.inner_rate, found.inner_clip, found.adjoint) == (
        (1, 1, 2, 3),
        0.01,
        50.0,
        "mixed_mode",
    )
    reptile = recipes.build(Omniglot(learner="reptile", **GLYPHS)).settings
    # Two support images for each of five steps: nine beside the one of the shot.
    assert (reptile.num_steps, reptile.query_shot, reptile.eval_steps) == (5, 9, 7)


REFUSED = [
    (Sinusoid(outer_rate=-0.1), r"outer_rate=-0\.1 must be a number above 0"),
    (Sinusoid(outer_rate=float("nan")), "outer_rate=nan must be a number above 0"),
    (Sinusoid(inner_rate=-0.1), r"inner_rate=-0\.1 must be a number above 0"),
    (Sinusoid(clip=-0.1), r"clip=-0\.1 must be a number above 0"),
    (Sinusoid(meta_batch=0), "meta_batch=0 must be an integer of at least 1"),
    (Sinusoid(outer_steps=0), "outer_steps=0 must be an integer of at least 1"),
    (Sinusoid(loss_steps=()), r"loss_steps=\(\) must hold at least one number"),
    (Sinusoid(loss_steps=(-1,)), "loss_steps=-1 must be an integer of at least 0"),
    (Sinusoid(learner="mamll"), "did you mean 'maml'"),
    (Omniglot(tasks_per_pass=0), "tasks_per_pass=0 must be an integer of at least 1"),
    (
        Omniglot(learner="protonet", adjoint="remat", **GLYPHS),
        "adjoint='remat' has no effect with learner='protonet'. Leave adjoint out",
    ),
    (
        Omniglot(learner="r2d2", num_steps=2, **GLYPHS),
        "num_steps=2 has no effect with learner='r2d2'",
    ),
    (
        Omniglot(learner="r2d2", eval_steps=2, **GLYPHS),
        "eval_steps=2 has no effect with learner='r2d2'",
    ),
    (
        Omniglot(learner="reptile", inductive=True, **GLYPHS),
        "inductive=True has no effect with learner='reptile'",
    ),
    (
        Omniglot(learner="reptile", num_steps=0, **GLYPHS),
        "num_steps=0 must be at least 1 with learner='reptile'",
    ),
    (
        Omniglot(learner="reptile", query_shot=2, num_steps=2, **GLYPHS),
        "splits 3 training images of each of way=5 classes into num_steps=2 mini-batches, but 15",
    ),
    (
        Omniglot(source="glyphs", distortion=0.0),
        "distortion=0.0 has no effect with source='glyphs'",
    ),
    (Omniglot(split="lake", split_seed=1), "split_seed=1 has no effect with split='lake'"),
    (
        Omniglot(learner="anil", train_way=20),
        "train_way=20 must equal way=5.* one output per class",
    ),
    (
        Omniglot(learner="protonet", train_way=20, normalisation="task"),
        "normalisation='task' counts the support set",
    ),
    (Optimizer(loss_from=50), "loss_from=50 must be at least 1 and at most num_steps=40"),
    (
        Optimizer(problem="convs", source="mnist"),
        "source='mnist' has no effect with problem='convs'",
    ),
    (Optimizer(problem="logistic", depth=2), "depth=2 has no effect with problem='logistic'"),
]


@pytest.mark.parametrize("settings, message", REFUSED)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        recipes.build(settings)


@pytest.mark.parametrize("name", PRETRAINED)
def test_pretraining_tasks_have_any_number_of_classes(name, omniglot_data, key):
    few = Omniglot(
        learner=name, way=5, train_way=12, query_shot=2, filters=4, data=str(omniglot_data)
    )
    e = recipes.build(few)
    task = e.train(key)
    assert len({*task.query.y.tolist()}) == 12 and len(task.query.y) == 24
    meta_params = e.learner.init(key, task.support.x)
    assert np.isfinite(e.objective(meta_params, jax.tree.map(lambda leaf: leaf[None], task), key))
    test = e.test(key)
    adapted = e.learner.adapt(meta_params, test.support, key)
    assert e.learner.predict(adapted, test.query.x).shape[1] == 5


def test_with_a_reference_a_prediction_depends_on_no_other_query(omniglot_data, key):
    few = Omniglot(
        learner="simpleshot", train_way=8, filters=4, reference=2, data=str(omniglot_data)
    )
    e = recipes.build(few)
    assert not e.inductive
    task = e.test(key)
    meta_params = e.learner.init(key, task.support.x)
    adapted = jax.jit(e.learner.adapt)(meta_params, task.support, key)
    whole = e.learner.predict(adapted, task.query.x)
    np.testing.assert_allclose(e.learner.predict(adapted, task.query.x[:1]), whole[:1], atol=1e-4)
    for change, message in (
        ({"learner": "protonet"}, "reference=2 has no effect with learner='protonet'"),
        ({"normalisation": "layer"}, "reference=2 has no effect with normalisation='layer'"),
        ({"precision": "bfloat16"}, "reference=2 has no effect with precision='bfloat16'"),
    ):
        with pytest.raises(ValueError, match=message):
            recipes.build(replace(few, **change))


def test_a_pretrained_network_and_tasknorm_learn_from_real_characters(omniglot_data, key):
    small: Any = {"filters": 4, "data": str(omniglot_data)}
    for settings in (
        Omniglot(learner="finetune", **small),
        Omniglot(normalisation="task", **small),
        Omniglot(learner="reptile", **small),
    ):
        experiment = recipes.build(settings)
        tasks = mj.tasks.batch(experiment.train, key, 2)
        meta_params = experiment.learner.init(key, tasks.support.x[0])
        loss = jax.jit(experiment.objective)(meta_params, tasks, key)
        # A head of zeros is as good as chance, among five classes of a task or all 1100 of them;
        # Reptile measures the distance to where a task leads.
        chance = {"finetune": np.log(1100), "maml": np.log(5)}
        if settings.learner in chance:
            assert float(loss) == pytest.approx(chance[settings.learner], rel=0.2)
        else:
            assert float(loss) > 0
            assert tasks.support.y.shape == (2, 50)  # ten of each class, for five steps of ten
