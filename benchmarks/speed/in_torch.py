"""PyTorch's contestants: an outer step as a user of each library would write it.

A learner with an inner loop is a body and a head, which is adapted; in MAML the body does nothing. A
learner without one reads the support set in the network itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import nets
import numpy as np
from nets import common, peer
from workloads import Arrays


def _whole(net):
    return peer("torch").nn.Identity(), net


def _last_layer(net):
    return net.body, net.head


class _Torch(ABC):
    def __init__(self, w: Any, arrays: Arrays):
        torch = peer("torch")
        F = torch.nn.functional
        self.w, self.weights, file = w, arrays.weights, nets.load(w.net)
        self.to_torch = partial(file.to_torch, w)
        self.net = file.torch_net(w)
        start = self.to_torch(arrays.weights).items()
        self.net.load_state_dict({name: _tensor(value) for name, value in start})
        self.net.to(_device())
        split, self.task_loss = LEARNERS[w.learner]
        self.body, self.head = split(self.net)
        sx, sy, qx, qy = (_tensor(array).to(_device()) for array in arrays.tasks)
        self.stacked = [file.torch_inputs(sx), sy, file.torch_inputs(qx), qy]
        self.tasks = list(zip(*self.stacked, strict=True))
        self.loss = {"cross_entropy": F.cross_entropy, "mse": F.mse_loss}[w.loss]
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
        found = {name: p.grad.detach().cpu().numpy() for name, p in self.net.named_parameters()}
        return common.undone(self.to_torch, self.weights, found)

    def steps(self, n: int) -> None:
        for _ in range(n):
            self.outer.zero_grad()
            self.backward()
            self.outer.step()
        if _device().type == "cuda":
            peer("torch").cuda.synchronize()

    def device_mb(self) -> float | None:
        """The most memory of a device that arrays have taken; None on a CPU."""
        cuda = peer("torch").cuda
        return cuda.max_memory_allocated() / 2**20 if _device().type == "cuda" else None


def _device():
    torch = peer("torch")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _tensor(value: np.ndarray):
    return peer("torch").from_numpy(np.ascontiguousarray(value))


class Higher(_Torch):
    """higher.innerloop_ctx, a task after the other, gradients accumulated."""

    def backward(self):
        higher, torch = peer("higher"), peer("torch")
        inner = torch.optim.SGD(self.head.parameters(), lr=self.w.rate)
        for sx, sy, qx, qy in self.tasks:
            with higher.innerloop_ctx(self.head, inner, copy_initial_weights=False) as (head, opt):
                features = self.body(sx)
                for _ in range(self.w.num_steps):
                    opt.step(self.loss(head(features), sy))
                (self.loss(head(self.body(qx)), qy) / len(self.tasks)).backward()


class TorchOpt(_Torch):
    """torchopt.MetaSGD with extract and recover, a task after the other, gradients accumulated."""

    def __init__(self, w, arrays):
        super().__init__(w, arrays)
        self.inner = peer("torchopt").MetaSGD(self.head, lr=w.rate)

    def backward(self):
        torchopt = peer("torchopt")
        head_state = torchopt.extract_state_dict(self.head, by="reference")
        inner_state = torchopt.extract_state_dict(self.inner, by="reference")
        for sx, sy, qx, qy in self.tasks:
            features = self.body(sx)
            for _ in range(self.w.num_steps):
                self.inner.step(self.loss(self.head(features), sy))
            (self.loss(self.head(self.body(qx)), qy) / len(self.tasks)).backward()
            torchopt.recover_state_dict(self.head, head_state)
            torchopt.recover_state_dict(self.inner, inner_state)


class TorchOptImplicit(_Torch):
    """torchopt.diff.implicit.custom_root with conjugate gradients, a task after the other."""

    def backward(self):
        torchopt, torch = peer("torchopt"), peer("torch")
        func, implicit = peer("torch.func"), peer("torchopt.diff.implicit")
        names = [name for name, _ in self.head.named_parameters()]
        centre = tuple(self.head.parameters())

        def loss(params, x, y):
            predictions = func.functional_call(
                self.head, dict(zip(names, params, strict=True)), (x,)
            )
            return self.loss(predictions, y)

        def penalised(params, centre, x, y):
            gap = sum(torch.sum((p - c) ** 2) for p, c in zip(params, centre, strict=True))
            return loss(params, x, y) + self.w.settings["strength"] / 2 * gap

        solver = torchopt.linear_solve.solve_cg(maxiter=5, rtol=1e-10)

        gradient = func.grad(penalised)

        @implicit.custom_root(gradient, argnums=1, solve=solver)
        def solve(params, centre, x, y):
            for _ in range(self.w.num_steps):
                moves = gradient(params, centre, x, y)
                params = tuple(p - self.w.rate * g for p, g in zip(params, moves, strict=True))
            return params

        for sx, sy, qx, qy in self.tasks:
            start = tuple(p.detach().clone() for p in centre)
            (loss(solve(start, centre, sx, sy), qx, qy) / len(self.tasks)).backward()


Params = tuple[dict[str, Any], dict[str, Any]]
"""Parameters of the body and of the head."""


class _Functional(_Torch):
    def gradient(self, loss, params, *args):
        return peer("torch.func").grad(loss)(params, *args)

    def params(self) -> Params:
        return dict(self.body.named_parameters()), dict(self.head.named_parameters())


class TorchFunc(_Functional):
    """torch.func.grad inside torch.func.vmap over all tasks."""

    def __init__(self, w, arrays):
        super().__init__(w, arrays)
        nn = peer("torch").nn
        forwards = {nn.LayerNorm: _layer_norm, nn.BatchNorm2d: _batch_norm}
        for module in self.net.modules():
            if type(module) in forwards:
                module.forward = partial(forwards[type(module)], module)

    def backward(self):
        task_loss = partial(self.task_loss, self)
        over_tasks = peer("torch.func").vmap(task_loss, in_dims=(None, 0, 0, 0, 0))
        over_tasks(self.params(), *self.stacked).mean().backward()


def _layer_norm(module, x):
    """With scale and shift outside: inside of vmap, torch's second derivative by both is wrong.

    https://github.com/pytorch/functorch/issues/534
    """
    F = peer("torch").nn.functional
    normal = F.layer_norm(x, module.normalized_shape, eps=module.eps)
    return normal * module.weight + module.bias


def _batch_norm(module, x):
    torch = peer("torch")
    one = torch.ones(
        x.shape[1], dtype=x.dtype, device=x.device
    )  # without a scale the second derivative fails
    normal = torch.nn.functional.batch_norm(x, None, None, one, training=True, eps=module.eps)
    return normal * module.weight[:, None, None] + module.bias[:, None, None]


class TorchFuncLoop(_Functional):
    """torch.func.grad inside a task, one after the other, gradients accumulated."""

    def backward(self):
        for task in self.tasks:
            (self.task_loss(self, self.params(), *task) / len(self.tasks)).backward()


class Autograd(TorchFuncLoop):
    """torch.autograd.grad inside a task, one after the other, gradients accumulated."""

    def gradient(self, loss, params, *args):
        found = peer("torch").autograd.grad(
            loss(params, *args), list(params.values()), create_graph=True
        )
        return dict(zip(params, found, strict=True))


class CompiledLoop(TorchFuncLoop):
    """torch.compile of the loss of a task after its inner loop, one task after the other."""

    def __init__(self, w, arrays):
        super().__init__(w, arrays)
        compiled = peer("torch").compile(partial(self.task_loss, self))
        self.task_loss = lambda self, *args: compiled(*args)


class Batched(_Torch):
    """One call of a network that takes all tasks at once."""

    def backward(self):
        sx, sy, qx, qy = self.stacked
        self.loss(self.head(sx, sy, qx), qy).backward()


class CompiledBatched(Batched):
    """The same through torch.compile."""

    def __init__(self, w, arrays):
        super().__init__(w, arrays)
        self.head = peer("torch").compile(self.head)


def after_descent(self: _Functional, params: Params, sx, sy, qx, qy):
    """The query loss of MAML, or of ANIL with a body that is not adapted."""
    functional_call = peer("torch.func").functional_call
    body, head = params

    def support_loss(head, features, y):
        return self.loss(functional_call(self.head, head, (features,)), y)

    features = functional_call(self.body, body, (sx,))
    for _ in range(self.w.num_steps):
        gradient = self.gradient(support_loss, head, features, sy)
        head = {name: p - self.w.rate * gradient[name] for name, p in head.items()}
    return support_loss(head, functional_call(self.body, body, (qx,)), qy)


def after_reading(self: _Functional, params: Params, sx, sy, qx, qy):
    """The query loss of a network that reads the support set."""
    predictions = peer("torch.func").functional_call(self.head, params[1], (sx, sy, qx))
    return self.loss(predictions, qy)


LEARNERS: dict[str, tuple[Callable, Callable]] = {
    "maml": (_whole, after_descent),
    "anil": (_last_layer, after_descent),
    "imaml": (_whole, after_descent),
    "protonet": (_whole, after_reading),
    "transformer": (_whole, after_reading),
}
"""How each learner splits a network, and the loss of a task. Implicit gradients have a class of their own."""

CONTESTANTS = {
    "torch.func + vmap": TorchFunc,
    "torch.func, loop": TorchFuncLoop,
    "torch.autograd, loop": Autograd,
    "torch.compile, loop": CompiledLoop,
    "PyTorch, batched": Batched,
    "torch.compile, batched": CompiledBatched,
    "higher": Higher,
    "TorchOpt": TorchOpt,
    "TorchOpt, implicit": TorchOptImplicit,
}
