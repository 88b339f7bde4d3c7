"""One outer step, as a user of each library would write it: JAX's contestants, and a list of all.

Each contestant is built from a workload and its arrays and has these methods: `hypergradient() ->
{name: array}` in float64, where no activation is near enough to a kink of ReLU or of pooling to fall
on either side of it, and `steps(n)`, which takes `n` outer steps with Adam in float32 and returns when
they are done. A process calls one of them. All compute on the GPU where there is one, and `device_mb()` says
how much of its memory they took.
"""

from abc import ABC, abstractmethod
from collections import ChainMap
from functools import partial
from typing import Any, NamedTuple

import in_torch
import jax
import jax.numpy as jnp
import nets
import numpy as np
import optax
from nets import common, peer
from nets.tuned import jax_apply
from rows.speed import InFlax, UserWorkload, Workload
from workloads import Arrays, arrays

import metajax as mj
from metajax.cpu import prepare_cpu


class _Jax(ABC):
    """All steps in one dispatch."""

    def __init__(self, w: Any, arrays: Arrays):
        self.w, self.weights = w, arrays.weights
        self.to = partial(getattr(nets.load(w.net), f"to_{w.framework}"), w)
        init, update = self.outer_step(optax.adam(1e-3))
        self.tasks = jax.tree.map(jnp.asarray, _as_task(*arrays.tasks))
        self.key = jax.random.key(0)
        self.meta_params = self.start()
        self.state = jax.tree.map(jnp.copy, init(self.meta_params))

        @partial(jax.jit, donate_argnums=0)
        def many(state, tasks, n):
            return jax.lax.fori_loop(
                0, n, lambda _, state: update(state, tasks, self.key)[0], state
            )

        self.many = many

    @abstractmethod
    def outer_step(self, optimizer) -> tuple[Any, Any]:
        """`init` and `update`, as `mj.outer_step` returns them."""

    @abstractmethod
    def start(self) -> Any:
        """The meta-parameters."""

    def hypergradient(self):
        def exact(x):
            return jnp.asarray(x, jnp.float64 if jnp.issubdtype(x.dtype, jnp.floating) else None)

        with jax.enable_x64(True):
            init, update = self.outer_step(_KEEP)
            meta_params, tasks = jax.tree.map(exact, (self.meta_params, self.tasks))
            found = _by_path(update(init(meta_params), tasks, self.key)[0].opt_state)
            found = {path: np.asarray(value) for path, value in found.items()}
            return common.undone(self.to, self.weights, found)

    def steps(self, n: int) -> None:
        self.state = jax.block_until_ready(self.many(self.state, self.tasks, n))

    def device_mb(self) -> float | None:
        """The most memory of a device that arrays have taken; None on a CPU, which is the process's."""
        found = jax.local_devices()[0].memory_stats() or {}
        peak = found.get("peak_bytes_in_use")
        return None if peak is None else peak / 2**20


def _keep(updates, state, params=None):
    del state, params
    return jax.tree.map(jnp.zeros_like, updates), updates


_KEEP = optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params), _keep)
"""An optimiser that changes nothing, and whose state is the last gradient."""


def _as_task(sx, sy, qx, qy):
    return mj.Task(mj.Examples(sx, sy), mj.Examples(qx, qy))


def _by_path(tree) -> dict[str, Any]:
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def filled(tree, values):
    """A tree whose leaves are these values, by their path."""
    shapes = {path: leaf.shape for path, leaf in _by_path(tree).items()}
    found = {path: value.shape for path, value in values.items()}
    assert shapes == found, f"weights are {found}, and the network has {shapes}"
    return jax.tree.unflatten(jax.tree.structure(tree), [jnp.asarray(values[p]) for p in shapes])


MODELS = {
    "tuned": lambda w, net: [mj.Model(lambda key, x: arrays(w).weights, jax_apply(w))],
    "linen": lambda w, net: [
        mj.linen_model(module, statistics=net.statistics(w)) for module in net.linen(w)
    ],
    "equinox": lambda w, net: [mj.equinox_model(net.equinox(w))],
}
"""Networks as models, by what they are written in."""
LEARNERS = {
    "maml": lambda w, loss, model: mj.maml(model, loss, optax.sgd(w.rate), w.num_steps),
    "anil": lambda w, loss, body, head: mj.anil(body, head, loss, optax.sgd(w.rate), w.num_steps),
    "protonet": lambda w, loss, embed: mj.protonet(embed),
    "imaml": lambda w, loss, model: mj.imaml(
        model, loss, optax.sgd(w.rate), w.num_steps, strength=w.settings["strength"]
    ),
    "transformer": lambda w, loss: mj.transformer(
        mj.pixels, 1, **{name: w.settings[name] for name in ("width", "layers", "heads")}
    ),
}


