"""Hypergradients against arithmetic on paper, finite differences and each other."""

from functools import partial

import chex
import jax
import jax.flatten_util
import jax.numpy as jnp
import optax
import pytest
from contract.tables import ADJOINTS, EXACT, HELD, INNER, LEARNERS, normalised, smooth

import metajax as mj

LINE = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
ONE = jnp.ones((1, 1))


@pytest.mark.parametrize("adjoint, expected", [(mj.unrolled, 0.5), (mj.first_order, 1.0)])
def test_hypergradient_of_one_step_by_hand(adjoint, expected, key):
    # At x = 1 one step on y = wx lands on v = w - 2a(w - s), and d(v - q)^2/dw = 2(v - q)(1 - 2a).
    # With w = 0, s = 3, q = 1, a = 1/4, v is 3/2. First order leaves out the factor 1 - 2a.
    learner = mj.maml(LINE, mj.mse, optax.sgd(0.25), num_steps=1, adjoint=adjoint)
    tasks = mj.Task(support=mj.Examples(ONE, 3 * ONE), query=mj.Examples(ONE, ONE))
    hypergradient = jax.grad(mj.query_loss(learner, mj.mse))(jnp.zeros(()), tasks, key)
    assert hypergradient == pytest.approx(expected)


@pytest.mark.parametrize("num_steps", [2, 5])
@pytest.mark.parametrize("name", ADJOINTS)
def test_hypergradient_of_many_steps_by_hand(name, num_steps, key):
    # Each step that is derived multiplies w - s by r = 1 - 2a, so the hypergradient is 2(v - q) r^n.
    derived = {**dict.fromkeys(EXACT, num_steps), **dict.fromkeys(HELD, 0)}.get(name, 2)
    learner = mj.maml(LINE, mj.mse, optax.sgd(0.25), num_steps, adjoint=ADJOINTS[name])
    tasks = mj.Task(support=mj.Examples(ONE, 3 * ONE), query=mj.Examples(ONE, ONE))
    v = 3 - 3 * 0.5**num_steps
    hypergradient = jax.grad(mj.query_loss(learner, mj.mse))(jnp.zeros(()), tasks, key)
    assert hypergradient == pytest.approx(2 * (v - 1) * 0.5**derived)


@pytest.mark.parametrize(
    "solver, share",
    [
        (mj.conjugate_gradient(1), 1.0),
        (mj.conjugate_gradient(1, damping=4.0), 0.5),  # 8 in place of the Hessian
        (mj.neumann(1, 0.1), 0.4),  # T1-T2: 1 - (1 - 0.1 * 4)^1
        (mj.neumann(3, 0.1), 1 - 0.6**3),
    ],
)
def test_implicit_hypergradient_by_hand(solver, share, key):
    # The inner loss (w - s)^2 + (w - m)^2 has its minimum at (s + m)/2, where its Hessian is 4, and
    # dw/dm = 1/2; a series of k terms reaches 1 - (1 - 4 rate)^k of the inverse.
    learner = mj.imaml(LINE, mj.mse, optax.sgd(0.1), 200, strength=2.0, adjoint=mj.implicit(solver))
    tasks = mj.Task(support=mj.Examples(ONE, 3 * ONE), query=mj.Examples(ONE, ONE))
    hypergradient = jax.grad(mj.query_loss(learner, mj.mse))(jnp.ones(()), tasks, key)
    assert hypergradient == pytest.approx(2 * (2 - 1) * 0.5 * share, rel=1e-4)


def test_damping_makes_an_indefinite_system_one_that_conjugate_gradients_solve():
    def indefinite(x):
        return jnp.array([4.0, -2.0]) * x

    solution = mj.conjugate_gradient(2, damping=6.0)(indefinite, jnp.ones(2))
    chex.assert_trees_all_close(solution, jnp.array([0.1, 0.25]), rtol=1e-5)


