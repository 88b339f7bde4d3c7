"""One outer step of MAML, second order, as a user of each library would write it.

Each contestant is built from a workload and its arrays and has two methods: `hypergradient() ->
{name: array}` in float64, where no activation is near enough to a kink of ReLU or of pooling to fall
on either side of it, and `steps(n)`, which takes `n` outer steps with Adam in float32 and returns when
they are done. A process calls one of them.
"""

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import numpy as np
from rows.speed import Workload
from workloads import Arrays, from_torch, jax_apply, peer, torch_net


class Metajax:
    """mj.outer_step with the estimator of this machine, all steps in one dispatch."""

    convolution: Any = None

    def __init__(self, w: Workload, arrays: Arrays):
        if w.is_conv:  # one step of A is over before two devices have met
            from metajax.cli.machine import one_device_per_core

            one_device_per_core()
        import jax
        import jax.numpy as jnp
        import optax

        import metajax as mj

        model = mj.Model(lambda key, x: arrays.weights, jax_apply(w, self.convolution))
        self.loss = mj.cross_entropy if w.is_conv else mj.mse
        adjoint = self.choose_adjoint(w)
        self.learner = mj.maml(model, self.loss, optax.sgd(w.rate), w.num_steps, adjoint=adjoint)
        self.objective = mj.query_loss(self.learner, self.loss)
        sx, sy, qx, qy = (jnp.asarray(a) for a in arrays.tasks)
        self.tasks = mj.Task(mj.Examples(sx, sy), mj.Examples(qx, qy))
        self.key = jax.random.key(0)
        self.estimator = self.choose_estimator(w)
        init, update = mj.outer_step(self.objective, optax.adam(1e-3), self.estimator)
        self.meta_params = jax.tree.map(jnp.asarray, arrays.weights)
        self.state = jax.tree.map(jnp.copy, init(self.meta_params))

        @partial(jax.jit, donate_argnums=0)
        def many(state, tasks, n):
            return jax.lax.fori_loop(
                0, n, lambda _, state: update(state, tasks, self.key)[0], state
            )

        self.many = many

    def choose_adjoint(self, w: Workload):
        import metajax as mj

        return mj.mixed_mode if w.num_steps > 1 else mj.unrolled

    def choose_estimator(self, w: Workload):
        import jax

        import metajax as mj

        if not w.is_conv:
            return jax.value_and_grad
        mesh = mj.task_mesh(w.meta_batch)
        return mj.parallel(w.meta_batch, mesh=mesh)

    def hypergradient(self):
        import jax
        import jax.numpy as jnp

        import metajax as mj

        def exact(x):
            return jnp.asarray(x, jnp.float64 if jnp.issubdtype(x.dtype, jnp.floating) else None)

        with jax.enable_x64(True):
            init, estimate = mj.lift(self.estimator)(self.objective)
            meta_params, tasks = jax.tree.map(exact, (self.meta_params, self.tasks))
            state = init(meta_params, tasks, self.key)
            _, gradient, _ = jax.jit(estimate)(meta_params, state, tasks, self.key)
            return {name: np.asarray(value) for name, value in gradient.items()}

    def steps(self, n: int) -> None:
        import jax

        self.state = jax.block_until_ready(self.many(self.state, self.tasks, n))


class Unrolled(Metajax):
    """The same with all activations of the inner loop kept, where there is more than one step."""

    def choose_adjoint(self, w: Workload):
        import metajax as mj

        return mj.unrolled


class NaiveJax(Unrolled):
    """Plain JAX: jax.lax convolutions, jax.grad of jax.vmap."""

    def __init__(self, w: Workload, arrays: Arrays):
        from jax import lax

        self.convolution = lax.conv_general_dilated
        super().__init__(w, arrays)

    def choose_estimator(self, w: Workload):
        import jax

        return jax.value_and_grad


