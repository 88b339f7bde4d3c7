"""Any Python function as a learner whose parameters are meta-learned."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax import checks
from metajax.types import Examples, Learner, Params


class BlackBoxState(NamedTuple):
    """The arguments of the function besides the queries; nothing is computed before these come."""

    meta_params: Params
    support: Examples


def black_box(
    function: Callable[[Any, Any, Any, Any], np.ndarray],
    init: Callable[[jax.Array, Any], Params],
    outputs: int,
) -> Learner:
    """Makes a learner of a Python function of NumPy arrays, called from inside compiled programs.

    It has no derivative, and raises when asked for one: meta-learn its parameters by `evolution`.
    Under `vmap` it is called for one task after another.

    Args:
      function: `(meta_params, support_x, support_y, x) -> predictions` of shape `(n, outputs)` for
        `n` queries. It gets the support examples that exist, possibly none: masked ones are removed.
        It must be pure and must not call JAX. Calls whose results are not needed may be left out.
      init: `(key, x) -> meta_params`, in JAX: where meta-learning starts.
      outputs: The width of a prediction.

    Returns:
      A learner for inputs and targets of any kind that the function reads.

    Raises:
      ValueError: If `outputs` is below 1; when differentiated. Errors of the function, and
        predictions of another shape, surface as those of the program that called it.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, metajax as mj
      >>> def shrunk_mean(meta_params, support_x, support_y, x):
      ...     return np.full((len(x), 1), meta_params * support_y.mean())
      >>> learner = mj.black_box(shrunk_mean, lambda key, x: jnp.ones(()), outputs=1)
      >>> support = mj.Examples(x=jnp.ones((2, 1)), y=jnp.array([[1.0], [3.0]]))
      >>> adapted = learner.adapt(jnp.array(0.5), support, jax.random.key(0))
      >>> jax.jit(learner.predict)(adapted, jnp.ones((1, 1))).tolist()
      [[1.0]]
    """
    outputs = checks.count("black_box", "outputs", outputs)

    def call(meta_params, support, x):
        mask = slice(None) if support.mask is None else np.asarray(support.mask, bool)
        support_x, support_y = jax.tree.map(
            lambda leaf: np.asarray(leaf)[mask], (support.x, support.y)
        )
        meta_params, x = jax.tree.map(np.asarray, (meta_params, x))
        predictions = np.asarray(function(meta_params, support_x, support_y, x), np.float32)
        declared = (_number(x), outputs)
        if predictions.shape != declared:
            raise ValueError(
                f"black_box: the function returned predictions of shape {predictions.shape}, but "
                f"outputs={outputs} declares {declared}, a row per query. Change outputs or the function."
            )
        return predictions

    def adapt(meta_params, support, key):
        del key
        return BlackBoxState(meta_params, support)

    def predict(adapted, x):
        declared = jax.ShapeDtypeStruct((_number(x), outputs), jnp.float32)
        return jax.pure_callback(call, declared, *adapted, x, vmap_method="sequential")

    return Learner(init, adapt, predict)


def _number(x: Any) -> int:
    """The number of examples of inputs of any structure."""
    return jax.tree.leaves(x)[0].shape[0]
