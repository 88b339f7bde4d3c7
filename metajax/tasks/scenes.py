"""Scenes of drawn characters, in which one character is to be found: few-shot detection without pictures."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metajax import checks
from metajax.boxes import Boxes
from metajax.tasks.episodes import draw
from metajax.types import Examples, Sample, Task

CELLS = 3
"""Cells along a side, each with the middle of one object at most."""
_SIDE, _DRAWING = 96, 28
"""The sizes, in pixels, that all others below refer to."""
INK = 90
"""Brighter pixels of a drawing, of 255, are ink."""
_STROKES = 6


def scenes(
    drawings: Any,
    *,
    exemplars: int | tuple[int, int] = 1,
    queries: int = 4,
    targets: tuple[int, int] = (1, 3),
    objects: tuple[int, int] = (3, 6),
    distractors: int = 4,
    side: int = 96,
    rotate: bool = True,
    name: str = "scenes",
) -> Sample:
    """Detection of one kind of character, composed on the device from a key alone.

    A task draws a character and `distractors` others. Its support scenes hold the character once among
    others; its query scenes hold it `targets` times, in drawings by other hands. Objects have their own
    scale, tone and place, at most one around each cell of a grid; thin strokes, a slope of light and noise
    are clutter.

    Args:
      drawings: uint8 `(characters, hands, size, size)`, ink 255 on 0, such as
        `metajax.data.omniglot.load().images`.
      exemplars: The number of support scenes; two numbers draw it for each task, and mask the others.
      queries: The number of query scenes.
      targets: The least and the greatest number of targets in a query scene.
      objects: The least and the greatest number of characters in a scene, targets included; 9 at most.
      distractors: The number of kinds of other characters.
      side: Of a scene in pixels, a multiple of 8.
      rotate: Turn each character of a task by a multiple of 90 degrees.
      name: The first word of error messages.

    Returns:
      `sample(key) -> Task` of pictures `(n, side, side, 1)` in [0, 1], and `Boxes` of ink with as many
      places as there may be targets; in support scenes, one.

    Raises:
      ValueError: For drawings of another shape or without ink, for too few characters or hands, and for
        numbers that do not go together.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> crosses = jnp.zeros((5, 8, 28, 28), jnp.uint8).at[..., 8:20, 14].set(255)
      >>> task = mj.tasks.scenes(crosses, queries=2)(jax.random.key(0))
      >>> task.query.x.shape, task.query.y.corners.shape, int(task.support.y.mask.sum())
      ((2, 96, 96, 1), (2, 3, 4), 1)
    """
    (least, most), targets, objects = (
        _two(name, *given)
        for given in (("exemplars", exemplars), ("targets", targets), ("objects", objects))
    )
    for argument, value in {
        "exemplars": least,
        "queries": queries,
        "targets": targets[0],
        "objects": objects[0],
        "distractors": distractors,
        "side": side,
    }.items():
        checks.count(name, argument, value)
    for argument, (low, high), bound in (
        ("exemplars", (least, most), None),
        ("targets", targets, objects[0]),
        ("objects", objects, CELLS**2),
    ):
        if high < low or (bound is not None and high > bound):
            limit = "" if bound is None else f", and be at most {bound}"
            raise ValueError(f"{name}: {argument}={low, high} must not fall{limit}.")
    if side % 8:
        raise ValueError(f"{name}: side={side} must be a multiple of 8.")
    array = _checked(name, drawings, 1 + distractors, most + targets[1])
    settings = Scenes((least, most), queries, targets, objects, distractors, side, rotate)
    return jax.tree_util.Partial(settings, jnp.asarray(array), jnp.asarray(ink_boxes(array)))


def _two(name: str, argument: str, value: Any) -> tuple[int, int]:
    """The least and the greatest number, which one number is both of."""
    numbers = np.ravel(np.asarray(value)).tolist()
    if len(numbers) not in (1, 2) or not all(isinstance(number, int) for number in numbers):
        raise ValueError(f"{name}: {argument}={value!r} must be one integer, or two.")
    return numbers[0], numbers[-1]


def _checked(name: str, drawings: Any, characters: int, hands: int) -> np.ndarray:
    array = np.asarray(drawings)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[2] != array.shape[3]:
        raise ValueError(
            f"{name}: drawings are {array.dtype} of shape {array.shape}; give uint8 (characters, hands, size, "
            "size), ink 255 on 0."
        )
    for what, found, needed in (
        ("characters", array.shape[0], characters),
        ("hands", array.shape[1], hands),
    ):
        if found < needed:
            raise ValueError(f"{name}: there are {found} {what}, but {needed} are needed.")
    empty = np.argwhere(~(array > INK).any(axis=(2, 3)))
    if len(empty):
        raise ValueError(
            f"{name}: drawing {empty[0][1]} of character {empty[0][0]} has no ink above {INK} of 255, so it "
            "has no box. Leave it out."
        )
    return array


def ink_boxes(drawings: np.ndarray) -> np.ndarray:
    """Boxes of ink `(..., 4)` of drawings `(..., h, w)`.

    Example:
      >>> drawing = np.zeros((5, 5), np.uint8); drawing[1:3, 2] = 255
      >>> ink_boxes(drawing).tolist()
      [1.0, 2.0, 3.0, 3.0]
    """
    ink, ends = np.asarray(drawings > INK), []
    for axis in (-1, -2):
        along = np.asarray(np.any(ink, axis=axis))
        last = np.flip(along, axis=-1).argmax(-1)
        ends.append((along.argmax(-1), along.shape[-1] - last))
    (y0, y1), (x0, x1) = ends
    return np.stack([y0, x0, y1, x1], axis=-1).astype(np.float32)


@dataclass(frozen=True)
class Scenes:
    """The settings of `scenes`, called with its data and a key."""

    exemplars: tuple[int, int]
    queries: int
    targets: tuple[int, int]
    objects: tuple[int, int]
    distractors: int
    side: int
    rotate: bool

    def __call__(self, drawings: jax.Array, boxes: jax.Array, key: jax.Array) -> Task:
        """Draws a task."""
        kind_key, hand_key, number_key, scene_key = jax.random.split(key, 4)
        (least, most), (few, many) = self.exemplars, self.targets
        kinds = draw(kind_key, len(drawings), 1 + self.distractors)
        u = jax.random.uniform(number_key, (1 + self.queries + len(kinds),))
        turns = _below(u[1 + self.queries :], 0, 4 if self.rotate else 1)
        counts = _below(u[1 : 1 + self.queries], few, many + 1)
        scene = Scene(self, drawings, boxes, kinds, turns)
        hands = jax.random.permutation(hand_key, drawings.shape[1])
        given, rest = hands[:most], hands[most:]  # no hand is in both sets
        places = jnp.arange(self.queries)[:, None] * many + jnp.arange(many)[None]
        own = jnp.broadcast_to(given[:, None], (most, many))
        drawn_by = jnp.concatenate([own, rest[places % len(rest)]])
        counts = jnp.concatenate([jnp.ones(most, counts.dtype), counts])
        # All scenes in one call, which takes half as long to compile.
        x, (corners, exist) = jax.vmap(scene)(
            jax.random.split(scene_key, len(counts)), drawn_by, counts
        )
        mask = None if least == most else jnp.arange(most) < _below(u[0], least, most + 1)
        support = Examples(x[:most], Boxes(corners[:most, :1], exist[:most, :1]), mask)
        return Task(support, Examples(x[most:], Boxes(corners[most:], exist[most:])))


@dataclass(frozen=True)
class Scene:
    """What the scenes of one task share: kinds of characters, the target first, and how each is turned."""

    settings: Scenes
    drawings: jax.Array
    boxes: jax.Array
    kinds: jax.Array
    turns: jax.Array

    def __call__(self, key: jax.Array, hands: jax.Array, count: jax.Array) -> tuple[Any, Boxes]:
        """A picture `(side, side, 1)`, and the boxes of `count` targets in drawings by `hands`."""
        s, most = self.settings, self.settings.objects[1]
        object_key, scene_key, stroke_key, light_key = jax.random.split(key, 4)
        # One array of numbers for all that varies: every call of a generator takes long to compile.
        u = jax.random.uniform(object_key, (most, 8))
        at = jax.random.uniform(scene_key, (1 + CELLS**2,))
        slot, places = jnp.arange(most), len(hands)
        total = _below(at[0], s.objects[0], most + 1)
        target = slot < count
        kind = jnp.where(target, 0, _below(u[:, 0], 1, 1 + s.distractors))
        hand = _below(u[:, 1], 0, self.drawings.shape[1])
        hand = jnp.where(target, hands[jnp.minimum(slot, places - 1)], hand)
        ink, box = jax.vmap(self.turned)(kind, hand)
        unit = s.side / _SIDE
        scale = (0.7 + 0.45 * u[:, 2:3]) * jnp.exp(0.16 * u[:, 3:5] - 0.08)
        scale = scale * unit * _DRAWING / self.drawings.shape[2]
        half = (box[:, 2:] - box[:, :2]) * scale / 2
        cells = jnp.argsort(at[1:])[:most]
        middle = (jnp.stack([cells // CELLS, cells % CELLS], axis=-1) + 0.5) * s.side / CELLS
        middle = jnp.clip(middle + unit * (10 * u[:, 5:7] - 5), half, s.side - half)
        painted, corners = jax.vmap(self.painted)(ink, box, scale, middle)
        tone = (0.6 + 0.4 * u[:, 7]).reshape(most, 1, 1)
        here = (slot < total)[:, None, None]
        ink = jnp.max(jnp.where(here, tone * painted, 0), axis=0)
        ink = jnp.maximum(ink, clutter(stroke_key, s.side))
        picture = jnp.clip(light(light_key, s.side) * (1 - ink) + ink, 0, 1)[..., None]
        return picture, Boxes(corners[:places], target[:places])

    def turned(self, kind: jax.Array, hand: jax.Array) -> tuple[jax.Array, jax.Array]:
        """A drawing in [0, 1] and its box, turned as all drawings of its kind are."""
        ink = self.drawings[self.kinds[kind], hand].astype(jnp.float32) / 255
        box, size = self.boxes[self.kinds[kind], hand], ink.shape[0]
        inks, boxes = [ink], [box]
        for _ in range(3):
            y0, x0, y1, x1 = boxes[-1]
            boxes.append(jnp.stack([size - x1, y0, size - x0, y1]))
            inks.append(jnp.rot90(inks[-1]))
        turn = self.turns[kind]
        return jnp.stack(inks)[turn], jnp.stack(boxes)[turn]

    def painted(self, ink, box, scale, middle) -> tuple[jax.Array, jax.Array]:
        """A drawing with the middle of its ink in a place of the scene, and its box there."""
        side = self.settings.side
        shift = middle - scale * (box[:2] + box[2:]) / 2
        found = jax.image.scale_and_translate(
            ink, (side, side), (0, 1), scale, shift, "linear", antialias=False
        )
        corners = jnp.concatenate([box[:2] * scale + shift, box[2:] * scale + shift])
        return found, corners


def _below(u: jax.Array, least: int, bound: int) -> jax.Array:
    """Uniform numbers in [0, 1) as integers from `least` to below `bound`."""
    return jnp.minimum(least + (u * (bound - least)).astype(jnp.int32), bound - 1)


def clutter(key: jax.Array, side: int) -> jax.Array:
    """Ink of some thin strokes, `(side, side)`."""
    u, unit = jax.random.uniform(key, (_STROKES, 5)), side / _SIDE
    begin, angle = side * u[:, :2], 2 * jnp.pi * u[:, 2]
    length = unit * (4 + 12 * u[:, 3:4])
    along = length * jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)
    ticks = jnp.arange(side) + 0.5
    pixels = jnp.stack(jnp.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    offset = pixels - begin[None]
    place = jnp.sum(offset * along[None], axis=-1) / jnp.sum(along**2, axis=-1)[None]
    apart = offset - jnp.clip(place, 0, 1)[..., None] * along[None]
    distance = jnp.sqrt(jnp.sum(apart**2, axis=-1) + 1e-9)
    ink = jnp.where(u[None, :, 4] < 0.7, jax.nn.sigmoid(4 * (0.9 - distance / unit)), 0)
    return 0.8 * jnp.max(ink, axis=1).reshape(side, side)


def light(key: jax.Array, side: int) -> jax.Array:
    """Paper with a slope of light and noise, `(side, side)`."""
    normal = jax.random.normal(key, (side + 1, side))
    slope = 0.3 * jax.scipy.stats.norm.cdf(normal[side, :2]) - 0.15  # uniform in [-0.15, 0.15]
    ticks = (jnp.arange(side) + 0.5) / side - 0.5
    return slope[0] * ticks[:, None] + slope[1] * ticks[None] + 0.1 + 0.08 * normal[:side]