def test_implicit_serves_several_numbers_of_steps_and_no_step_but_the_last(key):
    # Whatever the way, the derivative is that of an end: 1/2 at each, of values 1.8 and 2 - 0.6^200.
    learner = mj.imaml(LINE, mj.mse, optax.sgd(0.1), 200, strength=2.0)
    tasks = mj.Task(support=mj.Examples(ONE, 3 * ONE), query=mj.Examples(ONE, ONE))

    def hypergradient(num_steps):
        objective = mj.query_loss(learner, mj.mse, num_steps=num_steps)
        return jax.grad(objective)(jnp.ones(()), tasks, key)

    expected = (hypergradient(1) + hypergradient(200)) / 2
    assert hypergradient((1, 200)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER)
@pytest.mark.parametrize("problem", ["regression", "classification"])
@pytest.mark.parametrize(
    "solver", [mj.conjugate_gradient(60), mj.neumann(400, 0.15)], ids=["cg", "neumann"]
)
def test_implicit_hypergradient_against_finite_differences(solver, inner, problem, key, float64):
    del float64
    outputs, loss = (1, mj.mse) if problem == "regression" else (3, mj.cross_entropy)
    model, x = smooth(outputs), jax.random.normal(key, (2, 2, 6, 2))
    y = x[..., :1] if problem == "regression" else jnp.tile(jnp.arange(3), (2, 2, 2))
    tasks = mj.Task(mj.Examples(x[0], y[0]), mj.Examples(x[1], y[1]))
    rates = optax.chain(inner, optax.scale_by_schedule(optax.exponential_decay(1.0, 50, 0.5)))
    solving = inner if inner is not INNER["adam"] else rates  # Adam circles the minimum otherwise
    learner = mj.imaml(model, loss, solving, 1500, strength=2.0, adjoint=mj.implicit(solver))
    objective = mj.query_loss(learner, loss)
    flat, unravel = jax.flatten_util.ravel_pytree(model.init(key, x[0, 0]))
    value = jax.jit(lambda flat: objective(unravel(flat), tasks, key))
    h = 1e-4
    directions = jax.random.normal(key, (4, flat.size))
    differences = jnp.stack(
        [(value(flat + h * d) - value(flat - h * d)) / (2 * h) for d in directions]
    )
    gradient = jax.jit(jax.grad(lambda flat: objective(unravel(flat), tasks, key)))(flat)
    assert jnp.linalg.norm(gradient) > 1e-3
    chex.assert_trees_all_close(directions @ gradient, differences, rtol=1e-3, atol=1e-6)


def test_an_implicit_maml_learns_nothing_and_the_doctor_says_so(key):
    row = LEARNERS["maml"]
    learner = mj.maml(
        smooth(1), mj.mse, optax.sgd(0.1), 2, adjoint=mj.implicit(mj.conjugate_gradient(3))
    )
    tasks = jax.vmap(row.sample)(jax.random.split(key, 3))
    meta_params = learner.init(key, tasks.support.x[0])
    found = mj.inspect(learner, mj.mse, meta_params, tasks, key, reference=row.learner)
    assert len(found.dead) == len(jax.tree.leaves(meta_params)) == 4
    assert "will not be learned" in str(found)


def test_the_doctor_measures_what_it_says(key):
    row = LEARNERS["maml"]
    tasks = jax.vmap(row.sample)(jax.random.split(key, 3))
    meta_params = row.learner.init(key, tasks.support.x[0])
    arguments = row.learner, mj.mse, meta_params, tasks, key
    found = mj.inspect(*arguments, num_steps=2, reference=LEARNERS["fomaml"].learner)
    gradients = [
        jax.grad(mj.query_loss(LEARNERS[name].learner, mj.mse))(meta_params, tasks, key)
        for name in ("maml", "fomaml")
    ]
    exact, first = (jax.flatten_util.ravel_pytree(g)[0] for g in gradients)
    cosine = exact @ first / jnp.linalg.norm(exact) / jnp.linalg.norm(first)
    assert found.cosine == pytest.approx(float(cosine), rel=1e-4)
    assert float(cosine) < 0.9999
    assert found.norms[2] == pytest.approx(float(jnp.linalg.norm(exact)), rel=1e-4)
    assert (found.dead, found.first_non_finite, len(found.norms)) == ((), None, 3)
    assert found.gigaflop > 0

    wild = mj.maml(smooth(1), mj.mse, optax.sgd(1e30), 2)
    broken = mj.inspect(wild, mj.mse, meta_params, tasks, key, num_steps=2)
    assert broken.first_non_finite is not None
    assert "lower the inner rate" in str(broken)


