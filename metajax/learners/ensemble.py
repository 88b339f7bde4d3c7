"""Deep ensembles: several starts are learned at once, and the mean of their predictions is taken."""

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.types import Learner


def ensemble(learner: Learner, size: int) -> Learner:
    """A deep ensemble of any classifying learner, trained as one predictive mixture.

    The members share tasks and the loss of their mixture, and differ by their initialisation. Their
    disagreement measures the uncertainty of the mixture.

    Args:
      learner: A learner whose predictions are logits `(n, way)`.
      size: Number of members, at least 1.

    Returns:
      A learner whose meta-parameters are those of the members, stacked. Predictions are the logarithm
      of the mean probability, `(n, way)`.

    Raises:
      ValueError: If `size` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> learner = mj.ensemble(mj.protonet(mj.conv4(None)), size=3)
      >>> support = mj.Examples(x=jnp.ones((5, 28, 28, 1)), y=jnp.arange(5))
      >>> meta_params = learner.init(jax.random.key(0), support.x)
      >>> adapted = learner.adapt(meta_params, support, jax.random.key(0))
      >>> probabilities = jnp.exp(learner.predict(adapted, support.x))
      >>> probabilities.shape, round(float(probabilities[0].sum()), 3)
      ((5, 5), 1.0)

    Reference:
      Lakshminarayanan, Pritzel and Blundell, NeurIPS 2017, section 2.4; for MAML, Yoon et al.,
      NeurIPS 2018, section 5 (EMAML). https://arxiv.org/abs/1806.03836
    """
    size = checks.count("ensemble", "size", size)
    checks.learner("ensemble", learner)

    def init(key, x):
        return jax.vmap(learner.init, in_axes=(0, None))(jax.random.split(key, size), x)

    def adapt(meta_params, support, key, **options):
        def member(params, key):
            return learner.adapt(params, support, key, **options)

        # Members last, so that several numbers of steps stay the first axis.
        return jax.vmap(member, out_axes=-1)(meta_params, jax.random.split(key, size))

    def predict(adapted, x):
        logits = jax.vmap(learner.predict, in_axes=(-1, None))(adapted, x)
        each = jax.nn.log_softmax(logits, axis=-1)
        return jax.nn.logsumexp(each, axis=0) - jnp.log(size)

    return Learner(init, adapt, predict, learner.num_steps)
