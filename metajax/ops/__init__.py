"""Operations that stay fast where meta-learning puts them: under `vmap` over tasks, differentiated twice."""

from metajax.ops.activations import gelu, silu
from metajax.ops.attention import attention, softmax
from metajax.ops.convolution import Convolution, conv_general_dilated
from metajax.ops.layer_norm import layer_norm, rms_norm
from metajax.ops.pooling import avg_pool, max_pool
from metajax.ops.product import dot_general
from metajax.ops.programs import flops, grouped_convolutions
from metajax.ops.statistics import Moments, moments, normalise, pool_and_moments

__all__ = [
    "Convolution",
    "Moments",
    "attention",
    "avg_pool",
    "conv_general_dilated",
    "dot_general",
    "flops",
    "gelu",
    "grouped_convolutions",
    "layer_norm",
    "max_pool",
    "moments",
    "normalise",
    "pool_and_moments",
    "rms_norm",
    "silu",
    "softmax",
]