def test_truncated_is_exact_from_where_it_begins(key):
    row = LEARNERS["maml"]
    task = row.sample(key)
    meta_params = row.learner.init(key, task.support.x)
    tasks = jax.tree.map(lambda leaf: leaf[None], task)

    def hypergradient(meta_params, num_steps, adjoint):
        learner = mj.maml(smooth(1), mj.mse, optax.sgd(0.1), num_steps, adjoint=adjoint)
        return jax.jit(jax.grad(mj.query_loss(learner, mj.mse)))(meta_params, tasks, key)

    after_two = jax.jit(partial(row.learner.adapt, num_steps=2))(meta_params, task.support, key)
    chex.assert_trees_all_close(
        hypergradient(meta_params, 5, mj.truncated(3)),
        hypergradient(after_two, 3, mj.unrolled),
        rtol=1e-4,
        atol=1e-6,
    )
    with pytest.raises(ValueError, match="last=-1 must be an integer of at least 0"):
        mj.truncated(-1)


def test_mixed_mode_also_derives_by_what_the_gradient_reads(key):
    # The centre of a proximal term reaches the gradient as an argument, and is meta-learned.
    def objective(centre, adjoint):
        def gradient(w, centre):
            return jax.grad(lambda w: jnp.sum(jnp.sin(w) + 0.5 * (w - centre) ** 2 * w))(w)

        solve = mj.descend(optax.sgd(0.1, momentum=0.9), 4)
        return jnp.sum(adjoint(solve, gradient, jnp.ones(3), centre) ** 2)

    centre = jax.random.normal(key, (3,))
    exact = jax.grad(objective)(centre, mj.unrolled)
    assert jnp.linalg.norm(exact) > 0.1
    chex.assert_trees_all_close(jax.grad(objective)(centre, mj.mixed_mode), exact, rtol=1e-5)


@pytest.mark.usefixtures("optimised")
def test_memory_per_step_is_the_weights_alone_where_it_is_promised(key):
    # Ten more steps on 400 examples of a hidden layer of 5 keep 10 * 400 * 5 floats or more.
    x = jnp.ones((400, 1))
    tasks = mj.Task(mj.Examples(x[None], x[None]), mj.Examples(x[None], x[None]))
    meta_params = smooth(1).init(key, x)

    def megabytes(adjoint, num_steps):
        learner = mj.maml(smooth(1), mj.mse, optax.sgd(0.1), num_steps, adjoint=adjoint)
        program = jax.jit(jax.grad(mj.query_loss(learner, mj.mse))).lower(meta_params, tasks, key)
        memory = program.compile().memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes / 1e6

    kept = 10 * 400 * 5 * 4 / 1e6
    growth = {
        name: megabytes(adjoint, 30) - megabytes(adjoint, 20) for name, adjoint in ADJOINTS.items()
    }
    assert growth["unrolled"] > kept
    for name in ("remat", "mixed_mode", "first_order", "truncated to two"):
        assert growth[name] < kept / 10, name


