"""Learn several starts at once and predict by the mean of where they lead."""

import jax
import jax.numpy as jnp

from metajax.types import Learner


def ensemble(learner: Learner, size: int) -> Learner:
    """A deep ensemble of any classifying learner, trained as one predictive mixture.

    The members share tasks and the loss of their mixture; they differ by where they begin. Their
    disagreement is what the mixture does not know.

    Args:
      learner: whose predictions are logits `(n, way)`.
      size: members, 1 or more.

    Returns:
      A learner whose meta-parameters are the members', stacked; predictions are the logarithm of the
      mean probability, `(n, way)`.

    Raises:
      ValueError: for no members.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> learner = mj.ensemble(mj.protonet(mj.conv4(None)), size=3)
      >>> support = mj.Examples(x=jnp.ones((5, 28, 28, 1)), y=jnp.arange(5))
      >>> meta_params = learner.init(jax.random.key(0), support.x)
      >>> adapted = learner.adapt(meta_params, support, jax.random.key(0))
      >>> probabilities = jnp.exp(learner.predict(adapted, support.x))
      >>> probabilities.shape, round(float(probabilities[0].sum()), 3)
      ((5, 5), 1.0)

    Reference: Lakshminarayanan, Pritzel and Blundell, NeurIPS 2017, section 2.4; for MAML, Yoon et
    al., NeurIPS 2018, section 5 (EMAML). https://arxiv.org/abs/1806.03836
    """
    if size < 1:
        raise ValueError(f"ensemble: size={size}; it has 1 member or more.")

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

    return Learner(init, adapt, predict)
