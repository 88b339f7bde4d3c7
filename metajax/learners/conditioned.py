"""Detection of what exemplars show: features of their boxes are looked for in other pictures."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.adjoints import Adjoint, check_derivative
from metajax.boxes import Boxes
from metajax.inner import repeat
from metajax.learners.parts import Parts, descent, in_training, split
from metajax.masks import exists, filled, mean_loss
from metajax.names import choose
from metajax.types import Examples, Learner, Loss, Model, Optimizer, Params

_SHARPNESS = 4.0
"""Cosines are multiplied by it, so that their range is that of normalised features."""


class ConditionedState(NamedTuple):
    """The weights of a detector, and the templates of what it looks for, `(parts * parts, d)`."""

    body: Params
    head: Params
    templates: jax.Array


def conditioned(
    body: Model,
    head: Model,
    loss: Loss | None = None,
    inner: Optimizer | None = None,
    num_steps: int = 0,
    *,
    tunes: Literal["all", "head"] = "all",
    patch: int = 32,
    parts: int = 4,
    adjoint: Adjoint | None = None,
) -> Learner:
    """Learns to find what the boxes of the support set show, and adapts further by gradient steps.

    Every support box is cut out as a square patch, whose features in `parts * parts` cells, averaged over
    boxes, are the templates. The head reads, at each place of a picture, the cosine of its features with each
    template and the features scaled by the mean template. Without inner steps adapting is a single forward
    pass; with them, it goes on from there by descent, so that `num_steps` is fine-tuning, MAML and, with
    `tunes="head"`, ANIL.

    Args:
      body: Maps pictures `(n, h, w, c)` of any size to features `(n, h', w', d)`.
      head: Maps features `(n, h', w', parts * parts + d)` to predictions `(n, ...)`.
      loss: Predictions and `Boxes` to `(n,)`, of inner steps, such as `detection_loss`. None for a learner
        without an inner loop.
      inner: Any optax transformation; its state is re-initialised for every task.
      num_steps: Number of inner steps.
      tunes: What inner steps change: "all", or "head" for the head alone.
      patch: The side of a patch in pixels, to which boxes are scaled.
      parts: Cells along a side of a patch; they must divide its features.
      adjoint: How the inner loop is differentiated, as in `maml`.

    Returns:
      A learner for targets `Boxes`, whose meta-parameters are `Parts(body, head)`, and which adapts to
      `ConditionedState(body, head, templates)`. Without any support box the templates are 0.

    Raises:
      ValueError: For a count that is too small, an unknown `tunes`, or a loss without an inner optimiser.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> same = mj.Model(lambda key, x: (), lambda params, x: x)  # features are pixels
      >>> learner = mj.conditioned(same, same, patch=4, parts=1)
      >>> picture = jnp.zeros((1, 8, 8, 2)).at[0, 2:6, 2:6].set(jnp.array([0.0, 1.0]))
      >>> boxes = mj.boxes.Boxes(jnp.array([[[2.0, 2, 6, 6]]]), jnp.ones((1, 1), bool))
      >>> adapted = learner.adapt(((), ()), mj.Examples(picture, boxes), jax.random.key(0))
      >>> found = learner.predict(adapted, picture)
      >>> found.shape, round(float(found[0, 3, 3, 0]), 2), round(float(found[0, 0, 0, 0]), 2)
      ((1, 8, 8, 3), 4.0, 0.0)

    Reference:
      Fan, Zhuo, Tang and Tai, CVPR 2020, section 4 (attention-RPN). https://arxiv.org/abs/1908.01998
      Hsieh, Lo, Chen and Liu, NeurIPS 2019 (CoAE). https://arxiv.org/abs/1911.12529
    """
    where = "conditioned"
    body, head = checks.as_model(where, body), checks.as_model(where, head)
    num_steps = checks.count(where, "num_steps", num_steps, least=0)
    patch, parts = checks.count(where, "patch", patch), checks.count(where, "parts", parts)
    choose(where, "tunes", tunes, ("all", "head"))
    _check_loop(loss, inner, num_steps)
    embed, train = in_training(body), in_training(head)

    def init(key, x):
        body_key, head_key = jax.random.split(key)
        params = body.init(body_key, x)
        features = jax.eval_shape(body.apply, params, x)
        width = parts**2 + features.shape[-1]
        read = jnp.zeros((*features.shape[:-1], width), features.dtype)
        meta_params = Parts(params, head.init(head_key, read))
        if inner is not None:
            check_derivative(where, inner, adjoint, meta_params.head)
        return meta_params

    start = partial(_start, body, patch, parts)

    def predict(state, x):
        return head.apply(state.head, matched(body.apply(state.body, x), state.templates))

    if loss is None or inner is None:
        return Learner(init, lambda m, support, key: start(m, filled(support)), predict)
    inner_loss = loss

    def support_loss(tuned, rest, support, key):
        state = ConditionedState(rest[0], tuned, rest[1]) if tunes == "head" else tuned
        body_key, head_key = split(key)
        read = matched(embed(state.body, support.x, body_key), state.templates)
        return mean_loss(inner_loss, train(state.head, read, head_key), support)

    fit = descent(support_loss, inner, adjoint, body, head)

    def adapt(meta_params, support, key, num_steps=num_steps, **how):
        support = filled(support)
        state = start(meta_params, support)
        run = partial(fit, key=key, num_steps=num_steps, **how)
        if tunes == "all":
            return run(state, (), support)
        rest = state.body, state.templates
        found = run(state.head, rest, support)
        body_params, own = repeat(rest, num_steps)
        return ConditionedState(body_params, found, own)

    return Learner(init, adapt, predict, num_steps)


def _check_loop(loss: Loss | None, inner: Optimizer | None, num_steps: int) -> None:
    if (loss is None) != (inner is None) or (loss is None and num_steps):
        raise ValueError(
            f"conditioned: num_steps={num_steps} and an inner loop need both loss and inner. Give both, or "
            "neither."
        )


def _start(body: Model, patch: int, parts: int, meta_params, support: Examples) -> ConditionedState:
    """The state before any inner step."""
    cells = partial(_cells, body.apply, meta_params[0], patch, parts)
    body_params, head_params = meta_params
    return ConditionedState(body_params, head_params, templates(cells, support, patch))


def templates(cells: Callable[[jax.Array], jax.Array], support: Examples, patch: int) -> jax.Array:
    """The mean features of all support boxes, by cell: `(cells, d)`; 0 without any box.

    Args:
      cells: Patches `(n, patch, patch, c)` to features `(n, cells, d)`.
      support: Pictures and `Boxes`, filled.
      patch: The side of a patch in pixels.
    """
    boxes: Boxes = support.y
    mask = boxes.mask & exists(support)[:, None]
    whole = jnp.array([0.0, 0.0, patch, patch])
    corners = jnp.where(mask[..., None], boxes.corners, whole.reshape(1, 1, 4))
    cut = partial(cut_out, side=patch)
    patches = jax.vmap(jax.vmap(cut, in_axes=(None, 0)))(support.x, corners)
    found = cells(patches.reshape(-1, *patches.shape[2:]))
    weights = mask.ravel()[:, None, None].astype(found.dtype)
    return jnp.sum(weights * found, axis=0) / jnp.maximum(jnp.sum(weights), 1)


def _cells(apply, params: Params, patch: int, parts: int, patches: jax.Array) -> jax.Array:
    found = apply(params, patches)
    n, height, width, d = found.shape
    if height % parts or width % parts:
        raise ValueError(
            f"conditioned: the features of a patch={patch} are {height} x {width}, which parts={parts} does "
            "not divide. Change one of them."
        )
    cells = found.reshape(n, parts, height // parts, parts, width // parts, d).mean(axis=(2, 4))
    return cells.reshape(n, parts**2, d)


def cut_out(
    picture: jax.Array, corners: jax.Array, side: int = 32, margin: float = 1.1
) -> jax.Array:
    """A square around a box, scaled to `side` pixels; beyond the edge of the picture it is 0.

    Args:
      picture: `(h, w, c)`.
      corners: `(4,)`.
      side: Of the patch.
      margin: The side of the square, in longer sides of the box.

    Example:
      >>> picture = jnp.arange(16.0).reshape(4, 4, 1)
      >>> cut_out(picture, jnp.array([0.0, 2, 2, 4]), side=2, margin=1.0)[..., 0].tolist()
      [[2.0, 3.0], [6.0, 7.0]]
    """
    middle = (corners[:2] + corners[2:]) / 2
    scale = jnp.full(2, side / (margin * jnp.maximum(jnp.max(corners[2:] - corners[:2]), 1)))
    shape = (side, side, picture.shape[-1])
    shift = side / 2 - middle * scale
    return jax.image.scale_and_translate(
        picture, shape, (0, 1), scale, shift, "linear", antialias=False
    )


def matched(features: jax.Array, own: jax.Array) -> jax.Array:
    """What the head reads: cosines with each template, and features scaled by their mean.

    Args:
      features: Of pictures, `(n, h, w, d)`.
      own: Templates `(cells, d)`.

    Returns:
      `(n, h, w, cells + d)`.
    """
    cosines = jnp.einsum("nhwd,pd->nhwp", _unit(features), _unit(own))
    mean = jnp.mean(own, axis=0).reshape(1, 1, 1, -1)
    return jnp.concatenate([_SHARPNESS * cosines, features * mean], axis=-1)


def _unit(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.sum(x**2, axis=-1, keepdims=True) + 1e-6)