def test_bfloat16_keeps_the_direction_of_the_hypergradient(key):
    images = jax.random.uniform(key, (2, 2, 6, 8, 8, 1))
    labels = jnp.tile(jnp.arange(3), (2, 2, 2))
    tasks = mj.Task(mj.Examples(images[0], labels[0]), mj.Examples(images[1], labels[1]))
    meta_params = normalised().init(key, images[0, 0])

    def flat_hypergradient(model):
        learner = mj.maml(model, mj.cross_entropy, optax.sgd(0.1), 2)
        objective = mj.query_loss(learner, mj.cross_entropy)
        gradient = jax.jit(jax.grad(objective))(meta_params, tasks, key)
        chex.assert_trees_all_equal_dtypes(gradient, meta_params)
        return jax.flatten_util.ravel_pytree(gradient)[0]

    exact = flat_hypergradient(normalised())
    half = flat_hypergradient(mj.mixed_precision(normalised()))
    assert not jnp.array_equal(exact, half)
    # Eight bits of mantissa: a relative error of 2^-8 in each product, some of which add up.
    assert jnp.linalg.norm(exact - half) < 0.05 * jnp.linalg.norm(exact)


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER)
@pytest.mark.parametrize("name", [*EXACT, *HELD])
@pytest.mark.parametrize("problem", ["regression", "classification"])
def test_hypergradient_against_finite_differences(name, inner, problem, key, float64):
    del float64
    outputs, loss = (1, mj.mse) if problem == "regression" else (3, mj.cross_entropy)
    model = smooth(outputs)
    learner = mj.maml(model, loss, inner, num_steps=3, adjoint=ADJOINTS[name])
    x = jax.random.normal(key, (2, 2, 6, 2))
    y = x[..., :1] if problem == "regression" else jnp.tile(jnp.arange(3), (2, 2, 2))
    tasks = mj.Task(mj.Examples(x[0], y[0]), mj.Examples(x[1], y[1]))
    objective = mj.query_loss(learner, loss)
    meta_params = jax.tree.map(
        lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.size).reshape(leaf.shape)),
        model.init(key, x[0, 0]),
    )
    flat, unravel = jax.flatten_util.ravel_pytree(meta_params)
    assert flat.dtype == jnp.float64

    if name in EXACT:
        value = jax.jit(lambda flat: objective(unravel(flat), tasks, key))
    else:
        # Updates held constant move the adapted weights by exactly what moves the start.
        start = jax.jit(jax.vmap(lambda s: learner.adapt(meta_params, s, key)))(tasks.support)

        @jax.jit
        def value(moved):
            shift = unravel(moved - flat)

            def score(adapted, query):
                adapted = jax.tree.map(jnp.add, adapted, shift)
                return loss(learner.predict(adapted, query.x), query.y).mean()

            return jnp.mean(jax.vmap(score)(start, tasks.query))

    h = 1e-5
    basis = jnp.eye(flat.size)
    differences = jnp.stack([(value(flat + h * e) - value(flat - h * e)) / (2 * h) for e in basis])
    exact = jax.jit(jax.grad(objective))(meta_params, tasks, key)
    hypergradient, _ = jax.flatten_util.ravel_pytree(exact)
    assert jnp.linalg.norm(hypergradient) > 1e-3
    # Central differences err by rounding over h, 1e-11, and by h^2 times a third derivative, which
    # Adam makes large where a gradient is small.
    chex.assert_trees_all_close(hypergradient, differences, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER)
def test_every_adjoint_returns_the_same_value(inner, key):
    x = jax.random.normal(key, (6, 2))
    support = mj.Examples(x, x[:, :1])
    model = smooth(1)
    meta_params = model.init(key, x)
    learners = [mj.maml(model, mj.mse, inner, 4, adjoint=adjoint) for adjoint in ADJOINTS.values()]
    values = [jax.jit(learner.adapt)(meta_params, support, key) for learner in learners]
    for value in values[1:]:
        chex.assert_trees_all_close(values[0], value, atol=1e-6)


def test_first_order_is_the_gradient_at_the_adapted_weights(key):
    row = LEARNERS["fomaml"]
    task = row.sample(key)
    meta_params = row.learner.init(key, task.support.x)
    tasks = jax.tree.map(lambda leaf: leaf[None], task)
    hypergradient = jax.jit(jax.grad(mj.query_loss(row.learner, mj.mse)))(meta_params, tasks, key)
    adapted = jax.jit(row.learner.adapt)(meta_params, task.support, key)
    at_adapted = jax.grad(
        lambda p: mj.mse(row.learner.predict(p, task.query.x), task.query.y).mean()
    )
    chex.assert_trees_all_close(hypergradient, at_adapted(adapted), atol=1e-6)