def learner_and_loss(w: Workload | UserWorkload):
    """With metajax's defaults throughout."""
    loss = getattr(mj, w.loss)
    return LEARNERS[w.learner](w, loss, *MODELS[w.framework](w, nets.load(w.net))), loss


class Metajax(_Jax):
    """A network of flax or equinox, a learner, and an outer step: metajax's defaults."""

    def __init__(self, w: Any, arrays: Arrays):
        self.prepare(w)  # networks of equinox compute something when they are built
        self.learner, loss = self.learner_and_loss(w)
        self.objective = mj.query_loss(self.learner, loss)
        super().__init__(w, arrays)

    def prepare(self, w: Any) -> None:
        prepare_cpu()

    def learner_and_loss(self, w: Any):
        return learner_and_loss(w)

    def outer_step(self, optimizer):
        return mj.outer_step(self.objective, optimizer, mj.automatic(mj.task_mesh()))

    def start(self):
        x = jax.tree.map(lambda leaf: leaf[0], self.tasks.support.x)
        return filled(jax.eval_shape(self.learner.init, self.key, x), self.to(self.weights))


class Tuned(Metajax):
    """A network of metajax's operations, with the adjoint and the estimator that suit it."""

    convolution: Any = None

    def prepare(self, w: Workload) -> None:
        if w.is_conv:  # one step of A is over before two devices have met
            prepare_cpu()

    def learner_and_loss(self, w: Workload):
        model = mj.Model(lambda key, x: arrays(w).weights, jax_apply(w, self.convolution))
        loss, adjoint = getattr(mj, w.loss), self.choose_adjoint(w)
        return mj.maml(model, loss, optax.sgd(w.rate), w.num_steps, adjoint=adjoint), loss

    def choose_adjoint(self, w: Workload):
        return mj.mixed_mode if w.num_steps > 1 else mj.unrolled

    def choose_estimator(self, w: Workload):
        if not w.is_conv:
            return jax.value_and_grad
        return mj.parallel(w.meta_batch, mesh=mj.task_mesh(w.meta_batch))

    def outer_step(self, optimizer):
        return mj.outer_step(self.objective, optimizer, self.choose_estimator(self.w))


class Unrolled(Tuned):
    """The same with all activations of the inner loop kept, where there is more than one step."""

    def choose_adjoint(self, w: Workload):
        return mj.unrolled


class PlainFlax(Metajax):
    """A to C as a user writes them, with metajax's defaults, of which `mj.fast` is one."""

    def __init__(self, w: Workload, arrays: Arrays):
        super().__init__(InFlax(**vars(w)), arrays)


class TunedPlainJax(Unrolled):
    """The same with jax.lax convolutions, and jax.grad of jax.vmap."""

    convolution = staticmethod(jax.lax.conv_general_dilated)

    def choose_estimator(self, w: Workload):
        return jax.value_and_grad


class _State(NamedTuple):
    meta_params: Any
    opt_state: Any


class PlainJax(_Jax):
    """jax.grad of jax.vmap, without metajax."""

    def __init__(self, w: UserWorkload, arrays: Arrays):
        self.networks = APPLY[w.framework](w, nets.load(w.net))
        self.loss = {
            "cross_entropy": lambda *a: jnp.mean(
                optax.softmax_cross_entropy_with_integer_labels(*a)
            ),
            "mse": lambda predictions, y: jnp.mean((predictions - y) ** 2),
        }[w.loss]
        super().__init__(w, arrays)

    def outer_step(self, optimizer):
        task_loss = partial(TASK_LOSS[self.w.learner], self)

        def objective(meta_params, tasks):
            (sx, sy, _), (qx, qy, _) = tasks
            losses = jax.vmap(task_loss, (None, 0, 0, 0, 0))(meta_params, sx, sy, qx, qy)
            return jnp.mean(losses)

        @jax.jit
        def update(state, tasks, key):
            gradient = jax.grad(objective)(state.meta_params, tasks)
            updates, opt_state = optimizer.update(gradient, state.opt_state, state.meta_params)
            return _State(optax.apply_updates(state.meta_params, updates), opt_state), None

        return lambda params: _State(params, optimizer.init(params)), update

    def start(self):
        return TREES[self.w.framework](self.w, self.to(self.weights))


