"""Invented handwriting: endless characters of a few strokes, drawn inside `jit` from a key alone."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.types import Examples, Sample, Task

_MOST_STROKES = 4
_POINTS = 9
"""The number of points on each stroke, which straight lines connect."""


def glyphs(way: int = 5, shot: int = 1, query_shot: int = 1, *, size: int = 28) -> Sample:
    """Few-shot classification of characters that nobody has written, without any download.

    A character is 1 to 4 strokes, cubic Bezier curves, half of which begin where another ended. Each
    drawing of it has its own slant, scale, place, thickness and unsteady hand. Every episode invents
    new characters, so there is nothing to split and nothing to memorise.

    Args:
      way: The number of characters in an episode.
      shot: The number of support drawings per character.
      query_shot: The number of query drawings per character.
      size: The side of an image in pixels, at least 8.

    Returns:
      `sample(key) -> Task` of images `(way * shot, size, size, 1)` in [0, 1], ink 1 on 0, and labels,
      as those of `omniglot`.

    Raises:
      ValueError: For a count below one, or images below 8 pixels.

    Example:
      >>> import jax, metajax as mj
      >>> task = mj.tasks.glyphs(way=3)(jax.random.key(0))
      >>> task.support.x.shape, task.support.y.tolist()
      ((3, 28, 28, 1), [0, 1, 2])
    """
    return jax.tree_util.Partial(
        Glyphs(
            checks.count("glyphs", "way", way),
            checks.count("glyphs", "shot", shot),
            checks.count("glyphs", "query_shot", query_shot),
            checks.count("glyphs", "size", size, least=8),
        )
    )


@dataclass(frozen=True)
class Glyphs:
    """The settings of `glyphs`, called with a key."""

    way: int
    shot: int
    query_shot: int
    size: int

    def __call__(self, key: jax.Array) -> Task:
        """Draws a task."""
        images = jax.vmap(self._character)(jax.random.split(key, self.way))

        def part(of_class, n):
            x = of_class.reshape(self.way * n, self.size, self.size, 1)
            return Examples(x, jnp.repeat(jnp.arange(self.way), n))

        support, query = images[:, : self.shot], images[:, self.shot :]
        return Task(part(support, self.shot), part(query, self.query_shot))

    def _character(self, key: jax.Array) -> jax.Array:
        strokes_key, drawings_key = jax.random.split(key)
        strokes = _strokes(strokes_key)
        keys = jax.random.split(drawings_key, self.shot + self.query_shot)
        return jax.vmap(lambda key: _drawing(key, *strokes, self.size))(keys)


def _strokes(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Control points `(strokes, 4, 2)` in [-1, 1], and which of the strokes exist."""
    number_key, start_key, joined_key, angle_key, bend_key, length_key = jax.random.split(key, 6)
    number = jax.random.randint(number_key, (), 1, _MOST_STROKES + 1)
    starts = jax.random.uniform(start_key, (_MOST_STROKES, 2), minval=-0.7, maxval=0.7)
    joined = jax.random.bernoulli(joined_key, 0.5, (_MOST_STROKES,))
    angles = jax.random.uniform(angle_key, (_MOST_STROKES, 1), maxval=2 * jnp.pi)
    bends = jax.random.normal(bend_key, (_MOST_STROKES, 3)).at[:, 0].set(0)
    directions = angles + jnp.cumsum(bends, axis=1)
    lengths = jax.random.uniform(length_key, (_MOST_STROKES, 3), minval=0.2, maxval=0.7)
    steps = lengths[..., None] * jnp.stack([jnp.cos(directions), jnp.sin(directions)], axis=-1)

    def place(end, stroke):
        start, joins, steps = stroke
        begin = jnp.where(joins, end, start)
        points = jnp.concatenate([begin[None], begin[None] + jnp.cumsum(steps, axis=0)])
        # Back onto the paper: a stroke that would leave it is mirrored at the edge.
        points = 1 - jnp.abs(jnp.mod(points - 1, 4) - 2)
        return points[-1], points

    _, points = jax.lax.scan(place, starts[0], (starts, joined, steps))
    return points, jnp.arange(_MOST_STROKES) < number


def _drawing(key: jax.Array, points: jax.Array, exist: jax.Array, size: int) -> jax.Array:
    """One drawing `(size, size, 1)` of a character."""
    hand_key, affine_key, shift_key, pen_key = jax.random.split(key, 4)
    points = points + 0.06 * jax.random.normal(hand_key, points.shape)
    slant = jnp.eye(2) + jax.random.uniform(affine_key, (2, 2), minval=-0.2, maxval=0.2)
    shift = jax.random.uniform(shift_key, (2,), minval=-0.15, maxval=0.15)
    pen = jax.random.uniform(pen_key, (), minval=0.05, maxval=0.09)
    points = 0.75 * (points @ slant) + shift.reshape(1, 1, 2)

    t = jnp.linspace(0, 1, _POINTS)
    basis = jnp.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    curves = jnp.einsum("pc,scd->spd", basis, points)
    begins = curves[:, :-1].reshape(-1, 2)
    along = (curves[:, 1:] - curves[:, :-1]).reshape(-1, 2)
    present = jnp.repeat(exist, _POINTS - 1)

    ticks = jnp.linspace(-1, 1, size)
    pixels = jnp.stack(jnp.meshgrid(ticks, ticks), axis=-1).reshape(-1, 1, 2)
    offset = pixels - begins[None]
    length = jnp.sum(along**2, axis=-1) + 1e-9
    nearest = jnp.clip(jnp.sum(offset * along[None], axis=-1) / length[None], 0, 1)
    square = jnp.sum((offset - nearest[..., None] * along[None]) ** 2, axis=-1)
    distance = jnp.sqrt(jnp.min(jnp.where(present[None], square, 9.0), axis=1))
    ink = jax.nn.sigmoid((pen - distance) * 1.5 * size)  # an edge about a pixel wide
    return ink.reshape(size, size, 1)