def test_zero_steps_gives_the_plain_gradient(key):
    row = LEARNERS["maml"]
    learner = mj.maml(smooth(1), mj.mse, optax.sgd(0.1), num_steps=0)
    task = row.sample(key)
    meta_params = learner.init(key, task.support.x)
    tasks = jax.tree.map(lambda leaf: leaf[None], task)
    chex.assert_trees_all_close(
        jax.grad(mj.query_loss(learner, mj.mse))(meta_params, tasks, key),
        jax.grad(lambda p: mj.mse(learner.predict(p, task.query.x), task.query.y).mean())(
            meta_params
        ),
        atol=1e-6,
    )


def test_several_judged_steps_give_the_mean_of_their_hypergradients(key):
    row = LEARNERS["maml"]
    meta_params = row.learner.init(key, row.sample(key).support.x)
    tasks = jax.vmap(row.sample)(jax.random.split(key, 3))

    def hypergradient(num_steps):
        objective = mj.query_loss(row.learner, mj.mse, num_steps=num_steps)
        return jax.jit(jax.grad(objective))(meta_params, tasks, key)

    expected = jax.tree.map(lambda a, b: (a + b) / 2, hypergradient(1), hypergradient(3))
    chex.assert_trees_all_close(hypergradient((1, 3)), expected, rtol=1e-4, atol=1e-6)


def test_an_inner_rate_can_be_meta_learned(key, float64):
    # The learner is written by a user: its meta-parameters hold a rate that optax reads.
    del float64

    def adapt(meta_params, support, key):
        del key
        solve = mj.descend(optax.sgd(jnp.exp(meta_params["log_rate"])), 1)
        gradient = jax.grad(lambda w, s: mj.mse(w * s.x, s.y).mean())
        return mj.unrolled(solve, gradient, meta_params["w"], support)

    learner = mj.Learner(
        init=lambda key, x: {"w": jnp.zeros(()), "log_rate": jnp.log(0.25)},
        adapt=adapt,
        predict=lambda w, x: w * x,
    )
    tasks = mj.Task(support=mj.Examples(ONE, 3 * ONE), query=mj.Examples(ONE, ONE))
    meta_params = learner.init(key, ONE)
    gradient = jax.grad(mj.query_loss(learner, mj.mse))(meta_params, tasks, key)
    # v = 6a and a = exp(l), so d(v - 1)^2/dl = 2(v - 1) 6a = 2 * 1/2 * 3/2.
    assert gradient["log_rate"] == pytest.approx(1.5)
    assert gradient["w"] == pytest.approx(0.5)


def test_every_step_has_arrays_of_its_own(key):
    # y = wx + b at x = 1, target 3, rate 1/4: with b0 = 1 the step is w = 0 - 1/2 (0 + 1 - 3) = 1, and
    # b1 = 5 predicts 6. Of (6 - 3)^2 the derivatives are 6 by b1, and 6 * -1/2 by b0.
    model = mj.Model(
        init=lambda key, x: {"w": jnp.zeros(()), "b": jnp.ones(())},
        apply=lambda params, x: params["w"] * x + params["b"],
        groups={"bias": lambda params: {"w": False, "b": True}},
    )
    learner = mj.mamlpp(model, mj.mse, 1, rate=0.25, per_step="bias")
    meta_params = learner.init(key, ONE)
    meta_params.start["b"] = jnp.array([1.0, 5.0])
    tasks = mj.Task(mj.Examples(ONE, 3 * ONE), mj.Examples(ONE, 3 * ONE))
    value, gradient = jax.value_and_grad(mj.query_loss(learner, mj.mse))(meta_params, tasks, key)
    assert value == pytest.approx(9)
    assert gradient.start["b"].tolist() == pytest.approx([-3, 6])
    assert gradient.rates[0].tolist() == pytest.approx([6 * 4])  # w moves by 4 per rate