class Jaxopt(PlainJax):
    """jaxopt.implicit_diff.custom_root with conjugate gradients, inside jax.vmap over all tasks."""


def _linen_applies(w, net):
    def apply(module, params, x):
        return module.apply(params, x, mutable=["batch_stats"])[0]

    return [partial(apply, module) for module in net.linen(w)]


def _equinox_template(w, net):
    eqx = peer("equinox")
    module = eqx.filter_eval_shape(net.equinox(w), jax.random.key(0))
    return eqx, *eqx.partition(module, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))


def _equinox_applies(w, net):
    eqx, _, constants = _equinox_template(w, net)
    return [lambda params, x: jax.vmap(eqx.combine(params, constants))(x)]


def _nested(w, values):
    traverse = peer("flax.traverse_util")
    return traverse.unflatten_dict({k: jnp.asarray(v) for k, v in values.items()}, sep="/")


APPLY = {"linen": _linen_applies, "equinox": _equinox_applies}
TREES = {
    "linen": _nested,
    "equinox": lambda w, values: filled(_equinox_template(w, nets.load(w.net))[1], values),
}
"""Networks without metajax: functions `(params, x) -> predictions`, and parameters of the given values."""


def _maml_loss(self: PlainJax, params, sx, sy, qx, qy):
    (apply,) = self.networks
    return _after_descent(self, apply, params, sx, sy, qx, qy)


def _anil_loss(self: PlainJax, params, sx, sy, qx, qy):
    embed, apply = self.networks
    features, queries = embed(params["body"], sx), embed(params["body"], qx)
    return _after_descent(self, apply, params["head"], features, sy, queries, qy)


def _after_descent(self: PlainJax, apply, params, sx, sy, qx, qy):
    def loss(params, x, y):
        return self.loss(apply(params, x), y)

    def step(params, _):
        gradient = jax.grad(loss)(params, sx, sy)
        return jax.tree.map(lambda p, g: p - self.w.rate * g, params, gradient), None

    params, _ = jax.lax.scan(step, params, length=self.w.num_steps)
    return loss(params, qx, qy)


def _protonet_loss(self: PlainJax, params, sx, sy, qx, qy):
    (embed,) = self.networks
    member = jax.nn.one_hot(sy, self.w.way)
    means = member.T @ embed(params, sx) / jnp.sum(member, axis=0)[:, None]
    queries = embed(params, qx)
    squares = jnp.sum(queries**2, axis=1)[:, None] + jnp.sum(means**2, axis=1)[None]
    return self.loss(2 * queries @ means.T - squares, qy)


def _imaml_loss(self: PlainJax, centre, sx, sy, qx, qy):
    jaxopt = peer("jaxopt")
    (apply,) = self.networks

    def loss(params, x, y):
        return self.loss(apply(params, x), y)

    def penalised(params, centre, x, y):
        gap = jax.tree.map(lambda p, c: jnp.sum((p - c) ** 2), params, centre)
        return loss(params, x, y) + self.w.settings["strength"] / 2 * sum(jax.tree.leaves(gap))

    gradient = jax.grad(penalised)
    solver = partial(jaxopt.linear_solve.solve_cg, maxiter=5, tol=1e-10)

    @jaxopt.implicit_diff.custom_root(gradient, solve=solver)
    def solve(params, centre, x, y):
        def step(params, _):
            moves = gradient(params, centre, x, y)
            return jax.tree.map(lambda p, g: p - self.w.rate * g, params, moves), None

        return jax.lax.scan(step, params, length=self.w.num_steps)[0]

    return loss(solve(jax.lax.stop_gradient(centre), centre, sx, sy), qx, qy)


TASK_LOSS = {
    "maml": _maml_loss,
    "anil": _anil_loss,
    "protonet": _protonet_loss,
    "imaml": _imaml_loss,
}
"""The loss of a task without metajax."""

CONTESTANTS: dict[str, Any] = {
    "metajax": Metajax,
    "plain JAX": PlainJax,
    "jaxopt": Jaxopt,
    **in_torch.CONTESTANTS,
}
OF_NET: dict[str, dict[str, Any]] = {
    "tuned": {
        "metajax": Tuned,
        "metajax, unrolled": Unrolled,
        "metajax, plain flax": PlainFlax,
        "plain JAX": TunedPlainJax,
    }
}
"""Contestants that are others on these networks."""


def contestant(w: Workload | UserWorkload, name: str) -> Any:
    """The class of a contestant on a workload."""
    return ChainMap(OF_NET.get(w.net, {}), CONTESTANTS)[name]