class _Torch(ABC):
    def __init__(self, w: Workload, arrays: Arrays):
        torch = peer("torch")
        F = torch.nn.functional
        self.w = w
        self.net = torch_net(w, arrays.weights)
        tensors = [torch.from_numpy(np.ascontiguousarray(a)) for a in arrays.tasks]
        if w.is_conv:
            tensors = [t.permute(0, 1, 4, 2, 3).contiguous() if t.ndim == 5 else t for t in tensors]
        self.tasks = list(zip(*tensors, strict=True))
        self.stacked = tensors
        self.loss = F.cross_entropy if w.is_conv else F.mse_loss
        self.outer = torch.optim.Adam(self.net.parameters(), lr=1e-3)

    @abstractmethod
    def backward(self) -> None:
        """Put the hypergradient into `.grad` of the parameters."""

    def hypergradient(self):
        self.net.double()
        self.stacked = [t.double() if t.is_floating_point() else t for t in self.stacked]
        self.tasks = list(zip(*self.stacked, strict=True))
        self.outer.zero_grad()
        self.backward()
        return from_torch(self.w, {name: p.grad for name, p in self.net.named_parameters()})

    def steps(self, n: int) -> None:
        for _ in range(n):
            self.outer.zero_grad()
            self.backward()
            self.outer.step()


class Higher(_Torch):
    """higher.innerloop_ctx, a task after the other, gradients accumulated."""

    def backward(self):
        higher, torch = peer("higher"), peer("torch")
        inner = torch.optim.SGD(self.net.parameters(), lr=self.w.rate)
        for sx, sy, qx, qy in self.tasks:
            with higher.innerloop_ctx(self.net, inner, copy_initial_weights=False) as (net, opt):
                for _ in range(self.w.num_steps):
                    opt.step(self.loss(net(sx), sy))
                (self.loss(net(qx), qy) / len(self.tasks)).backward()


class TorchOpt(_Torch):
    """torchopt.MetaSGD with extract and recover, a task after the other, gradients accumulated."""

    def __init__(self, w, arrays):
        super().__init__(w, arrays)
        self.inner = peer("torchopt").MetaSGD(self.net, lr=w.rate)

    def backward(self):
        torchopt = peer("torchopt")
        net_state = torchopt.extract_state_dict(self.net, by="reference")
        inner_state = torchopt.extract_state_dict(self.inner, by="reference")
        for sx, sy, qx, qy in self.tasks:
            for _ in range(self.w.num_steps):
                self.inner.step(self.loss(self.net(sx), sy))
            (self.loss(self.net(qx), qy) / len(self.tasks)).backward()
            torchopt.recover_state_dict(self.net, net_state)
            torchopt.recover_state_dict(self.inner, inner_state)


class TorchFunc(_Torch):
    """torch.func.grad inside torch.func.vmap over all tasks."""

    in_vmap = True

    def backward(self):
        func = peer("torch.func")
        functional_call, grad, vmap = func.functional_call, func.grad, func.vmap
        params = dict(self.net.named_parameters())

        def inner(params, x, y):
            return self.loss(functional_call(self.net, params, (x,)), y)

        def outer(params, sx, sy, qx, qy):
            for _ in range(self.w.num_steps):
                gradient = grad(inner)(params, sx, sy)
                params = {k: p - self.w.rate * gradient[k] for k, p in params.items()}
            return inner(params, qx, qy)

        if self.in_vmap:
            vmap(outer, in_dims=(None, 0, 0, 0, 0))(params, *self.stacked).mean().backward()
        else:
            for task in self.tasks:
                (outer(params, *task) / len(self.tasks)).backward()


class TorchFuncLoop(TorchFunc):
    """torch.func.grad inside a task, one after the other, gradients accumulated."""

    in_vmap = False


CONTESTANTS = {
    "metajax": Metajax,
    "metajax, unrolled": Unrolled,
    "torch.func + vmap": TorchFunc,
    "torch.func, loop": TorchFuncLoop,
    "higher": Higher,
    "TorchOpt": TorchOpt,
    "plain JAX": NaiveJax,
}
