"""Prior-fitted networks: a Transformer trained on a prior predicts its posterior."""

from metajax import checks
from metajax.learners.transformer import transformer
from metajax.types import Learner, Model


def prior_fitted(
    embed: Model, bins: int, *, width: int = 64, layers: int = 3, heads: int = 4
) -> Learner:
    """Learns a `transformer` whose predictions are distributions over bins.

    Train it with `binned_nll` on tasks drawn from a prior. The loss is smallest where the predictions
    are the posterior given the support set, which is never computed.

    Args:
      embed: Maps inputs to features `(n, d)`.
      bins: The number of bins, at least 3, one fewer than the edges; see `bin_edges`.
      width: As in `transformer`.
      layers: As in `transformer`.
      heads: As in `transformer`.

    Returns:
      A learner for targets `(n, 1)`. Predictions are logits `(n, bins)`, which `binned_mean` and
      `binned_coverage` read.

    Raises:
      ValueError: If `bins` is below 3, and as `transformer` does.

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

    Reference:
      Mueller, Hollmann, Pineda Arango, Grabocka and Hutter, ICLR 2022, sections 3 and 4.
      https://arxiv.org/abs/2112.10510
    """
    bins = checks.count("prior_fitted", "bins", bins, least=3)  # Two of them are tails.
    return transformer(embed, 1, width=width, layers=layers, heads=heads, readout=bins)
