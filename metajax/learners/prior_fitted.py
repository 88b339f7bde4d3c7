"""Fit a Transformer to a prior: it then answers with the posterior, at once."""

from metajax.learners.transformer import transformer
from metajax.types import Learner, Model


def prior_fitted(
    embed: Model, bins: int, *, width: int = 64, layers: int = 3, heads: int = 4
) -> Learner:
    """Prior-fitted network: a `transformer` whose predictions are distributions over bins.

    Train it with `binned_nll` on tasks drawn from a prior: the loss is smallest where its predictions
    are those of the posterior given the support set, without ever computing one.

    Args:
      embed: `apply(params, x)` maps inputs `(n, ...)` to features `(n, d)`.
      bins: of the distribution, one fewer than the edges; see `bin_edges`.
      width, layers, heads: as in `transformer`.

    Returns:
      A learner of targets `(n, 1)`. Predictions are logits `(n, bins)`: `binned_mean` and
      `binned_coverage` read them.

    Raises:
      ValueError: for fewer than 3 bins, and as `transformer` does.

    Example:
      >>> import jax, metajax as mj
      >>> sample = mj.tasks.gaussian_process(shot=4)
      >>> drawn = jax.vmap(sample)(jax.random.split(jax.random.key(0), 100))
      >>> edges = mj.bin_edges(drawn.query.y, 20)
      >>> learner = mj.prior_fitted(mj.pixels, 20, width=16, layers=1)
      >>> objective = mj.query_loss(learner, mj.binned_nll(edges))
      >>> meta_params = learner.init(jax.random.key(0), sample(jax.random.key(0)).support.x)
      >>> objective(meta_params, drawn, jax.random.key(0)).shape
      ()

    Reference: Mueller, Hollmann, Pineda Arango, Grabocka and Hutter, ICLR 2022, sections 3 and 4.
    https://arxiv.org/abs/2112.10510
    """
    if bins < 3:
        raise ValueError(f"prior_fitted: bins={bins}; there are 3 or more, of which two are tails.")
    return transformer(embed, 1, width=width, layers=layers, heads=heads, readout=bins)
