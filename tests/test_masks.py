"""Which examples exist, by arithmetic on paper."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj
from metajax.masks import exists, filled, masked_mean, mean_loss

NAN = jnp.nan


def test_a_mean_over_the_examples_that_exist():
    values = jnp.array([[1.0, 2.0], [NAN, NAN], [3.0, 6.0]])
    np.testing.assert_allclose(masked_mean(values, jnp.array([True, False, True])), [2.0, 4.0])
    assert float(masked_mean(values[:, 0], jnp.zeros(3, bool))) == 0  # and not 0 / 0
    assert float(masked_mean(jnp.array(7.0), None)) == 7


def test_its_derivative_is_that_of_the_mean():
    mask = jnp.array([True, False, True])
    gradient = jax.grad(lambda v: masked_mean(v**2, mask))(jnp.array([1.0, 5.0, 3.0]))
    assert gradient.tolist() == [1.0, 0.0, 3.0]


@pytest.mark.parametrize(
    "values, mask, message",
    [
        (jnp.array(1.0), jnp.ones(3, bool), r"returns a scalar, but examples are masked"),
        (jnp.ones(3), jnp.ones(2, bool), r"mask has shape \(2,\) but there are values of 3"),
    ],
)
def test_a_mean_that_cannot_be_taken_is_refused(values, mask, message):
    with pytest.raises(ValueError, match=message):
        masked_mean(values, mask)


def test_masked_examples_become_copies_of_the_others_in_turn():
    x = {"a": jnp.array([NAN, 1.0, NAN, 2.0, NAN]), "b": jnp.arange(10).reshape(5, 2)}
    examples = mj.Examples(x, jnp.array([9, 5, 9, 6, 9]), jnp.array([0, 1, 0, 1, 0], bool))
    found = filled(examples)
    assert found.x["a"].tolist() == [1, 1, 2, 2, 1]
    assert found.x["b"].tolist() == [[2, 3], [2, 3], [6, 7], [6, 7], [2, 3]]
    assert found.y.tolist() == [5, 5, 6, 6, 5]
    assert exists(found).tolist() == [False, True, False, True, False]
    nothing = filled(examples._replace(mask=jnp.zeros(5, bool)))
    assert nothing.x["a"].tolist() == [0] * 5


def test_examples_without_a_mask_stay_the_very_same():
    examples = mj.Examples(jnp.ones(2), jnp.ones(2))
    assert filled(examples) is examples


@pytest.mark.parametrize(
    "loss", [mj.mse, optax.squared_error, lambda p, y: jnp.sum((p - y) ** 2, axis=-1) / 2]
)
def test_losses_per_example_and_per_output_have_one_mean(loss):
    examples = mj.Examples(None, jnp.zeros((3, 2)), jnp.array([True, True, False]))
    predictions = jnp.array([[1.0, 1.0], [3.0, 1.0], [9.0, 9.0]])
    assert float(mean_loss(loss, predictions, examples)) == 3.0


LINE = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)


def test_a_task_without_queries_weighs_nothing(key):
    # One step from 0 towards 3 or 5 lands halfway; queries at 0 give 9/4 and 25/4.
    learner = mj.maml(LINE, mj.mse, optax.sgd(0.25), num_steps=1)
    one = jnp.ones((3, 1))
    support = mj.Examples(one, jnp.array([[3.0], [5.0], [NAN]]))
    query = mj.Examples(one, 0 * one, jnp.array([[True], [True], [False]]))
    tasks = mj.Task(support._replace(y=jnp.array([[3.0], [5.0], [7.0]])), query)
    value, gradient = jax.value_and_grad(mj.query_loss(learner, mj.mse))(jnp.zeros(()), tasks, key)
    assert float(value) == pytest.approx((9 + 25) / 8)
    assert float(gradient) == pytest.approx((2 * 1.5 * 0.5 + 2 * 2.5 * 0.5) / 2)
    scores = mj.evaluate(learner, jnp.zeros(()), tasks, mj.mse)
    assert scores.num_empty == 1
    assert float(scores.mean) == pytest.approx((9 + 25) / 8)
    assert np.isnan(scores.values).tolist() == [False, False, True]


def test_optax_classification_loss_works_unwrapped(key):
    loss = optax.losses.softmax_cross_entropy_with_integer_labels
    learner = mj.maml(mj.linear(3), loss, optax.sgd(0.1), num_steps=1)
    sample = mj.tasks.clusters(way=3, shot=2, query_shot=2, dimension=4)
    tasks = mj.tasks.batch(sample, key, 3)
    meta_params = learner.init(key, tasks.support.x[0])
    ours = mj.maml(mj.linear(3), mj.cross_entropy, optax.sgd(0.1), num_steps=1)
    for a, b in ((learner, loss), (learner, mj.cross_entropy), (ours, loss)):
        value = mj.query_loss(a, b)(meta_params, tasks, key)
        assert float(value) == pytest.approx(
            float(mj.query_loss(ours, mj.cross_entropy)(meta_params, tasks, key)), rel=1e-6
        )
        assert float(mj.evaluate(a, meta_params, tasks, b).mean) == pytest.approx(
            float(value), rel=1e-5
        )
