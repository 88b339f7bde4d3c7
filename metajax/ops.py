"""Operations that stay fast where meta-learning puts them: under `vmap` over tasks, differentiated twice."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

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
    """`jax.lax.conv_general_dilated` as patches and a matrix product, for images `(n, h, w, c)`.

    `vmap` over tasks with their own kernels turns a convolution into a grouped one, and a second
    derivative leaves XLA's fast path: on a CPU each is over ten times slower than the arithmetic.
    Slices and matrix products stay what they are under both. Arguments and result are those of
    `lax.conv_general_dilated`, which serves every case not handled here: other layouts, dilations,
    groups.

    Args:
      lhs: images `(n, h, w, c)`.
      rhs: kernels `(kh, kw, c, features)`.
      window_strides: two strides.
      padding: "SAME", "VALID" or two pairs.
      lhs_dilation: as in `lax`; anything but 1 is left to it.
      rhs_dilation: as in `lax`; anything but 1 is left to it.
      dimension_numbers: as in `lax`; anything but NHWC, HWIO, NHWC is left to it.
      feature_group_count: as in `lax`; anything but 1 is left to it.
      batch_group_count: as in `lax`; anything but 1 is left to it.
      precision: of the matrix product.
      preferred_element_type: of the matrix product.

    Example:
      >>> import flax.linen as nn, metajax as mj
      >>> layer = nn.Conv(8, (3, 3), conv_general_dilated=mj.conv_general_dilated)
    """
    images = lax.conv_dimension_numbers(lhs.shape, rhs.shape, _IMAGES)
    as_images = lhs.ndim == 4 and images == lax.conv_dimension_numbers(
        lhs.shape, rhs.shape, dimension_numbers
    )
    dilations = (*(lhs_dilation or ()), *(rhs_dilation or ()))
    grouped = feature_group_count != 1 or batch_group_count != 1
    if not as_images or grouped or any(d != 1 for d in dilations):
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
    kernel, strides = rhs.shape[:2], tuple(window_strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], kernel, strides, padding)
    patches = _patches(lhs, kernel, strides, padding)
    product = jnp.matmul(
        patches.reshape(-1, patches.shape[-1]),
        rhs.reshape(-1, rhs.shape[-1]),
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    return product.reshape(*patches.shape[:3], rhs.shape[-1])


def _patches(images, kernel, strides, padding):
    """What the kernel sees at each output: `(n, h, w, c)` to `(n, out_h, out_w, kh * kw * c)`.

    Rows and columns are split into (block, phase) by the stride first: every tap is then a slice
    without a stride, and its transpose a pad without holes.
    """
    n, channels = images.shape[0], images.shape[3]
    out, blocks, pads = [], [], [(0, 0, 0)]
    for size, k, stride, (low, high) in zip(
        images.shape[1:3], kernel, strides, padding, strict=True
    ):
        out.append((size + low + high - k) // stride + 1)
        blocks.append(out[-1] + (k - 1) // stride)
        pads.append((low, blocks[-1] * stride - size - low, 0))  # below 0 it crops what is unused
    padded = lax.pad(images, jnp.zeros((), images.dtype), [*pads, (0, 0, 0)])
    (sh, sw), (oh, ow) = strides, out
    phases = padded.reshape(n, blocks[0], sh, blocks[1], sw * channels)
    taps = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            rows, columns = slice(i // sh, i // sh + oh), slice(j // sw, j // sw + ow)
            channel = slice(j % sw * channels, (j % sw + 1) * channels)
            taps.append(phases[:, rows, i % sh, columns, channel])
    return jnp.concatenate(taps, axis=-1)
