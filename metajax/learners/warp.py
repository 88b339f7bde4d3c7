"""Learn layers that warp the gradients of the layers between them, and are not adapted themselves."""

from collections.abc import Callable

import jax

from metajax.adjoints import Adjoint, check_derivative, unrolled
from metajax.inner import descend, repeat
from metajax.trees import partition
from metajax.types import Learner, Loss, Model, Optimizer, Steps


def warp(
    model: Model,
    loss: Loss,
    inner: Optimizer,
    num_steps: int,
    *,
    is_warp: Callable[[str], bool],
    adjoint: Adjoint = unrolled,
) -> Learner:
    """T-Nets, in the form of warped gradient descent: some layers are meta-learned and held in a task.

    A linear layer that is held multiplies the gradient of the layer before it by its own transpose:
    it preconditions descent with a metric that is meta-learned.

    Args:
      model: `apply(params, x)` maps inputs `(n, ...)` to predictions `(n, c)`, with warp layers in it.
      loss: predictions `(n, c)` and targets `(n,)` to a scalar, the mean over `n`.
      inner: steps the other layers, fresh on each task.
      num_steps: inner steps.
      is_warp: whether an array is held, by its path, such as "['params']['Dense_1']['kernel']".
      adjoint: how the steps are differentiated.

    Raises:
      ValueError: for a negative `num_steps`; from `init`, when `is_warp` holds all arrays or none, and
        for an inner optimiser whose hypergradient is nan where a gradient is exactly zero.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, optax, metajax as mj
      >>> net = nn.Sequential([nn.Dense(40), nn.Dense(40), nn.relu, nn.Dense(1)])
      >>> model = mj.Model(net.init, net.apply)
      >>> learner = mj.warp(model, mj.mse, optax.sgd(0.01), 1, is_warp=lambda path: "layers_1" in path)
      >>> meta_params = learner.init(jax.random.key(0), jnp.ones((10, 1)))

    Reference: Lee and Choi, ICML 2018, section 3 (T-Nets). https://arxiv.org/abs/1801.05558
    Flennerhag et al., ICLR 2020, section 2. https://arxiv.org/abs/1909.00025
    """
    own_steps = num_steps
    descend(inner, own_steps)

    def init(key, x):
        params = model.init(key, x)
        steps, held, _ = partition(params, is_warp)
        if not steps or not held:
            names = [jax.tree_util.keystr(p) for p, _ in jax.tree.leaves_with_path(params)]
            raise ValueError(
                f"warp: is_warp holds {len(held)} of {len(names)} arrays; let it choose some of "
                f"{', '.join(names)}."
            )
        check_derivative("warp", inner, adjoint, steps)
        return params

    def adapt(meta_params, support, key, num_steps: Steps = own_steps):
        del key
        steps, held, join = partition(meta_params, is_warp)

        @jax.grad
        def gradient(steps, held, support):
            return loss(model.apply(join(steps, held), support.x), support.y)

        adapted = adjoint(descend(inner, num_steps), gradient, steps, held, support)
        return join(adapted, repeat(held, num_steps))

    return Learner(init, adapt, model.apply)
