"""Learners with an inner loop of gradient steps: masks, dropout, named groups and refusals."""

from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj
from metajax import trees
from metajax.learners.parts import Parts

ONE = jnp.ones((1, 1))
SGD = optax.sgd(0.1)


def join_inputs(x):
    """Inputs `(n, d)` from an array, or from a dict of floats and integers."""
    if isinstance(x, dict):
        return jnp.concatenate([x["floats"], jnp.cos(x["integers"])[:, None]], axis=1)
    return x


def net(outputs: int) -> mj.Model:
    """Two smooth layers, whose arrays are two groups."""

    def init(key, x):
        first, second = jax.random.split(key)
        width = jax.eval_shape(join_inputs, x).shape[1]
        return {
            "hidden": jax.random.normal(first, (width, 5)),
            "output": {
                "kernel": jax.random.normal(second, (5, outputs)),
                "bias": jnp.ones(outputs),
            },
        }

    def apply(params, x):
        hidden = jnp.tanh(join_inputs(x) @ params["hidden"])
        return hidden @ params["output"]["kernel"] + params["output"]["bias"][None]

    groups = {
        "biases": trees.by_path(lambda path: path == "output/bias"),
        "output": trees.by_path(lambda path: path.startswith("output")),
        "none": trees.by_path(lambda path: False),
        "all": trees.by_path(lambda path: True),
    }
    return mj.Model(init, apply, groups=groups)


BODY, HEAD = net(4), mj.linear(3, start="lecun")
KINDS = ("float", "integer", "dict")


class Kind(NamedTuple):
    """A kind of tasks, with a loss for them and models of as many outputs as it needs."""

    tasks: mj.Task
    loss: Any
    outputs: int

    @property
    def head(self) -> mj.Model:
        return mj.linear(self.outputs, start="lecun")


def kind(name: str) -> Kind:
    """Two tasks of six support and six query examples."""
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 2)).astype(np.float32)
    labels = np.tile(np.arange(3, dtype=np.int32), (2, 2, 2))
    inputs, targets = [x, x], [np.sin(x), labels]
    if name == "dict":
        inputs = [None, {"floats": x, "integers": labels}]
    i = 0 if name == "float" else 1
    support, query = (
        mj.Examples(*jax.tree.map(lambda leaf, s=s: jnp.asarray(leaf[s]), (inputs[i], targets[i])))
        for s in (0, 1)
    )
    losses = (mj.mse, optax.softmax_cross_entropy_with_integer_labels)
    return Kind(mj.Task(support, query), losses[i], 2 if i == 0 else 3)


def with_masked(tasks: mj.Task) -> mj.Task:
    """The same tasks with two masked examples in each set, full of nan or of -7."""

    def pad(leaf):
        garbage = jnp.nan if jnp.issubdtype(leaf.dtype, jnp.inexact) else -7
        rows = jnp.full((leaf.shape[0], 2, *leaf.shape[2:]), garbage, leaf.dtype)
        return jnp.concatenate([leaf, rows], axis=1)

    def masked(examples):
        x, y = jax.tree.map(pad, (examples.x, examples.y))
        return mj.Examples(x, y, jnp.broadcast_to(jnp.arange(8) < 6, (2, 8)))

    return mj.Task(masked(tasks.support), masked(tasks.query))


def _learned(make):
    return mj.learned(
        make, mj.optimizers.hyperparameters(optax.sgd, positive={"learning_rate": 0.1})
    )


