"""Workloads A, B and C: networks of metajax's operations, or of JAX's, and the same in flax and PyTorch."""

from functools import partial

import numpy as np
from flax import linen as nn
from rows.speed import Workload

from nets import common, peer


def weights(w: Workload, rng: np.random.Generator) -> dict[str, np.ndarray]:
    weights = {}
    for i, (c, features) in enumerate(zip(w.channels[:-1], w.channels[1:], strict=True)):
        shape = (3, 3, c, features) if w.is_conv else (c, features)
        scale = 1 / np.sqrt(np.prod(shape[:-1]))
        weights[f"kernel{i}"] = rng.normal(size=shape) * scale
        weights[f"bias{i}"] = rng.normal(size=features) * 0.1
    weights["kernel_out"] = rng.normal(size=(w.features, w.outputs)) / np.sqrt(w.features)
    weights["bias_out"] = np.zeros(w.outputs)
    return {name: v.astype(np.float32) for name, v in weights.items()}


def tasks(w: Workload, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    def examples(n):
        if w.size is not None:
            x = rng.uniform(size=(w.meta_batch, n, w.size, w.size, w.channels[0]))
            return x.astype(np.float32), np.tile(np.arange(n) % w.outputs, (w.meta_batch, 1))
        x = rng.uniform(-5, 5, size=(w.meta_batch, n, 1)).astype(np.float32)
        return x, np.sin(x)

    return (*examples(w.support), *examples(w.query))


def to_tuned(w: Workload, weights: common.Weights) -> common.Weights:
    return weights


def torch_inputs(x):
    return x.permute(0, 1, 4, 2, 3).contiguous() if x.ndim == 5 else x


def jax_apply(w: Workload, convolution=None):
    """`apply(weights, x)` in plain JAX, with our operations or with JAX's."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    import metajax as mj

    def naive(x, convolve):
        x = convolve(x)
        normal = (x - x.mean((0, 1, 2))) * lax.rsqrt(x.var((0, 1, 2)) + 1e-5)
        return nn.max_pool(normal, (2, 2), strides=(2, 2)) if w.pool else normal

    def ours(x, convolve):
        pooled, moments = mj.ops.pool_and_moments(x, convolve, pool)
        return mj.ops.normalise(pooled, by=moments)

    def pool(x):
        return mj.ops.max_pool(x, (2, 2), strides=(2, 2)) if w.pool else x

    def plain(kernel, strides, padding):
        assert convolution is not None
        return partial(
            convolution,
            rhs=kernel,
            window_strides=strides,
            padding=padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    if convolution is None:
        convolution_by, normal, dot = mj.ops.Convolution, ours, mj.dot_general
    else:
        convolution_by, normal, dot = plain, naive, lax.dot_general

    def dense(x, kernel):
        return dot(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))

    strides = (1, 1) if w.pool else (2, 2)

    def apply(weights, x):
        for i in range(len(w.channels) - 1):
            kernel, bias = weights[f"kernel{i}"], weights[f"bias{i}"]
            if w.is_conv:
                convolve = convolution_by(kernel, strides, ((1, 1), (1, 1)))
                x = jax.nn.relu(normal(x, convolve) + bias)
            else:
                x = jax.nn.relu(dense(x, kernel) + bias)
        return dense(jnp.reshape(x, (len(x), -1)), weights["kernel_out"]) + weights["bias_out"]

    return apply


class Network(nn.Module):
    """In flax."""

    w: Workload

    @nn.compact
    def __call__(self, x):
        strides = (1, 1) if self.w.pool else (2, 2)
        for width in self.w.channels[1:]:
            if self.w.is_conv:
                x = nn.Conv(width, (3, 3), strides, padding=1, use_bias=False)(x)
                x = nn.relu(nn.BatchNorm(use_running_average=False, use_scale=False)(x))
                x = nn.max_pool(x, (2, 2), strides=(2, 2)) if self.w.pool else x
            else:
                x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.w.outputs)(x.reshape(len(x), -1))


def linen(w: Workload) -> tuple[nn.Module, ...]:
    return (Network(w),)


def statistics(w: Workload) -> str | None:
    return "batch" if w.is_conv else None


def to_linen(w: Workload, weights: common.Weights) -> common.Weights:
    layers = range(len(w.channels) - 1)
    kernel, bias = ("Conv", "BatchNorm") if w.is_conv else ("Dense", "Dense")
    names = {f"kernel{i}": f"{kernel}_{i}/kernel" for i in layers}
    names |= {f"bias{i}": f"{bias}_{i}/bias" for i in layers}
    last = "Dense_0" if w.is_conv else f"Dense_{len(layers)}"
    names |= {"kernel_out": f"{last}/kernel", "bias_out": f"{last}/bias"}
    return {f"params/{names[name]}": value for name, value in weights.items()}


def torch_net(w: Workload):
    """The same network as a `torch.nn.Module`, channels first."""
    torch = peer("torch")
    nn, F = torch.nn, torch.nn.functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            start = weights(w, np.random.default_rng(0))
            for name, value in to_torch(w, start).items():
                setattr(self, name, nn.Parameter(torch.from_numpy(value)))

        def forward(self, x):
            for i in range(len(w.channels) - 1):
                kernel, bias = getattr(self, f"kernel{i}"), getattr(self, f"bias{i}")
                if w.is_conv:
                    x = F.conv2d(x, kernel, stride=1 if w.pool else 2, padding=1)
                    # Without a scale torch's second derivative of batch_norm fails.
                    one = torch.ones_like(bias)
                    x = F.relu(F.batch_norm(x, None, None, one, bias, training=True, eps=1e-5))
                    x = F.max_pool2d(x, 2) if w.pool else x
                else:
                    x = F.relu(F.linear(x, kernel, bias))
            return F.linear(torch.flatten(x, 1), self.kernel_out, self.bias_out)

    return Net()


def to_torch(w: Workload, weights: common.Weights) -> common.Weights:
    """Weights in torch's layouts."""
    out = {}
    for name, value in weights.items():
        if value.ndim == 4:
            value = value.transpose(3, 2, 0, 1)
        elif name == "kernel_out" and w.is_conv:  # rows are (h, w, c) here and (c, h, w) there
            value = common.channels_before_positions(value, w.channels[-1]).T
        elif value.ndim == 2:
            value = value.T
        out[name] = np.ascontiguousarray(value)
    return out