@pytest.mark.parametrize("inner", [optax.adam(1e-2), optax.nadamw(1e-2)], ids=["adam", "nadamw"])
def test_an_optimiser_with_a_nan_hypergradient_is_refused_before_training(inner, key):
    learner = mj.maml(mj.mlp(), mj.mse, inner, num_steps=1)
    with pytest.raises(ValueError, match=r"eps_root > 0, as in optax.adam\(1e-3, eps_root=1e-8\)"):
        learner.init(key, ONE)


@pytest.mark.parametrize("name", ["anil", "boil", "cavia", "warp", "proto_maml", "imaml"])
def test_so_it_is_by_every_learner_that_differentiates_its_steps(name, key):
    body, head, adam = smooth(3), mj.linear(3, start="lecun"), optax.adam(1e-2)
    learners = {
        "anil": lambda a: mj.anil(body, head, mj.cross_entropy, adam, 1, adjoint=a),
        "boil": lambda a: mj.boil(body, head, mj.cross_entropy, adam, 1, adjoint=a),
        "cavia": lambda a: mj.cavia(mj.concatenated(body, 2), mj.cross_entropy, adam, 1, adjoint=a),
        "warp": lambda a: mj.warp(body, mj.cross_entropy, adam, 1, frozen="last", adjoint=a),
        "proto_maml": lambda a: mj.proto_maml(body, mj.cross_entropy, adam, 1, adjoint=a),
        "imaml": lambda a: mj.imaml(body, mj.cross_entropy, adam, 1, strength=1.0, adjoint=a),
    }
    with pytest.raises(ValueError, match=f"{name}: the derivative of one step of `inner` is nan"):
        learners[name](mj.unrolled).init(key, ONE)
    learners[name](mj.first_order).init(key, ONE)
    if name == "imaml":
        learners[name](None).init(key, ONE)  # an implicit one takes no derivative of a step


def test_the_same_optimiser_is_accepted_where_its_derivative_is_not_taken(key):
    mj.maml(mj.mlp(), mj.mse, optax.adam(1e-2), 1, adjoint=mj.first_order).init(key, ONE)
    net = smooth(1)
    frozen = optax.masked(optax.sgd(0.1), jax.tree.map(lambda _: True, net.init(key, ONE)))
    mj.maml(net, mj.mse, frozen, 1).init(key, ONE)


def test_the_refused_optimiser_really_gives_nan(key):
    # Otherwise the refusal would be superstition: a support set that is fitted exactly.
    learner = mj.maml(LINE, mj.mse, optax.adam(1e-2), num_steps=1)
    tasks = mj.Task(support=mj.Examples(ONE, ONE), query=mj.Examples(ONE, 2 * ONE))
    assert jnp.isnan(jax.grad(mj.query_loss(learner, mj.mse))(jnp.ones(()), tasks, key))


def test_the_usual_adjoint_is_chosen_by_the_number_of_steps():
    def traced(num_steps, adjoint=None):
        learner = mj.maml(mj.mlp((3,)), mj.mse, optax.sgd(0.1), num_steps, adjoint=adjoint)
        objective = mj.query_loss(learner, mj.mse)
        tasks = mj.tasks.batch(mj.tasks.sinusoid(), jax.random.key(0), 2)
        meta_params = learner.init(jax.random.key(1), tasks.support.x[0])
        gradient = jax.grad(objective)(meta_params, tasks, jax.random.key(2))
        return gradient, str(
            jax.make_jaxpr(jax.grad(objective))(meta_params, tasks, jax.random.key(2))
        )

    for num_steps, expected in ((1, mj.unrolled), (3, mj.mixed_mode)):
        gradient, program = traced(num_steps)
        assert program == traced(num_steps, expected)[1]
        chex.assert_trees_all_close(gradient, traced(num_steps, mj.unrolled)[0], rtol=1e-4)
