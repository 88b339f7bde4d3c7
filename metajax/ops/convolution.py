"""A convolution that stays fast under `vmap` over tasks, and in every derivative."""

import math
from collections.abc import Sequence
from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.export import is_symbolic_dim

from metajax.ops.bilinear import bilinear, roles_of

_IMAGES = ("NHWC", "HWIO", "NHWC")


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers=None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision=None,
    preferred_element_type=None,
) -> jax.Array:
    """`jax.lax.conv_general_dilated` for images `(n, h, w, c)`, fast under `vmap` and derivatives.

    `vmap` over tasks with their own kernels turns JAX's convolution into a grouped one, and a second
    derivative leaves XLA's fast path: on a CPU each is over ten times slower than the arithmetic.
    All cases that are not handled here go to `lax`: other layouts, dilations, groups.

    Args:
      lhs: Images `(n, h, w, c)`.
      rhs: Kernels `(kh, kw, c, features)`.
      window_strides: Two strides.
      padding: "SAME", "VALID" or two pairs.
      lhs_dilation: As in `lax`, which handles all but 1.
      rhs_dilation: As in `lax`, which handles all but 1.
      dimension_numbers: As in `lax`, which handles all but NHWC, HWIO, NHWC.
      feature_group_count: As in `lax`, which handles all but 1.
      batch_group_count: As in `lax`, which handles all but 1.
      precision: Precision of the products.
      preferred_element_type: As in `lax`, which handles any type but that of the images.

    Example:
      >>> import flax.linen as nn, metajax as mj
      >>> layer = nn.Conv(8, (3, 3), conv_general_dilated=mj.conv_general_dilated)
    """
    images = lax.conv_dimension_numbers(lhs.shape, rhs.shape, _IMAGES)
    as_images = lhs.ndim == 4 and images == lax.conv_dimension_numbers(
        lhs.shape, rhs.shape, dimension_numbers
    )
    plain = feature_group_count == batch_group_count == 1 and all(
        d == 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ()))
    )
    one_type = lhs.dtype == rhs.dtype and preferred_element_type in (None, lhs.dtype)
    if not (as_images and plain and one_type and lhs.shape[3] == rhs.shape[2]):
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count,
            batch_group_count,
            precision,
            preferred_element_type,
        )
    window = _window(lhs, rhs, window_strides, padding)
    return _conv_p.bind(lhs[None], rhs[None], want="out", window=window, precision=precision)[0]


class Convolution(NamedTuple):
    """A convolution by one kernel, as a function of images `(n, h, w, c)`.

    kernel: `(kh, kw, c, features)`.
    strides: Two strides.
    padding: "SAME", "VALID" or two pairs.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> layer = mj.ops.Convolution(jnp.ones((3, 3, 1, 8)), strides=(2, 2))
      >>> layer(jnp.ones((5, 28, 28, 1))).shape, layer.patches(jnp.ones((5, 28, 28, 1))).shape
      ((5, 14, 14, 8), (5, 14, 14, 9))
    """

    kernel: jax.Array
    strides: tuple[int, int] = (1, 1)
    padding: str | Sequence[tuple[int, int]] = "SAME"

    def __call__(self, images: jax.Array) -> jax.Array:
        """Returns features `(n, oh, ow, features)`, in the wider of the two types."""
        kind = jnp.promote_types(images.dtype, self.kernel.dtype)
        images, kernel = images.astype(kind), self.kernel.astype(kind)
        return conv_general_dilated(
            images, kernel, self.strides, self.padding, dimension_numbers=_IMAGES
        )

    def patches(self, images: jax.Array) -> jax.Array:
        """Returns the patch that the kernel reads at each position, `(n, oh, ow, kh * kw * c)`."""
        return _patches(images, _window(images, self.kernel, self.strides, self.padding))


# images (tasks, n, h, w, c), kernel (tasks, kh, kw, c, features), out (tasks, n, oh, ow, features).
ROLES = roles_of("images", "kernel", "out")


