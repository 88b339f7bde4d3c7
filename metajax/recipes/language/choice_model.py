"""The scorer that a practitioner would fit: a conditional logit on the statistics of sentences."""

import jax
import jax.numpy as jnp

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""The ridges that are tried on validation tasks."""
_ROUNDS = 12


def scores_of(weights: jax.Array, x: dict[str, jax.Array]) -> jax.Array:
    """The score of each sentence, `(n, sentences)`."""
    return jnp.where(x["exists"], x["stats"] @ weights, -1e9)


def fitted(x: dict[str, jax.Array], y: jax.Array, strength, centre: jax.Array) -> jax.Array:
    """Returns the weights of a conditional logit, by Newton's method.

    They minimise `-sum_i y_i . log softmax(f_i w) + strength |w - centre|^2 / 2`.

    Args:
      x: As `Table.inputs` gives documents.
      y: `(n, sentences)`, chosen sentences; rows of zeros weigh nothing.
      strength: Above 0; may be traced.
      centre: `(features,)`.

    Example:
      >>> x = {"stats": jnp.array([[[1.0], [0.0]]]), "exists": jnp.ones((1, 2), bool)}
      >>> w = fitted(x, jnp.array([[1.0, 0.0]]), 0.25, jnp.zeros(1))
      >>> bool(jnp.abs(0.25 * w - 1 / (1 + jnp.exp(w))).max() < 1e-5)  # the gradient is 0
      True
    """
    features, number = x["stats"], y.sum(axis=-1)

    def value(weights):
        chosen = jnp.sum(y * jax.nn.log_softmax(scores_of(weights, x)), axis=-1).sum()
        return -chosen + strength * jnp.sum((weights - centre) ** 2) / 2

    def step(weights, _):
        p = jax.nn.softmax(scores_of(weights, x)) * number[:, None]
        mean = jnp.einsum("nm,nmf->nf", p, features)
        gradient = mean.sum(axis=0) - jnp.einsum("nm,nmf->f", y, features)
        gradient += strength * (weights - centre)
        inner = mean.T @ (mean / jnp.maximum(number, 1e-9)[:, None])
        hessian = jnp.einsum("nm,nmf,nmg->fg", p, features, features) - inner
        hessian += strength * jnp.eye(len(weights))
        move = jnp.linalg.solve(hessian, gradient)
        # Halved until the loss falls: far from the minimum a whole step may go past it.
        sizes = 0.5 ** jnp.arange(6)
        losses = jax.lax.map(lambda size: value(weights - size * move), sizes)
        return weights - sizes[jnp.argmin(losses)] * move, None

    weights, _ = jax.lax.scan(step, centre, length=_ROUNDS)
    return weights
