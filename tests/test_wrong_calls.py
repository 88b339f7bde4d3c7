"""Wrong calls of public functions: each raises a sentence that names the argument, before anything compiles."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj

M: Any = mj.mlp((2,))
HEAD: Any = mj.linear(2)
LOSS: Any = mj.mse
SGD = optax.sgd(0.1)
NET: Any = mj.conv4(None)
FLAT = mj.Model(lambda key, x: jnp.zeros(()), lambda w, x: x.reshape(len(x), -1))
LEARNER = mj.maml(M, LOSS, SGD, 1)
CLASSES = [np.zeros((9, 2), np.float32) for _ in range(5)]
SINE = mj.tasks.sinusoid()
GLYPHS = mj.tasks.glyphs(way=2, shot=1)
KEY = jax.random.key(0)
NEAREST = mj.nearest_neighbour(mj.pixels)
MJ: Any = mj

Call = Callable[[Any], Any]
NO_COUNT = (-1, 2.5, "3", float("nan"), True, [1], np.array([1, 2]))
NO_RATE = (-0.5, float("nan"), "0.1", [], None)

COUNTS: dict[str, tuple[str, Call]] = {
    "maml": ("num_steps", lambda v: mj.maml(M, LOSS, SGD, v)),
    "anil": ("num_steps", lambda v: mj.anil(M, HEAD, LOSS, SGD, v)),
    "boil": ("num_steps", lambda v: mj.boil(M, HEAD, LOSS, SGD, v)),
    "cavia": ("num_steps", lambda v: mj.cavia(mj.concatenated(M, 2), LOSS, SGD, v)),
    "imaml": ("num_steps", lambda v: mj.imaml(M, LOSS, SGD, v, strength=1.0)),
    "meta_sgd": ("num_steps", lambda v: mj.meta_sgd(M, LOSS, v, rate=0.1)),
    "mamlpp": ("num_steps", lambda v: mj.mamlpp(M, LOSS, v, rate=0.1)),
    "meta_curvature": ("num_steps", lambda v: mj.meta_curvature(M, LOSS, v, rate=0.1)),
    "alfa": ("num_steps", lambda v: mj.alfa(M, LOSS, v, rate=0.1)),
    "from_scratch": ("num_steps", lambda v: mj.from_scratch(M, LOSS, SGD, v)),
    "proto_maml": ("num_steps", lambda v: mj.proto_maml(M, LOSS, SGD, v)),
    "lrd2": ("num_steps", lambda v: mj.lrd2(M, v)),
    "finetune": ("columns", lambda v: mj.finetune(M, LOSS, SGD, 1, columns=v)),
    "linear_probe": ("columns", lambda v: mj.linear_probe(M, LOSS, SGD, 1, columns=v)),
    "ensemble": ("size", lambda v: mj.ensemble(LEARNER, v)),
    "in_batches": ("k", lambda v: mj.in_batches(LEARNER, v)),
    "relabelled": ("way", lambda v: mj.relabelled(LEARNER, v)),
    "decision_tree": ("depth", lambda v: mj.decision_tree(v)),
    "transformer": ("layers", lambda v: mj.transformer(M, 1, layers=v)),
    "recurrent": ("width", lambda v: mj.recurrent(M, 1, width=v)),
    "prior_fitted": ("bins", lambda v: mj.prior_fitted(M, v)),
    "memory_augmented": ("slots", lambda v: mj.memory_augmented(M, 1, slots=v)),
    "snail": ("length", lambda v: mj.snail(M, 1, v)),
    "truncated": ("last", lambda v: mj.truncated(v)),
    "chunked": ("tasks_per_pass", lambda v: mj.chunked(v)),
    "parallel": ("meta_batch", lambda v: mj.parallel(v)),
    "evolution": ("num_pairs", lambda v: mj.evolution(v, 0.1)),
    "persistent_evolution": ("length", lambda v: mj.persistent_evolution(v, 2, 0.1)),
    "noise_reuse_evolution": ("num_pairs", lambda v: mj.noise_reuse_evolution(2, v, 0.1)),
    "truncated_backprop": ("length", lambda v: mj.truncated_backprop(v)),
    "truncated_evolution": ("length", lambda v: mj.truncated_evolution(v, 2, 0.1)),
    "conjugate_gradient": ("num_steps", lambda v: mj.conjugate_gradient(v)),
    "neumann": ("num_terms", lambda v: mj.neumann(v, 0.1)),
    "reptile": ("num_batches", lambda v: mj.reptile(LEARNER, num_batches=v)),
    "conv4": ("filters", lambda v: mj.conv4(5, filters=v)),
    "resnet12": ("way", lambda v: mj.resnet12(v)),
    "linear": ("outputs", lambda v: mj.linear(v)),
    "mlp": ("outputs", lambda v: mj.mlp(outputs=v)),
    "ndcg": ("k", lambda v: mj.ndcg(v)),
    "reliability": ("bins", lambda v: mj.reliability(v)),
    "lora": ("rank", lambda v: mj.lora(M, v)),
    "sinusoid": ("shot", lambda v: mj.tasks.sinusoid(v)),
    "glyphs": ("way", lambda v: mj.tasks.glyphs(v)),
    "clusters": ("dimension", lambda v: mj.tasks.clusters(dimension=v)),
    "gaussian_process": ("query_shot", lambda v: mj.tasks.gaussian_process(query_shot=v)),
    "linear_gaussian": ("dimension", lambda v: mj.tasks.linear_gaussian(v)),
    "episodes": ("shot", lambda v: mj.tasks.episodes(CLASSES, way=2, shot=v, query_shot=1)),
    "images": ("size", lambda v: mj.tasks.images("nowhere", way=2, shot=1, query_shot=1, size=v)),
    "batch": ("num_tasks", lambda v: mj.tasks.batch(SINE, KEY, v)),
    "evaluate": (
        "tasks_per_pass",
        lambda v: mj.evaluate(
            NEAREST, (), GLYPHS, mj.accuracy, key=KEY, num_tasks=2, tasks_per_pass=v
        ),
    ),
    "multi_step_weights": ("until", lambda v: mj.multi_step_weights(jnp.array(0), 4, v)),
    "sweep": (
        "members_per_pass",
        lambda v: mj.sweep(lambda key: key, seeds=[0], members_per_pass=v),
    ),
    "optimizers.lstm": ("hidden", lambda v: mj.optimizers.lstm(v)),
    "optimizers.mlp": ("layers", lambda v: mj.optimizers.mlp(layers=v)),
    "optimizers.meta_lstm": ("hidden", lambda v: mj.optimizers.meta_lstm(v)),
    "optimizers.schedule": ("num_steps", lambda v: mj.optimizers.schedule("sgd", v, 0.1)),
    "unroll": ("horizon", lambda v: mj.unroll(M, LOSS, mj.optimizers.mlp(), v)),
    "problems.quadratics": ("dimension", lambda v: mj.problems.quadratics(v)),
    "problems.mlps": ("width", lambda v: mj.problems.mlps(GLYPHS, 2, width=v)),
    "text.token_encoder": ("layers", lambda v: mj.text.token_encoder(10, layers=v)),
}
"""Arguments that are integers, each with a call that is right but for it."""

RATES: dict[str, tuple[str, Call]] = {
    "meta_sgd": ("rate", lambda v: mj.meta_sgd(M, LOSS, 1, rate=v)),
    "mamlpp": ("rate", lambda v: mj.mamlpp(M, LOSS, 1, rate=v)),
    "meta_curvature": ("rate", lambda v: mj.meta_curvature(M, LOSS, 1, rate=v)),
    "alfa": ("rate", lambda v: mj.alfa(M, LOSS, 1, rate=v)),
    "imaml": ("strength", lambda v: mj.imaml(M, LOSS, SGD, 1, strength=v)),
    "lrd2": ("ridge", lambda v: mj.lrd2(M, 1, ridge=v)),
    "r2d2": ("scale", lambda v: mj.r2d2(M, scale=v)),
    "simpleshot": ("sharpness", lambda v: mj.simpleshot(M, sharpness=v)),
    "matching": ("sharpness", lambda v: mj.matching(M, sharpness=v)),
    "ridge": ("noise", lambda v: mj.ridge(M, noise=v)),
    "linear_gaussian_optimum": ("noise", lambda v: mj.linear_gaussian_optimum(v)),
    "gaussian_process_optimum": ("length", lambda v: mj.gaussian_process_optimum(length=v)),
    "clip_by_global_norm": ("max_norm", lambda v: mj.clip_by_global_norm(v)),
    "clipped": ("max_norm", lambda v: mj.clipped(v)),
    "evolution": ("sigma", lambda v: mj.evolution(2, v)),
    "persistent_evolution": ("sigma", lambda v: mj.persistent_evolution(2, 2, v)),
    "truncated_evolution": ("sigma", lambda v: mj.truncated_evolution(2, 2, v)),
    "noise_reuse_evolution": ("sigma", lambda v: mj.noise_reuse_evolution(2, 2, v)),
    "neumann": ("rate", lambda v: mj.neumann(2, v)),
    "conjugate_gradient": ("damping", lambda v: mj.conjugate_gradient(2, damping=v)),
    "functions": ("noise", lambda v: mj.tasks.functions(lambda key: jnp.sin, noise=v)),
    "gaussian_process": ("length", lambda v: mj.tasks.gaussian_process(length=v)),
    "linear_gaussian": ("noise", lambda v: mj.tasks.linear_gaussian(noise=v)),
    "clusters": ("spread", lambda v: mj.tasks.clusters(spread=v)),
    "optimizers.lstm": ("scale", lambda v: mj.optimizers.lstm(scale=v)),
    "optimizers.mlp": ("rate", lambda v: mj.optimizers.mlp(rate=v)),
    "optimizers.meta_lstm": ("rate", lambda v: mj.optimizers.meta_lstm(rate=v)),
    "optimizers.schedule": ("rate", lambda v: mj.optimizers.schedule("sgd", 2, v)),
    "problems.quadratics": ("condition", lambda v: mj.problems.quadratics(condition=v)),
    "losses.shrunk": ("strength", lambda v: mj.losses.shrunk(LOSS, v)),
    "text.bag": ("scale", lambda v: mj.text.bag(np.ones(3), scale=v)),
}
"""Arguments that are positive numbers."""

NOT_CALLED = "is adam, not an optax transformation; call it"
NO_LEARNER = r"not a mj\.Learner"
NO_KEY = r"must be a typed key, such as jax\.random\.key\(0\)"


WRONG: list[tuple[str, Call, str]] = [
    *(
        (f"{name}: optimiser not called", call, NOT_CALLED)
        for name, call in {
            "maml": lambda _: MJ.maml(M, LOSS, optax.adam, 1),
            "anil": lambda _: MJ.anil(M, HEAD, LOSS, optax.adam, 1),
            "boil": lambda _: MJ.boil(M, HEAD, LOSS, optax.adam, 1),
            "cavia": lambda _: MJ.cavia(mj.concatenated(M, 2), LOSS, optax.adam, 1),
            "imaml": lambda _: MJ.imaml(M, LOSS, optax.adam, 1, strength=1.0),
            "from_scratch": lambda _: MJ.from_scratch(M, LOSS, optax.adam, 1),
            "proto_maml": lambda _: MJ.proto_maml(M, LOSS, optax.adam, 1),
            "finetune": lambda _: MJ.finetune(M, LOSS, optax.adam, 1, columns=2),
            "linear_probe": lambda _: MJ.linear_probe(M, LOSS, optax.adam, 1, columns=2),
            "warp": lambda _: MJ.warp(M, LOSS, optax.adam, 1, frozen="x"),
            "learned_loss": lambda _: MJ.learned_loss(M, M, optax.adam, 1),
            "descend": lambda _: MJ.descend(optax.adam, 1),
            "outer_step": lambda _: MJ.outer_step(mj.query_loss(LEARNER, LOSS), optax.adam),
        }.items()
    ),
    *(
        (f"{name}: model", call, r"the model is .*, not \(init, apply\)")
        for name, call in {
            "maml": lambda _: MJ.maml("net", LOSS, SGD, 1),
            "anil": lambda _: MJ.anil(None, HEAD, LOSS, SGD, 1),
            "boil": lambda _: MJ.boil(3, HEAD, LOSS, SGD, 1),
            "imaml": lambda _: MJ.imaml(mj.mlp, LOSS, SGD, 1, strength=1.0),
            "meta_sgd": lambda _: MJ.meta_sgd(LEARNER, LOSS, 1, rate=0.1),
            "mamlpp": lambda _: MJ.mamlpp({}, LOSS, 1, rate=0.1),
            "meta_curvature": lambda _: MJ.meta_curvature(LOSS, M, 1, rate=0.1),
            "alfa": lambda _: MJ.alfa([], LOSS, 1, rate=0.1),
            "protonet": lambda _: MJ.protonet("conv4"),
            "r2d2": lambda _: MJ.r2d2(mj.conv4),
            "lrd2": lambda _: MJ.lrd2(None, 1),
            "simpleshot": lambda _: MJ.simpleshot("net"),
            "unit_features": lambda _: MJ.unit_features("net"),
            "matching": lambda _: MJ.matching(1.0),
            "relation": lambda _: MJ.relation(M, "net"),
            "ridge": lambda _: MJ.ridge(np.ones(3)),
            "proto_maml": lambda _: MJ.proto_maml(None, LOSS, SGD, 1),
            "nearest_neighbour": lambda _: MJ.nearest_neighbour("net"),
            "knn": lambda _: MJ.knn(5),
            "transformer": lambda _: MJ.transformer("net", 1),
            "recurrent": lambda _: MJ.recurrent("net", 1),
            "from_scratch": lambda _: MJ.from_scratch("net", LOSS, SGD, 1),
        }.items()
    ),
    *(
        (f"{name}: loss", call, r"(loss|metric)=.* must be a function")
        for name, call in {
            "maml": lambda _: MJ.maml(M, "mse", SGD, 1),
            "anil": lambda _: MJ.anil(M, HEAD, None, SGD, 1),
            "boil": lambda _: MJ.boil(M, HEAD, 1.0, SGD, 1),
            "imaml": lambda _: MJ.imaml(M, SGD, SGD, 1, strength=1.0),
            "meta_sgd": lambda _: MJ.meta_sgd(M, "mse", 1, rate=0.1),
            "mamlpp": lambda _: MJ.mamlpp(M, None, 1, rate=0.1),
            "alfa": lambda _: MJ.alfa(M, {}, 1, rate=0.1),
            "from_scratch": lambda _: MJ.from_scratch(M, "mse", SGD, 1),
            "proto_maml": lambda _: MJ.proto_maml(M, "mse", SGD, 1),
            "query_loss": lambda _: MJ.query_loss(LEARNER, "mse"),
            "evaluate": lambda _: MJ.evaluate(LEARNER, (), SINE, "mse", key=KEY, num_tasks=2),
        }.items()
    ),
    *(
        (f"{name}: adjoint", call, "adjoint")
        for name, call in {
            "maml": lambda _: MJ.maml(M, LOSS, SGD, 1, adjoint="first_order"),
            "anil": lambda _: MJ.anil(M, HEAD, LOSS, SGD, 1, adjoint=3),
            "meta_sgd": lambda _: MJ.meta_sgd(M, LOSS, 1, rate=0.1, adjoint="unrolled"),
            "mamlpp": lambda _: MJ.mamlpp(M, LOSS, 1, rate=0.1, adjoint=True),
            "imaml": lambda _: MJ.imaml(M, LOSS, SGD, 1, strength=1.0, adjoint={}),
        }.items()
    ),
    *(
        (f"{name}: learner", call, NO_LEARNER)
        for name, call in {
            "query_loss": lambda _: MJ.query_loss(M, LOSS),
            "reptile": lambda _: MJ.reptile("maml"),
            "evaluate": lambda _: MJ.evaluate(mj.maml, (), SINE, LOSS, key=KEY, num_tasks=2),
            "predictions": lambda _: MJ.predictions(None, (), SINE, key=KEY, num_tasks=2),
            "ensemble": lambda _: MJ.ensemble(M, 2),
            "in_batches": lambda _: MJ.in_batches("maml", 2),
            "relabelled": lambda _: MJ.relabelled(M, 2),
            "inspect": lambda _: MJ.inspect(M, LOSS, (), None, KEY),
        }.items()
    ),
    *(
        (f"{name}: key", call, NO_KEY)
        for name, call in {
            "evaluate": lambda _: MJ.evaluate(LEARNER, (), SINE, LOSS, key=0, num_tasks=2),
            "predictions": lambda _: MJ.predictions(LEARNER, (), SINE, key=0, num_tasks=2),
            "batch": lambda _: MJ.tasks.batch(SINE, 0, 2),
            "inspect": lambda _: MJ.inspect(LEARNER, LOSS, (), None, 0),
            "maml.init": lambda _: MJ.maml(M, LOSS, SGD, 1).init(0, jnp.ones((1, 1))),
        }.items()
    ),
    ("evaluate: sample", lambda _: MJ.evaluate(LEARNER, (), 3, LOSS, key=KEY, num_tasks=2), "sample"),
    ("evaluate: mesh", lambda _: MJ.evaluate(LEARNER, (), SINE, LOSS, key=KEY, num_tasks=2, mesh=2),
     "evaluate: mesh=2 must be a mesh of devices"),
    ("sharded: mesh", lambda _: MJ.sharded([0, 1]), "must be a mesh of devices"),
    ("sweep: mesh", lambda _: MJ.sweep(lambda key: key, seeds=[0], mesh="cpu"), "mesh"),
    ("score: mask", lambda _: mj.score([1.0, 2.0, 3.0], mask=[True, True]), r"mask has shape \(2,\) for 3"),
    ("evaluate: num_tasks", lambda _: MJ.evaluate(LEARNER, (), SINE, LOSS, key=KEY, num_tasks="9"),
     "num_tasks='9'"),
    ("evaluate: num_steps", lambda _: MJ.evaluate(LEARNER, (), SINE, LOSS, key=KEY, num_tasks=2,
                                                 num_steps="3"), "num_steps='3'"),
    ("evaluate: a metric that is no scalar",
     lambda _: MJ.evaluate(LEARNER, LEARNER.init(KEY, jnp.ones((1, 1))), SINE, lambda p, y: jnp.ones((3, 2)),
                           key=KEY, num_tasks=2), "metric"),
    ("query_loss: weights", lambda _: MJ.query_loss(LEARNER, LOSS, num_steps=(0, 1),
                                                    weights=jnp.array([5.0, 5.0])), "the weights have sum 10"),
    ("query_loss: nan", lambda _: MJ.query_loss(LEARNER, LOSS, num_steps=(0, 1),
                                                weights=jnp.array([jnp.nan, 1.0])), "the weights have sum nan"),
    ("query_loss: number of weights", lambda _: MJ.query_loss(LEARNER, LOSS, num_steps=(0, 1),
                                                              weights=jnp.ones(1)), "1 weights"),
    ("query_loss: no inner loop", lambda _: MJ.query_loss(mj.protonet(M), LOSS, num_steps=1), "no inner loop"),
    ("mixture: weights", lambda _: MJ.tasks.mixture([SINE, SINE], weights=[1.0, float("nan")]), "weights"),
    ("mixture: sources", lambda _: MJ.tasks.mixture(["sine"]), "sample is a str; give"),
    ("mixture: none", lambda _: MJ.tasks.mixture([]), "source"),
    ("sinusoid: interval", lambda _: MJ.tasks.sinusoid(x="ab"), "x='ab' must be two finite numbers"),
    ("sinusoid: order", lambda _: MJ.tasks.sinusoid(phase=(2, 1)), r"phase=\(2, 1\) must be two"),
    ("sinusoid: nan", lambda _: MJ.tasks.sinusoid(amplitude=(float("nan"), 1)), "amplitude="),
    ("episodes: way", lambda _: MJ.tasks.episodes(CLASSES, way=9, shot=1, query_shot=1), "way=9"),
    ("episodes: shot", lambda _: MJ.tasks.episodes(CLASSES, way=2, shot=8, query_shot=2), "shot=8"),
    ("episodes: labels", lambda _: MJ.tasks.episodes(CLASSES, way=2, shot=1, query_shot=1,
                                                     query_labels="all"), "query_labels='all'"),
    ("conv4: normalisation", lambda _: MJ.conv4(5, normalisation="bach"), "did you mean 'batch'"),
    ("conv4: downsample", lambda _: MJ.conv4(5, downsample="max"), "downsample='max'"),
    ("resnet12: readout", lambda _: MJ.resnet12(5, readout="max"), "readout='max'"),
    ("mlp: features", lambda _: MJ.mlp("40"), "features='40'"),
    ("mlp: a feature", lambda _: MJ.mlp((40, 0)), r"features=\(40, 0\)"),
    ("mlp: start", lambda _: MJ.mlp(start="zero"), "start='zero'"),
    ("knn: k", lambda _: MJ.knn(M, float("nan")), "k=nan"),
    ("knn: vote", lambda _: MJ.knn(M, vote="all"), "vote='all'"),
    ("transformer: heads", lambda _: MJ.transformer(M, 1, width=10, heads=4), "heads"),
    ("with_outside: number", lambda _: MJ.tasks.with_outside(SINE, np.ones((3, 1)), "2"), "number='2'"),
    ("learned: optimiser", lambda _: MJ.learned(lambda inner: LEARNER, SGD), "optimizer"),
    ("schedule: of optax", lambda _: MJ.optimizers.schedule("os.system", 2, 0.1), "'os.system' is not in opt"),
    ("hyperparameters: nan", lambda _: MJ.optimizers.hyperparameters(
        optax.sgd, positive={"learning_rate": float("nan")}), "learning_rate"),
    ("hyperparameters: fraction", lambda _: MJ.optimizers.hyperparameters(
        optax.adam, positive={"learning_rate": 0.1}, fraction={"b1": 1.5}), "b1"),
    ("save: no tree", lambda _: MJ.save("/tmp", object()), "is of type object"),
    ("load: no file", lambda _: MJ.load("nowhere.npz"), "there is no such file"),
    ("restore: no run", lambda _: MJ.restore("nowhere"), "no run was started here"),
    ("ngrams: width", lambda _: MJ.text.ngrams(["a b"], width=0), "width=0"),
    ("ngrams: words", lambda _: MJ.text.ngrams(["a b"], words=(2, 1)), r"words=\(2, 1\)"),
    ("token_encoder: dropout", lambda _: MJ.text.token_encoder(9, dropout=1.5), "dropout=1.5"),
    ("multi_step_weights", lambda _: MJ.multi_step_weights(0, 0, 10), "num_steps=0"),
    ("bin_edges", lambda _: MJ.bin_edges(np.ones(5), 0), "bins=0"),
    ("score", lambda _: MJ.score("values"), "values"),
    ("sweep: train", lambda _: MJ.sweep(None, seeds=(0,)), "train=None must be a function"),
    ("sweep: seeds", lambda _: MJ.sweep(max, seeds=3), "seeds=3 must be a sequence of integers"),
    ("sweep: grid", lambda _: MJ.sweep(max, seeds=(0,), grid=[0.1]), r"grid=\[0.1\] must map settings"),
    ("sweep: value", lambda _: MJ.sweep(max, seeds=(0,), grid={"rate": (None,)}), "rate=None must be a number"),
    ("over_seeds", lambda _: MJ.over_seeds("values"), "values='values' must be an array"),
    ("best_cell", lambda _: MJ.best_cell([0.1, 0.2]), r"validation has shape \(2,\)"),
    ("clip", lambda _: MJ.clip_by_global_norm(0.0), "max_norm=0.0 must be a number above 0"),
]  # fmt: skip
CASES = [
    *(
        pytest.param(call, value, name, id=f"{where}-{name}-{value!r:.20}")
        for where, (name, call) in COUNTS.items()
        for value in NO_COUNT
        if not (name == "num_steps" and isinstance(value, list | np.ndarray))
    ),
    *(
        pytest.param(call, value, name, id=f"{where}-{name}-{value!r:.20}")
        for where, (name, call) in RATES.items()
        for value in NO_RATE
    ),
]


def test_there_are_three_hundred():
    assert len(CASES) + len(WRONG) >= 300


@pytest.mark.parametrize("call, value, name", CASES)
def test_a_number_that_is_none_or_out_of_range_is_named(call, value, name):
    with pytest.raises(ValueError) as error:
        call(value)
    assert f"{name}={value!r}"[:40] in str(error.value)
    assert "must be" in str(error.value)


@pytest.mark.parametrize("call, message", [p[1:] for p in WRONG], ids=[p[0] for p in WRONG])
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        call(None)


@pytest.mark.parametrize("where", COUNTS)
def test_integers_of_numpy_are_integers(where):
    try:
        COUNTS[where][1](np.int64(4))
    except FileNotFoundError:
        assert where == "images"  # whose folder does not exist