LEARNERS: dict[str, Any] = {
    "maml": lambda k: mj.maml(net(k.outputs), k.loss, SGD, 2),
    "anil": lambda k: mj.anil(BODY, k.head, k.loss, SGD, 2),
    "boil": lambda k: mj.boil(BODY, k.head, k.loss, SGD, 2),
    "cavia": lambda k: mj.cavia(mj.lora(net(k.outputs), 2), k.loss, SGD, 2),
    "alfa": lambda k: mj.alfa(net(k.outputs), k.loss, 2, rate=0.1),
    "meta_sgd": lambda k: mj.meta_sgd(net(k.outputs), k.loss, 2, rate=0.1),
    "mamlpp": lambda k: mj.mamlpp(net(k.outputs), k.loss, 2, rate=0.1, per_step="biases"),
    "meta_curvature": lambda k: mj.meta_curvature(net(k.outputs), k.loss, 2, rate=0.1),
    "warp": lambda k: mj.warp(net(k.outputs), k.loss, SGD, 2, frozen="output"),
    "imaml": lambda k: mj.imaml(net(k.outputs), k.loss, SGD, 2, strength=2.0),
    "learned": lambda k: _learned(lambda inner: mj.maml(net(k.outputs), k.loss, inner, 2)),
    "learned, from scratch": lambda k: _learned(
        lambda inner: mj.from_scratch(net(k.outputs), k.loss, inner, 2)
    ),
    "learned_loss": lambda k: mj.learned_loss(net(k.outputs), net(1), SGD, 2),
    "from_scratch": lambda k: mj.from_scratch(net(k.outputs), k.loss, SGD, 2),
    "finetune": lambda k: mj.finetune(BODY, k.loss, SGD, 2, columns=k.outputs),
    "linear_probe": lambda k: mj.linear_probe(BODY, k.loss, SGD, 2, columns=k.outputs),
    "pretrained": lambda k: mj.pretrained(
        mj.finetune(BODY, k.loss, SGD, 2, columns=k.outputs), BODY, HEAD
    ),
    "beside_support": lambda k: mj.beside_support(mj.maml(net(k.outputs), k.loss, SGD, 2)),
    "proto_maml": lambda k: mj.proto_maml(BODY, k.loss, optax.sgd(0.01), 2),
    "ensemble": lambda k: mj.ensemble(mj.maml(net(k.outputs), k.loss, SGD, 2), 2),
    "relabelled": lambda k: mj.relabelled(mj.maml(net(k.outputs), k.loss, SGD, 2), 3),
}
CLASSIFY = ("proto_maml", "ensemble", "relabelled")
ROWS = [(n, k) for n in LEARNERS for k in KINDS if k != "float" or n not in CLASSIFY]


def somewhere(tree):
    """Meta-parameters of these shapes at which no hypergradient is zero by symmetry."""
    draw = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: jnp.asarray(draw.normal(size=leaf.shape, scale=0.5), leaf.dtype), tree
    )


@pytest.mark.parametrize("name, kind_name", ROWS)
def test_masked_examples_change_nothing(name, kind_name, key):
    given = kind(kind_name)
    learner = LEARNERS[name](given)
    objective = mj.query_loss(learner, given.loss, num_steps=(1, 2))
    x = jax.tree.map(lambda leaf: leaf[0], given.tasks.support.x)
    meta_params = somewhere(jax.eval_shape(learner.init, key, x))

    def predict(support, x, key):
        return learner.predict(learner.adapt(meta_params, support, key), x)

    @jax.jit
    def results(tasks):
        predictions = jax.vmap(predict)(tasks.support, tasks.query.x, jax.random.split(key, 2))
        hypergradient = jax.value_and_grad(objective)(meta_params, tasks, key)
        return predictions[:, :6, : given.outputs], *hypergradient

    ours, theirs = results(with_masked(given.tasks)), results(given.tasks)
    chex.assert_tree_all_finite(theirs)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-4, atol=1e-6)
    if jax.tree.leaves(meta_params):
        assert optax.tree.norm(theirs[2]) > 1e-3


@pytest.mark.parametrize("kind_name", KINDS)
def test_masked_examples_change_no_unroll(kind_name, key):
    given = kind(kind_name)
    rate = mj.LearnedOptimizer(lambda key: jnp.array(0.1), optax.sgd)
    for loss_on in ("support", "query"):
        objective = mj.unroll(net(given.outputs), given.loss, rate, horizon=2, loss_on=loss_on)
        value = jax.jit(jax.value_and_grad(objective))
        ours, theirs = (
            value(jnp.array(0.1), t, key) for t in (with_masked(given.tasks), given.tasks)
        )
        chex.assert_trees_all_close(ours, theirs, rtol=1e-4)
        assert abs(theirs[1]) > 1e-3


def test_pretraining_ignores_masked_queries_and_tasks_without_any(key):
    given = kind("integer")
    objective = jax.jit(jax.value_and_grad(mj.pretraining(BODY, HEAD, given.loss)))
    meta_params = Parts(BODY.init(key, given.tasks.query.x[0]), HEAD.init(key, jnp.ones((1, 4))))
    tasks, masked = given.tasks, with_masked(given.tasks)
    plain = objective(meta_params, tasks, key)
    chex.assert_trees_all_close(objective(meta_params, masked, key), plain, rtol=1e-4, atol=1e-6)
    first = objective(meta_params, jax.tree.map(lambda leaf: leaf[:1], tasks), key)
    query = masked.query._replace(mask=jnp.array([6 * [True] + 2 * [False], 8 * [False]]))
    without = objective(meta_params, masked._replace(query=query), key)
    chex.assert_trees_all_close(without, first, rtol=1e-4, atol=1e-6)


