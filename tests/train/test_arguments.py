"""Wrong uses of `fit`: one sentence each, before anything is compiled or written."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj

LEARNER = mj.maml(mj.mlp((2,)), mj.mse, optax.sgd(0.01), num_steps=1)
OBJECTIVE = mj.query_loss(LEARNER, mj.mse)
ADAM = optax.adam(1e-3)
SAMPLE = mj.tasks.sinusoid(shot=3)
OPTIONS: Any = {"key": jax.random.key(0), "outer_steps": 2, "meta_batch": 2, "show_progress": False}


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((OBJECTIVE, LEARNER, ADAM, SAMPLE), {}, r"learner is a TaskMean, not a mj\.Learner .* The order is"),
        ((mj.mlp(), OBJECTIVE, ADAM, SAMPLE), {}, "learner is a Model, not a mj"),
        ((LEARNER, ADAM, OBJECTIVE, SAMPLE), {}, r"objective is a \w+, which cannot be called"),
        ((LEARNER, mj.mse, ADAM, SAMPLE), {}, r"objective is mse, which cannot be called with \(meta_par"),
        ((LEARNER, mj.query_loss, ADAM, SAMPLE), {}, r"give such as mj\.query_loss\(learner, mj\.mse\)"),
        ((LEARNER, lambda w, t, k: jnp.ones(3), ADAM, SAMPLE), {}, "must return a scalar, the mean over"),
        ((LEARNER, OBJECTIVE, optax.adam, SAMPLE), {}, "optimizer is adam, not an optax transformation"),
        ((LEARNER, OBJECTIVE, SAMPLE, ADAM), {}, "optimizer is .* not an optax transformation"),
        ((LEARNER, OBJECTIVE, ADAM, "omniglot"), {}, "sample is an iterable that holds a str"),
        ((), {"key": 0}, r"key=0 must be a typed key, such as jax\.random\.key\(0\)"),
        ((), {"key": jax.random.PRNGKey(0)}, "give a typed key"),
        ((), {"key": jax.random.split(jax.random.key(0))}, r"key has shape \(2,\); give one key"),
        ((), {"mesh": 4}, r"fit: mesh=4 must be a mesh of devices, such as mj\.task_mesh\(meta_batch\)"),
        ((), {"mesh": jax.sharding.Mesh(np.array(jax.devices()), ("batch",))}, "over an axis 'tasks'"),
        ((), {"outer_steps": 2.5}, "outer_steps=2.5 must be an integer of at least 1"),
        ((), {"outer_steps": 0}, "outer_steps=0 must be"),
        ((), {"outer_steps": True}, "outer_steps=True must be"),
        ((), {"report_every": 0}, "report_every=0 must be an integer of at least 1"),
        ((), {"report_every": -1}, "report_every=-1 must be"),
        ((), {"checkpoint_every_seconds": float("nan")}, "checkpoint_every_seconds=nan must be"),
        ((), {"validate": 0.5}, "validate is a float; give a function"),
        ((), {"callbacks": print}, "callbacks=<built-in function print> must be a list of functions"),
        ((), {"callbacks": ["wandb"]}, r"callbacks=\['wandb'\] must be a list"),
        ((), {"resume": True}, "resume=True needs the run_dir to resume"),
        ((), {"tensorboard": True}, "tensorboard=True needs a run_dir to write events into"),
        ((), {"run_dir": 3}, "run_dir=3 must be the path of a folder"),
        ((), {"settings": {"model": mj.mlp}}, "settings holds .*function mlp.* which settings.json cannot"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        fit: Any = mj.fit
        fit(*(arguments or (LEARNER, OBJECTIVE, ADAM, SAMPLE)), **(OPTIONS | options))


def source(labels, outputs, *, x=None, mask=None):
    """Tasks with these labels, whatever the key."""
    count = len(labels)

    def sample(key):
        inputs = jax.random.normal(key, (count, outputs)) if x is None else jnp.asarray(x)
        inputs = inputs + 0 * jax.random.normal(key, (count, 1))
        examples = mj.Examples(inputs, jnp.asarray(labels), mask)
        return mj.Task(examples, examples)

    return sample


def head(outputs):
    """A learner that predicts `(n, outputs)` from a matrix, without an inner loop."""
    model = mj.Model(lambda key, x: jnp.eye(x.shape[1])[:, :outputs] + 0.1, lambda w, x: x @ w)
    return mj.maml(model, mj.mse, optax.sgd(0.1), num_steps=0)


def trains(loss, labels, outputs, **options):
    learner = head(outputs)
    state = mj.fit(learner, mj.query_loss(learner, loss), optax.sgd(1e-3), source(labels, outputs, **options),
                   **OPTIONS)  # fmt: skip
    return int(state.step) == 2


def clamped(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1, mode="clip")[
        :, 0
    ]


def one_hot(logits, labels):
    return -jnp.sum(jax.nn.one_hot(labels, logits.shape[1]) * jax.nn.log_softmax(logits), axis=1)


CLASSIFICATION = [
    mj.cross_entropy, optax.softmax_cross_entropy_with_integer_labels, clamped, one_hot
]  # fmt: skip


@pytest.mark.parametrize("loss", CLASSIFICATION)
def test_labels_beyond_the_outputs_are_refused(loss):
    assert trains(loss, [0, 1, 2], 3)
    with pytest.raises(
        ValueError, match="the model gives 3 outputs for a query and the source draws 5-"
    ):
        trains(loss, [0, 1, 4], 3)


@pytest.mark.parametrize("loss", CLASSIFICATION)
def test_labels_below_zero_are_refused_unless_they_are_masked(loss):
    with pytest.raises(
        ValueError, match=r"the tasks hold label -1; labels must be in 0 \.\. 2\. Mask"
    ):
        trains(loss, [0, 1, -1], 3)
    assert trains(loss, [0, 1, -1], 3, mask=jnp.array([True, True, False]))


def binary(logits, labels):
    return optax.sigmoid_binary_cross_entropy(logits[:, 0], labels)


def squared(predictions, targets):
    return (predictions[:, 0] - targets) ** 2


def negative_binomial(predictions, counts):
    """With a dispersion of 1 for each mean, up to constants: counts enter as numbers."""
    mean = jnp.exp(predictions[:, 0])
    return -counts * jnp.log(mean) + (counts + jnp.exp(predictions[:, 1])) * jnp.log1p(mean)


@pytest.mark.parametrize(
    "loss, labels, outputs",
    [(binary, [0, 1, 1], 1), (squared, [7, -3, 2], 1), (squared, [7, -3, 2], 2),
     (negative_binomial, [12, 0, 5], 2)],
)  # fmt: skip
def test_integers_that_are_no_classes_are_trained_on(loss, labels, outputs):
    assert trains(loss, labels, outputs)


def test_nan_in_the_data_is_named_before_training():
    x = np.ones((3, 2), np.float32)
    x[1, 0] = np.nan
    with pytest.raises(
        ValueError,
        match=r"the tasks hold nan in support\.x, and the loss of the untrained model is nan",
    ):
        trains(squared, [1, 2, 3], 2, x=x)
    assert trains(squared, [1, 2, 3], 2, x=x, mask=jnp.array([True, False, True]))


def test_nothing_is_written_when_a_run_is_refused(tmp_path):
    learner = head(3)
    with pytest.raises(ValueError, match="5-way tasks"):
        mj.fit(learner, mj.query_loss(learner, mj.cross_entropy), ADAM, source([0, 1, 4], 3),
               run_dir=tmp_path / "run", **OPTIONS)  # fmt: skip
    assert list(tmp_path.iterdir()) == []
