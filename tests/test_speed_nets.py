"""The networks of the speed benchmark: what PyTorch and equinox compute is what flax computes."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import chex
import contestants
import flax.linen as nn
import in_torch
import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest
from contestants import CONTESTANTS, MODELS, OF_NET, TREES, filled, learner_and_loss
from nets import common
from rows import speed
from workloads import arrays

import metajax as mj

REDUCED = {name: w.reduced() for name, w in speed.USER.items()}
ALL = {name: w.reduced() for name, w in speed.WORKLOADS.items()}
pytestmark = pytest.mark.filterwarnings("ignore")  # of torch, about this machine


def mapping(w, framework):
    return partial(getattr(nets.load(w.net), f"to_{framework}"), w)


def predictions(w):
    """Of the queries of the first task, in float64, before any inner step."""
    data = jax.tree.map(lambda a: a.astype(float) if a.dtype == np.float32 else a, arrays(w))
    sx, sy, qx, _ = (jnp.asarray(a[0]) for a in data.tasks)
    learner, _ = learner_and_loss(w)
    shapes = jax.eval_shape(learner.init, jax.random.key(0), sx)
    meta_params = filled(shapes, mapping(w, w.framework)(data.weights))
    options = {} if learner.num_steps is None else {"num_steps": 0}
    adapted = learner.adapt(meta_params, mj.Examples(sx, sy), jax.random.key(0), **options)
    return np.asarray(learner.predict(adapted, qx))


def torch_predictions(w):
    torch = pytest.importorskip("torch")
    net, data = nets.load(w.net), arrays(w)
    module = net.torch_net(w).double()
    weights = net.to_torch(w, data.weights).items()
    module.load_state_dict({k: torch.tensor(np.ascontiguousarray(v)) for k, v in weights})
    sx, sy, qx, _ = map(torch.tensor, data.tasks)
    sx, qx = (net.torch_inputs(x)[0] for x in (sx, qx))
    sx, qx = (x.double() if x.is_floating_point() else x for x in (sx, qx))
    sy = sy[0].double() if sy.is_floating_point() else sy[0]
    reads = w.learner in ("protonet", "transformer")
    return (module(sx, sy, qx) if reads else module(qx)).detach().numpy()


@pytest.fixture
def as_users(float64):
    """In float64, with JAX's own rules for broadcasting."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.parametrize("name", ALL)
def test_torch_computes_what_jax_computes(name, as_users):
    np.testing.assert_allclose(torch_predictions(ALL[name]), predictions(ALL[name]), rtol=1e-8)


@pytest.mark.parametrize("name", [name for name in REDUCED if name.endswith(", equinox")])
def test_equinox_computes_what_flax_computes(name, as_users):
    in_flax = REDUCED[name.removesuffix(", equinox")]
    np.testing.assert_allclose(predictions(REDUCED[name]), predictions(in_flax), rtol=1e-8)


@pytest.mark.parametrize("name", speed.TUNED)
def test_flax_computes_what_metajaxs_operations_compute(name, as_users):
    in_flax = speed.InFlax(**vars(ALL[name]))
    np.testing.assert_allclose(predictions(in_flax), predictions(ALL[name]), rtol=1e-8)


@pytest.mark.parametrize("name", ALL)
def test_gradients_come_back_under_their_names(name):
    w = ALL[name]
    weights = arrays(w).weights
    for framework in {w.framework, "linen", "torch"}:
        to = mapping(w, framework)
        back = common.undone(to, weights, to(weights))
        assert back.keys() == weights.keys()
        for key, value in weights.items():
            np.testing.assert_array_equal(back[key], value)


def test_a_network_that_computes_when_it_is_built_does_not_come_before_the_devices():
    words = ["--check", "--small", "--workload", "D, equinox", "--contestant", "metajax"]
    script = Path(contestants.__file__).parent / "speed.py"
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "D, equinox metajax: hypergradient differs by 0.0e+00" in done.stdout


def test_undone_leaves_nan_where_an_entry_is_lost():
    found = common.undone(lambda w: {"b": w["a"][:1]}, {"a": np.zeros(2)}, {"b": np.ones(1)})
    np.testing.assert_array_equal(found["a"], [1.0, np.nan])


def test_every_declared_contestant_exists_and_races_somewhere():
    known = {*CONTESTANTS, *(name for others in OF_NET.values() for name in others)}
    assert set(speed.CONTESTANTS) == known
    for name, entered in speed.CONTESTANTS.items():
        assert entered and set(entered) <= set(speed.WORKLOADS), name


@pytest.mark.parametrize("name", speed.WORKLOADS)
def test_metajax_races_first_on_every_workload(name):
    # Ratios are multiples of the first racer's time.
    first = next(c for c, entered in speed.CONTESTANTS.items() if name in entered)
    assert first == "metajax"
    w = speed.WORKLOADS[name]
    assert w.framework in MODELS and w.learner in in_torch.LEARNERS
    assert w.framework == "tuned" or w.framework in TREES


def by_shape(x, window, strides=None, padding="VALID"):
    """Max pooling as a maximum over axes of a reshaped array."""
    (kh, kw), (n, h, w, c) = window, x.shape
    return x.reshape(n, h // kh, kh, w // kw, kw, c).max((2, 4))


@pytest.mark.slow
@pytest.mark.parametrize("pool", [nn.max_pool, by_shape])
def test_compiled_and_rewritten_a_resnet_has_the_second_derivatives_as_written(
    pool, as_users, monkeypatch
):
    # Compiled as it is written, the second way of pooling gives a Hessian-vector product that is wrong
    # by three quarters: see `metajax.ops.greatest`.
    w = speed.USER["G"]
    w = replace(w, settings={**w.settings, "size": 16, "filters": 8})
    (net,) = nets.load(w.net).linen(w)
    x, y = (
        jnp.asarray(a[0], float if a.dtype == np.float32 else None) for a in arrays(w).tasks[:2]
    )
    written = mj.linen_model(net, statistics="batch", fast=False)
    shapes = jax.eval_shape(written.init, jax.random.key(0), x)
    weights = arrays(w).weights
    params = jax.tree.map(lambda v: v.astype(float), filled(shapes, mapping(w, "linen")(weights)))

    def product(model):
        gradient = jax.grad(lambda p: jnp.mean(mj.cross_entropy(model.apply(p, x), y)))
        return jax.jit(lambda p: jax.jvp(gradient, (p,), (p,))[1])(params)

    expected = product(written)
    monkeypatch.setattr(nn, "max_pool", pool)
    chex.assert_trees_all_close(product(mj.fast(written)), expected, rtol=1e-9, atol=1e-11)