class _Window(NamedTuple):
    size: tuple[int, ...]  # of the images
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]

    @property
    def out(self) -> tuple[int, ...]:
        parts = zip(self.size, self.kernel, self.strides, self.padding, strict=True)
        return tuple(max(0, (s + sum(p) - k) // stride + 1) for s, k, stride, p in parts)


def _window(images, kernel, strides, padding) -> _Window:
    size, kernel, strides = images.shape[1:3], kernel.shape[:2], tuple(strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(size, kernel, strides, padding)
    return _Window(size, kernel, strides, tuple((int(a), int(b)) for a, b in padding))


def _shape(a, b, *, want: str, window: _Window, precision=None) -> tuple[int, ...]:
    del precision
    if want == "out":
        return (*a.shape[:2], *window.out, b.shape[4])
    if want == "images":
        return (*b.shape[:2], *window.size, a.shape[3])
    return (a.shape[0], *window.kernel, a.shape[4], b.shape[4])


def _alone(a, b, *, want: str, window: _Window, precision):
    """One task, by JAX's own convolution.

    The axes are transposed by hand into NHWC, HWIO: XLA for CPUs has a fast path for no other order,
    and what JAX's own derivatives ask for it reorders everywhere but inside of a loop.
    """
    options = {"dimension_numbers": _IMAGES, "precision": precision}
    if want == "out":
        return lax.conv_general_dilated(a, b, window.strides, window.padding, **options)
    pads = []
    for size, k, stride, (low, _), out in zip(*window, window.out, strict=True):
        reach = (out - 1) * stride + 1
        if want == "images":
            pads.append((k - 1 - low, size + low - reach))
        else:
            pads.append((low, k - 1 + reach - size - low))
    if want == "images":
        flipped = a[::-1, ::-1].swapaxes(2, 3)
        return lax.conv_general_dilated(b, flipped, (1, 1), pads, window.strides, **options)
    channels_first, kernel = a.transpose(3, 1, 2, 0), b.transpose(1, 2, 0, 3)
    result = lax.conv_general_dilated(
        channels_first, kernel, (1, 1), pads, rhs_dilation=window.strides, **options
    )
    return result.transpose(1, 2, 0, 3)


def _together(a, b, *, want: str, window: _Window, precision):
    """All tasks, as patches, what the kernel sees at each output, and a matrix product for each."""
    tasks, features = a.shape[0], b.shape[4]
    c = a.shape[3] if want == "images" else a.shape[4]
    shape = _shape(a, b, want=want, window=window)
    see = jax.vmap(partial(_patches, window=window))
    product = partial(jnp.matmul, precision=precision)
    if want == "out":
        seen = see(a).reshape(tasks, -1, math.prod(window.kernel) * c)
        return product(seen, b.reshape(tasks, -1, features)).reshape(shape)
    if want == "kernel":
        seen = see(a).reshape(tasks, -1, math.prod(window.kernel) * c)
        out = b.reshape(tasks, -1, features)
        if seen.shape[-1] < features:
            return product(seen.mT, out).reshape(shape)  # whichever is the smaller to turn
        return product(out.mT, seen).mT.reshape(shape)
    seen = product(b.reshape(tasks, -1, features), a.reshape(tasks, -1, features).mT)
    images = jax.ShapeDtypeStruct(shape, a.dtype)
    (out,) = jax.linear_transpose(see, images)(seen.reshape(jax.eval_shape(see, images).shape))
    return out


IN_CACHE = 2**21
"""Bytes that stay in a CPU's cache: of patches, up to which a product of them is as fast as a convolution."""

ROWS = 1024
"""Positions below which a product of a group of images is not worth the sum over groups that follows."""

NARROW = 4
"""Channels below which XLA's convolution on a CPU falls far behind a product of blocks of outputs."""


def _on_cpu(a, b, *, want: str, window: _Window, precision):
    """Whatever form keeps its operands in the cache."""
    roles = dict(zip(ROLES[want], (a, b), strict=True))
    n = roles["images"].shape[1] if "images" in roles else roles["out"].shape[1]
    c = roles["images"].shape[4] if "images" in roles else roles["kernel"].shape[3]
    of_image = math.prod(window.out) * math.prod(window.kernel) * c * a.dtype.itemsize
    form = _cpu_form(want, n, c, of_image, window)
    if a.shape[0] == 1 or is_symbolic_dim(n) or a.shape[0] * n * of_image > IN_CACHE:
        form = partial(_task_by_task, form)
    return form(a, b, want=want, window=window, precision=precision)


def _cpu_form(want: str, n: int, c: int, of_image: int, window: _Window):
    """The form for `n` images of `c` channels, whose patches take `of_image` bytes each."""
    if is_symbolic_dim(n):
        return _each(_alone)
    if math.prod(window.kernel) == 1:  # the patches are the images
        return _together
    if c < NARROW:
        return _together if want == "images" else partial(_by_blocks, _outputs_of_block(window))
    # XLA's convolution wants the images' gradient of a strided one with holes between, and the kernel's
    # gradient transposed, which costs as much as the product. A small strided one is slower than a product.
    strided, large = window.strides != (1, 1), n * of_image > IN_CACHE
    if (want == "out" and (large or not strided)) or (want == "images" and large and not strided):
        return _each(_alone)
    if not large:
        return _together
    size = IN_CACHE // of_image
    if want == "kernel":
        size = max(1, size)
        return _each(_alone if size * math.prod(window.out) < ROWS else partial(_in_groups, size))
    return _each(partial(_in_groups, size) if size else _alone)


def _each(form):
    """A form of one task as one of a batch of tasks."""

    def of_tasks(a, b, **options):
        return jnp.stack([form(*ab, **options) for ab in zip(a, b, strict=True)])

    return of_tasks


def _task_by_task(form, a, b, **options):
    if a.shape[0] == 1:
        return form(a, b, **options)
    return lax.map(lambda ab: form(ab[0][None], ab[1][None], **options)[0], (a, b))


def _in_groups(size: int, a, b, *, want: str, **options):
    """One task, `size` images after the other, each group as patches; fewer in the last one."""

    def of_group(images, other):
        if want == "kernel":
            return _kernel_by_rows(images, other, **options)
        a, b = (images, other) if want == "out" else (other, images)
        return _together(a[None], b[None], want=want, **options)[0]

    def of_groups(images, other):
        grouped = images.reshape(-1, size, *images.shape[1:])
        if want == "kernel":
            other = other.reshape(-1, size, *other.shape[1:])
            return jnp.sum(lax.map(lambda pair: of_group(*pair), (grouped, other)), axis=0)
        out = lax.map(lambda images: of_group(images, other), grouped)
        return out.reshape(-1, *out.shape[2:])

    images, other = (b, a) if want == "images" else (a, b)
    n = len(images)
    whole, parts = n // size * size, []
    for of_part, part in ((of_groups, slice(0, whole)), (of_group, slice(whole, n))):
        if part.start < part.stop:
            parts.append(of_part(images[part], other[part] if want == "kernel" else other))
    if want != "kernel":
        return jnp.concatenate(parts)
    return reduce(jnp.add, parts).T.reshape(*options["window"].kernel, a.shape[3], b.shape[3])


def _kernel_by_rows(images, out, *, window: _Window, precision):
    """The gradient of the kernel, turned, `(features, kh * kw * c)`: a product for each of its rows.

    What the rows see is a third of the patches to write down.
    """
    turned = out.reshape(-1, out.shape[3]).T
    rows = _rows(images, window)
    return jnp.concatenate(
        [jnp.matmul(turned, row.reshape(-1, row.shape[-1]), precision=precision) for row in rows],
        axis=1,
    )


def _by_blocks(outputs: int, a, b, *, want: str, window: _Window, precision):
    """All tasks, as products of what a block of neighbouring outputs of a row sees.

    With few channels the patch of a single output is a handful of numbers, and writing it down costs
    more than its product. Neighbours share most of what they see. So the kernel is written once for each
    output of a block, zeros elsewhere, `(kh * span * c, outputs * features)`.
    """
    product = partial(jnp.matmul, precision=precision)
    c = a.shape[3] if want == "images" else a.shape[4]
    tasks, features = a.shape[0], b.shape[4]
    shape = _shape(a, b, want=want, window=window)
    see = jax.vmap(partial(_seen_by_blocks, outputs, window=window))
    spread = jax.vmap(partial(_kernel_of_block, outputs, window=window))
    kernels = jax.ShapeDtypeStruct((tasks, *window.kernel, c, features), a.dtype)
    if want == "out":
        seen = see(a)
        whole = product(seen.reshape(tasks, -1, seen.shape[-1]), spread(b))
        return _without_rest(whole, shape, outputs)
    blocks = _with_rest(b, outputs)
    if want == "kernel":
        seen = see(a)
        wide = product(seen.reshape(tasks, -1, seen.shape[-1]).mT, blocks)
        return jax.linear_transpose(spread, kernels)(wide)[0]
    images = jax.ShapeDtypeStruct(shape, a.dtype)
    seen = product(blocks, spread(a).mT).reshape(jax.eval_shape(see, images).shape)
    return jax.linear_transpose(see, images)(seen)[0]


def _outputs_of_block(window: _Window) -> int:
    """The outputs of a block: as many as see at most twice what one sees, if they divide the row."""
    (*_, width), (*_, kw), (*_, stride) = window.out, window.kernel, window.strides
    most = max(1, min(4, kw // stride + 1))
    return next((t for t in range(most, 1, -1) if width % t == 0), most)


def _seen_by_blocks(outputs: int, images: jax.Array, window: _Window) -> jax.Array:
    """What a block of outputs sees: `(n, h, w, c)` to `(n, out_h, blocks, kh * span * c)`."""
    (n, height, width, c), (kh, kw) = images.shape, window.kernel
    (sh, sw), (oh, ow), ((top, _), (left, _)) = window.strides, window.out, window.padding
    blocks = -(-ow // outputs)
    span, step = ((outputs - 1) * sw + kw) * c, outputs * sw * c
    below = (oh - 1) * sh + kh - height - top
    beyond = (blocks * outputs - 1) * sw + kw - width - left
    pads = [(0, 0, 0), (top, below, 0), (left, beyond, 0), (0, 0, 0)]
    rows = lax.pad(images, jnp.zeros((), images.dtype), pads)
    rows = rows.reshape(n, rows.shape[1], -1)
    cut = [rows[:, :, j * step : j * step + span] for j in range(blocks)]
    wide = jnp.stack(cut, axis=2)
    taps = [wide[:, i : i + (oh - 1) * sh + 1 : sh] for i in range(kh)]
    return jnp.concatenate(taps, axis=-1)


def _kernel_of_block(outputs: int, kernel: jax.Array, window: _Window) -> jax.Array:
    """A kernel at every output of a block: `(kh, kw, c, f)` to `(kh * span * c, outputs * f)`."""
    stride = window.strides[1]
    placed = [
        jnp.pad(kernel, ((0, 0), (j * stride, (outputs - 1 - j) * stride), (0, 0), (0, 0)))
        for j in range(outputs)
    ]
    return jnp.stack(placed, axis=3).reshape(-1, outputs * kernel.shape[3])


def _with_rest(out: jax.Array, outputs: int) -> jax.Array:
    """`(tasks, n, oh, ow, f)` as rows of whole blocks, `(tasks, rows, outputs * f)`."""
    tasks, *_, width, features = out.shape
    rest = -width % outputs
    padded = jnp.pad(out, ((0, 0), (0, 0), (0, 0), (0, rest), (0, 0))) if rest else out
    return padded.reshape(tasks, -1, outputs * features)


def _without_rest(whole: jax.Array, shape: tuple[int, ...], outputs: int) -> jax.Array:
    tasks, n, height, width, features = shape
    return whole.reshape(tasks, n, height, -1, features)[:, :, :, :width]


def _at_once(a, b, **options):
    if a.shape[0] == 1:
        return _alone(a[0], b[0], **options)[None]
    return _together(a, b, **options)


_conv_p = bilinear(
    "bilinear_conv",
    ROLES,
    {("images", "out"): (1, 1), ("images", "kernel"): (4, 3), ("kernel", "out"): (4, 4)},
    _shape,
    _at_once,
    _on_cpu,
    ("window", "precision"),
)


def _patches(images: jax.Array, window: _Window) -> jax.Array:
    """What the kernel sees at each output: `(n, h, w, c)` to `(n, out_h, out_w, kh * kw * c)`."""
    phases, channels = _phases(images, window), images.shape[3]
    (sh, sw), (oh, ow) = window.strides, window.out
    taps = []
    for i in range(window.kernel[0]):
        for j in range(window.kernel[1]):
            rows, columns = slice(i // sh, i // sh + oh), slice(j // sw, j // sw + ow)
            channel = slice(j % sw * channels, (j % sw + 1) * channels)
            taps.append(phases[:, rows, i % sh, columns, channel])
    return jnp.concatenate(taps, axis=-1)


def _rows(images: jax.Array, window: _Window) -> list[jax.Array]:
    """What each row of the kernel sees at each output, `(n, out_h, out_w, kw * c)`.

    Neighbours in a row are put together once, for all rows of the kernel.
    """
    phases, channels = _phases(images, window), images.shape[3]
    (sh, sw), (oh, ow) = window.strides, window.out
    taps = [
        phases[..., j // sw : j // sw + ow, j % sw * channels : (j % sw + 1) * channels]
        for j in range(window.kernel[1])
    ]
    wide = jnp.concatenate(taps, axis=-1)
    return [wide[:, i // sh : i // sh + oh, i % sh] for i in range(window.kernel[0])]


def _phases(images: jax.Array, window: _Window) -> jax.Array:
    """Rows and columns split into (block, phase) by the stride: `(n, blocks, sh, blocks, sw * c)`.

    Every tap of the kernel is then a slice without a stride, and its transpose a pad without holes.
    """
    n, channels = images.shape[0], images.shape[3]
    blocks: list[int] = []
    pads: list[tuple[int, int, int]] = [(0, 0, 0)]
    for size, k, stride, (low, _), out in zip(*window, window.out, strict=True):
        blocks.append(out + (k - 1) // stride)
        pads.append((low, blocks[-1] * stride - size - low, 0))  # below 0 it crops what is unused
    padded = lax.pad(images, jnp.zeros((), images.dtype), [*pads, (0, 0, 0)])
    sh, sw = window.strides
    return padded.reshape(n, blocks[0], sh, blocks[1], sw * channels)
