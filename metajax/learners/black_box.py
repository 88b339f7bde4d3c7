"""Any Python function as a learner: meta-learn what it exposes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.types import Examples, Learner, Params


class Given(NamedTuple):
    """What the function will be given together with a query: nothing is computed before."""

    meta_params: Params
    support: Examples


def black_box(
    function: Callable[[Any, Any, Any, Any], np.ndarray],
    init: Callable[[jax.Array, Any], Params],
    outputs: int,
) -> Learner:
    """A learner that is a Python function of numpy arrays, called from inside compiled programs.

    It has no derivative, and says so when asked for one: meta-learn its parameters by `evolution`.
    Under `vmap` it is called for one task after another.

    Args:
      function: `(meta_params, support_x, support_y, x) -> predictions` of shape
        `(len(x), outputs)`. Pure: the same arguments, the same predictions; calls that are not needed
        may be left out. It must not call JAX.
      init: `(key, x) -> meta_params`, in JAX: where meta-learning starts.
      outputs: the width of a prediction.

    Raises:
      ValueError: for no output; when differentiated. Errors of the function, and predictions of another
        shape, surface as those of the program that called it.

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
    if outputs < 1:
        raise ValueError(f"black_box: outputs={outputs}; a prediction has 1 number or more.")

    def call(meta_params, support, x):
        numpy = jax.tree.map(np.asarray, (meta_params, support.x, support.y, x))
        predictions = np.asarray(function(*numpy), np.float32)
        wanted = (len(jax.tree.leaves(x)[0]), outputs)
        if predictions.shape != wanted:
            raise ValueError(
                f"black_box: the function returned predictions of shape {predictions.shape}, and "
                f"{wanted} is declared, a row for each query; change `outputs`, or the function."
            )
        return predictions

    def adapt(meta_params, support, key):
        del key
        return Given(meta_params, support)

    def predict(adapted, x):
        shape = (len(jax.tree.leaves(x)[0]), outputs)
        declared = jax.ShapeDtypeStruct(shape, jnp.float32)
        return jax.pure_callback(call, declared, *adapted, x, vmap_method="sequential")

    return Learner(init, adapt, predict)