def test_implicit_with_labels_masks_and_several_steps_is_the_mean_over_them(key):
    given = kind("integer")
    learner = mj.imaml(net(3), given.loss, SGD, 20, strength=2.0)
    tasks = with_masked(given.tasks)
    meta_params = learner.init(key, tasks.support.x[0])

    def hypergradient(num_steps):
        objective = mj.query_loss(learner, given.loss, num_steps=num_steps)
        return jax.jit(jax.grad(objective))(meta_params, tasks, key)

    several = hypergradient((3, 20))
    expected = jax.tree.map(lambda a, b: (a + b) / 2, hypergradient(3), hypergradient(20))
    assert optax.tree.norm(expected) > 1e-3
    chex.assert_trees_all_close(several, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", LEARNERS)
def test_numbers_of_steps_may_be_numpy_integers(name, key):
    given = kind("integer")
    learner = LEARNERS[name](given)
    assert learner.num_steps == 2
    support = jax.tree.map(lambda leaf: leaf[0], given.tasks.support)
    meta_params = jax.eval_shape(learner.init, key, support.x)

    def shapes(num_steps):
        return jax.eval_shape(
            partial(learner.adapt, num_steps=num_steps), meta_params, support, key
        )

    assert shapes(np.int64(3)) == shapes(3)
    assert shapes(np.array([0, 1])) == shapes((0, 1))


def recorded(model: mj.Model, seen: list) -> mj.Model:
    """The same model, which notes the keys that it is trained with."""

    def train(params, x, key):
        jax.debug.callback(
            lambda data: seen.append(tuple(map(int, data))), jax.random.key_data(key)
        )
        return model.apply(params, x)

    return model._replace(train=train)


RECORDED: dict[str, Any] = {
    "maml": (lambda m, b, k: mj.maml(m, k.loss, SGD, 2), 2),
    "anil": (lambda m, b, k: mj.anil(BODY, m, k.loss, SGD, 2), 2),
    "anil, noise in the body": (lambda m, b, k: mj.anil(b, k.head, k.loss, SGD, 2), 1),
    "boil": (lambda m, b, k: mj.boil(b, k.head, k.loss, SGD, 2), 2),
    "cavia": (lambda m, b, k: mj.cavia(mj.lora(m, 2), k.loss, SGD, 2), 2),
    "cavia, concatenated": (lambda m, b, k: mj.cavia(mj.concatenated(m, 2), k.loss, SGD, 2), 2),
    "cavia, a collection": (
        lambda m, b, k: mj.cavia(mj.from_collection(m, "output"), k.loss, SGD, 2),
        2,
    ),
    "alfa": (lambda m, b, k: mj.alfa(m, k.loss, 2, rate=0.1), 2),
    "meta_sgd": (lambda m, b, k: mj.meta_sgd(m, k.loss, 2, rate=0.1), 2),
    "mamlpp": (lambda m, b, k: mj.mamlpp(m, k.loss, 2, rate=0.1), 2),
    "mamlpp, per step": (lambda m, b, k: mj.mamlpp(m, k.loss, 2, rate=0.1, per_step="biases"), 2),
    "meta_curvature": (lambda m, b, k: mj.meta_curvature(m, k.loss, 2, rate=0.1), 2),
    "warp": (lambda m, b, k: mj.warp(m, k.loss, SGD, 2, frozen="output"), 2),
    "imaml": (lambda m, b, k: mj.imaml(m, k.loss, SGD, 2, strength=2.0), 2),
    "proto_maml": (lambda m, b, k: mj.proto_maml(b, k.loss, SGD, 2), 2),
    "learned": (lambda m, b, k: _learned(lambda inner: mj.maml(m, k.loss, inner, 2)), 2),
    "learned_loss": (lambda m, b, k: mj.learned_loss(m, net(1), SGD, 2), 2),
    "learned_loss, noise in the loss": (
        lambda m, b, k: mj.learned_loss(net(3), m, SGD, 2),
        2,
    ),
    "from_scratch": (lambda m, b, k: mj.from_scratch(m, k.loss, SGD, 2), 2),
    "finetune": (lambda m, b, k: mj.finetune(b, k.loss, SGD, 2, columns=3), 2),
    "linear_probe": (lambda m, b, k: mj.linear_probe(b, k.loss, SGD, 2, columns=3), 0),
    "ensemble": (lambda m, b, k: mj.ensemble(mj.maml(m, k.loss, SGD, 2), 2), 4),
    "beside_support": (lambda m, b, k: mj.beside_support(mj.maml(m, k.loss, SGD, 2)), 2),
    "relabelled": (lambda m, b, k: mj.relabelled(mj.maml(m, k.loss, SGD, 2), 3), 2),
}


@pytest.mark.parametrize("name", RECORDED)
def test_every_inner_step_draws_from_a_key_of_its_own_and_prediction_from_none(name, key):
    make, expected = RECORDED[name]
    given, seen = kind("integer"), []
    learner = make(recorded(net(3), seen), recorded(BODY, seen), given)
    support = jax.tree.map(lambda leaf: leaf[0], given.tasks.support)
    meta_params = learner.init(key, support.x)
    seen.clear()
    adapted = jax.jit(learner.adapt)(meta_params, support, key)
    jax.effects_barrier()
    assert len(set(seen)) == expected
    seen.clear()
    jax.jit(learner.predict)(adapted, support.x)
    jax.effects_barrier()
    assert not seen


@pytest.mark.parametrize(
    "adjoint", [mj.unrolled, mj.first_order, mj.remat, mj.mixed_mode, mj.truncated(1)]
)
def test_noise_in_training_by_hand(adjoint, key):
    # With predictions w x + e at x = 1 a step of rate 1/2 lands on w = s - e, wherever it began: after
    # k steps the noise of step k alone is left, and there is none in a prediction.
    line = mj.Model(
        init=lambda key, x: jnp.zeros(()),
        apply=lambda w, x: w * x,
        train=lambda w, x, key: w * x + jax.random.normal(key),
    )
    learner = mj.maml(line, mj.mse, optax.sgd(0.5), 2, adjoint=adjoint)
    support = mj.Examples(ONE, 3 * ONE)
    adapted = learner.adapt(jnp.zeros(()), support, key, num_steps=(0, 1, 2))
    noise = [jax.random.normal(jax.random.fold_in(key, step)) for step in (0, 1)]
    np.testing.assert_allclose(adapted, [0.0, *(3 - float(one) for one in noise)], rtol=1e-5)
    assert learner.predict(adapted[1], ONE).item() == adapted[1]
    tasks = jax.tree.map(lambda leaf: leaf[None], mj.Task(support, support))
    gradient = jax.grad(mj.query_loss(learner, mj.mse, num_steps=1))(jnp.zeros(()), tasks, key)
    (task_key,) = jax.random.split(key, 1)
    end = 3 - float(jax.random.normal(jax.random.fold_in(task_key, 0)))
    # Of (v - 3)^2 by the start: 2(v - 3) times 1 - 2a = 0, which a first-order derivative leaves out.
    expected = 2 * (end - 3) if adjoint is mj.first_order else 0
    assert float(gradient) == pytest.approx(expected, rel=1e-4)


def test_pretraining_draws_a_key_for_every_task(key):
    given, seen = kind("integer"), []
    objective = mj.pretraining(recorded(BODY, seen), HEAD, given.loss)
    meta_params = Parts(BODY.init(key, given.tasks.query.x[0]), HEAD.init(key, jnp.ones((1, 4))))
    objective(meta_params, given.tasks, key)
    jax.effects_barrier()
    assert len(set(seen)) == 2


SHIFTED = mj.Model(
    init=lambda key, x: {"w": jnp.zeros(()), "b": jnp.ones(())},
    apply=lambda params, x: params["w"] * x + params["b"],
    groups={"shifts": trees.by_path(lambda path: path == "b")},
)


def test_every_step_has_arrays_of_its_own(key):
    # y = wx + b at x = 1, target 3, rate 1/4: with b0 = 1 the step is w = 0 - 1/2 (0 + 1 - 3) = 1, and
    # b1 = 5 predicts 6. Of (6 - 3)^2 the derivatives are 6 by b1, and 6 * -1/2 by b0.
    learner = mj.mamlpp(SHIFTED, mj.mse, 1, rate=0.25, per_step="shifts")
    meta_params = learner.init(key, ONE)
    meta_params.start["b"] = jnp.array([1.0, 5.0])
    tasks = mj.Task(mj.Examples(ONE, 3 * ONE), mj.Examples(ONE, 3 * ONE))
    value, gradient = jax.value_and_grad(mj.query_loss(learner, mj.mse))(meta_params, tasks, key)
    assert value == pytest.approx(9)
    assert gradient.start["b"].tolist() == pytest.approx([-3, 6])
    assert gradient.rates[0].tolist() == pytest.approx([6 * 4])  # w moves by 4 per rate


def test_steps_beyond_the_last_take_the_arrays_and_rates_of_the_last(key):
    # From w = 1 a second step at rate 1/4 with b1 = 5 is w = 1 - 1/2 (1 + 5 - 3) = -1/2; a third is
    # w = -1/2 - 1/2 (-1/2 + 5 - 3) = -5/4, with b1 again.
    learner = mj.mamlpp(SHIFTED, mj.mse, 1, rate=0.25, per_step="shifts")
    meta_params = learner.init(key, ONE)
    meta_params.start["b"] = jnp.array([1.0, 5.0])
    support = mj.Examples(ONE, 3 * ONE)
    adapted = learner.adapt(meta_params, support, key, num_steps=(0, 1, 2, 3))
    np.testing.assert_allclose(adapted["w"], [0, 1, -0.5, -1.25])
    np.testing.assert_allclose(adapted["b"], [1, 5, 5, 5])


def test_a_warp_layer_by_hand(key):
    # y = w v x at x = 1 with w frozen: v' = v - 2a w (w v - s) = 3/2 for v = 0, w = 2, s = 3, a = 1/8.
    # Of (w v' - 1)^2 the derivative is 4 by w v' = 3; d(w v')/dw = v' + w (-2a (2 w v - s)) = 3 and
    # d(w v')/dv = w (1 - 2a w^2) = 0.
    model = mj.Model(
        init=lambda key, x: {"v": jnp.zeros(()), "w": jnp.full((), 2.0)},
        apply=lambda params, x: params["w"] * params["v"] * x,
        groups={"warps": trees.by_path(lambda path: path == "w")},
    )
    learner = mj.warp(model, mj.mse, optax.sgd(0.125), 1, frozen="warps")
    tasks = mj.Task(mj.Examples(ONE, 3 * ONE), mj.Examples(ONE, ONE))
    gradient = jax.grad(mj.query_loss(learner, mj.mse))(learner.init(key, ONE), tasks, key)
    assert (float(gradient["w"]), float(gradient["v"])) == pytest.approx((12, 0))


def test_rate_and_decay_of_alfa_by_hand(key):
    # w = 2 and target 4 at x = 1: the gradient is -4. With decay b = 1/2 and rate a = 1/4 a step is
    # b w + 4 a = 2; with beta = 2 and alpha = 3 it is 2 b w + 3 * 4 a = 5.
    line = mj.Model(init=lambda key, x: jnp.full((), 2.0), apply=lambda w, x: w * x)
    learner = mj.alfa(line, mj.mse, 1, rate=0.25)
    meta_params = learner.init(key, ONE)._replace(decays=jnp.array(0.5))
    support = mj.Examples(ONE, 4 * ONE)
    assert learner.adapt(meta_params, support, key) == pytest.approx(2)
    generator = jax.tree.map(
        lambda leaf: jnp.array([1.0, 2.0]) if leaf.shape == (2,) else leaf,
        meta_params.generator.head,
    )
    generator = meta_params.generator._replace(head=generator)
    adapted = learner.adapt(meta_params._replace(generator=generator), support, key)
    assert adapted == pytest.approx(5)


def test_labels_are_permuted_and_one_out_of_range_stays_as_it_is(key):
    spy = mj.Learner(lambda key, x: (), lambda m, support, key: support.y, lambda y, x: x)
    mask = jnp.array([True, True, True, True, False])
    support = mj.Examples(jnp.ones((5, 1)), jnp.array([2, 0, 1, 7, -7]), mask)
    state = mj.relabelled(spy, 3).adapt((), support, key)
    assert sorted(state.labels.tolist()) == [0, 1, 2]
    assert state.adapted[:4].tolist() == [*state.labels[jnp.array([2, 0, 1])].tolist(), 7]


NAN, MODEL = float("nan"), net(3)
loose: Any = mj  # whose arguments have no types, to give wrong ones


def _init(learner):
    return learner.init(jax.random.key(0), jnp.ones((1, 2)))


def _learned_by(optimizer):
    return mj.learned(
        lambda inner: mj.maml(MODEL, mj.mse, inner, 1),
        mj.LearnedOptimizer(lambda key: jnp.ones(()), optimizer),
    )


REFUSED = {
    "anil: num_steps=-1 must be an integer of at least 0": lambda: loose.anil(
        BODY, HEAD, mj.mse, SGD, -1
    ),
    "boil: num_steps=2.5 must be": lambda: loose.boil(BODY, HEAD, mj.mse, SGD, 2.5),
    "cavia: num_steps=True must be": lambda: loose.cavia(loose.lora(MODEL, 1), mj.mse, SGD, True),
    "cavia: the model is a Model, which reads no context": lambda: loose.cavia(
        MODEL, mj.mse, SGD, 1
    ),
    "lora: rank=0 must be": lambda: loose.lora(MODEL, 0),
    "concatenated: size=0 must be": lambda: loose.concatenated(MODEL, 0),
    "alfa: rate=nan must be a number above 0": lambda: loose.alfa(MODEL, mj.mse, 1, rate=NAN),
    "meta_sgd: rate=-0.1 must be": lambda: loose.meta_sgd(MODEL, mj.mse, 1, rate=-0.1),
    "mamlpp: rate=0 must be": lambda: loose.mamlpp(MODEL, mj.mse, 1, rate=0),
    "mamlpp: num_steps=0 must be an integer of at least 1": lambda: loose.mamlpp(
        MODEL, mj.mse, 0, rate=0.1
    ),
    "mamlpp: per_step='bias' is unknown; did you mean 'biases'": lambda: loose.mamlpp(
        MODEL, mj.mse, 1, rate=0.1, per_step="bias"
    ),
    "mamlpp: per_step='none' holds 0 of the model's 3 arrays": lambda: _init(
        loose.mamlpp(MODEL, mj.mse, 1, rate=0.1, per_step="none")
    ),
    "meta_curvature: rate=nan must be": lambda: loose.meta_curvature(MODEL, mj.mse, 1, rate=NAN),
    "warp: frozen='all' holds 3 of the model's 3 arrays": lambda: _init(
        loose.warp(MODEL, mj.mse, SGD, 1, frozen="all")
    ),
    "warp: frozen='Conv_1' names a group, but the model has none": lambda: loose.warp(
        mj.Model(MODEL.init, MODEL.apply), mj.mse, SGD, 1, frozen="Conv_1"
    ),
    "imaml: strength=nan must be": lambda: loose.imaml(MODEL, mj.mse, SGD, 1, strength=NAN),
    "from_scratch: inner is sgd, not an optax transformation": lambda: loose.from_scratch(
        MODEL, mj.mse, optax.sgd, 1
    ),
    "linear_probe: columns=0 must be": lambda: loose.linear_probe(BODY, mj.mse, SGD, 1, columns=0),
    "finetune: the model is a function, not": lambda: loose.finetune(
        net, mj.mse, SGD, 1, columns=1
    ),
    "ensemble: size=0 must be": lambda: loose.ensemble(loose.protonet(mj.pixels), 0),
    "relabelled: way=0 must be": lambda: loose.relabelled(loose.protonet(mj.pixels), 0),
    "relabelled: targets are float32, but labels must be integers": lambda: loose.relabelled(
        loose.protonet(mj.pixels), 2
    ).adapt((), mj.Examples(ONE, jnp.ones(1)), jax.random.key(0)),
    "unroll: loss_on='both' is unknown": lambda: loose.unroll(
        MODEL, mj.mse, mj.optimizers.lstm(), 1, loss_on="both"
    ),
    "inspect: num_steps=2, but this learner has no inner loop": lambda: loose.inspect(
        loose.protonet(BODY), mj.mse, (), kind("integer").tasks, jax.random.key(0), num_steps=2
    ),
    "more than a gradient .*value": lambda: _init(_learned_by(lambda _: optax.lbfgs())),
    "more than a gradient .*'value'": lambda: _init(
        _learned_by(lambda _: optax.contrib.reduce_on_plateau())
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_makes_no_sense_is_refused(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


def test_plain_pairs_serve_as_models(key):
    given = kind("integer")
    pair, x = (MODEL.init, MODEL.apply), given.tasks.support.x[0]
    for make in (
        lambda m: loose.maml(m, given.loss, SGD, 1),
        lambda m: loose.anil((BODY.init, BODY.apply), m, given.loss, SGD, 1),
        lambda m: mj.cavia(loose.lora(m, 2), given.loss, SGD, 1),
        lambda m: loose.finetune(m, given.loss, SGD, 1, columns=3),
    ):
        ours, theirs = (
            mj.query_loss(make(m), given.loss)(make(m).init(key, x), given.tasks, key)
            for m in (pair, MODEL)
        )
        assert float(ours) == pytest.approx(float(theirs))
