"""Operations that stay fast where meta-learning puts them: under `vmap` over tasks, differentiated twice."""

from metajax.ops.convolution import Convolution, conv_general_dilated
from metajax.ops.pooling import max_pool
from metajax.ops.product import dot_general
from metajax.ops.programs import flops, grouped_convolutions
from metajax.ops.statistics import Moments, moments, normalise, pool_and_moments

__all__ = [
    "Convolution",
    "Moments",
    "conv_general_dilated",
    "dot_general",
    "flops",
    "grouped_convolutions",
    "max_pool",
    "moments",
    "normalise",
    "pool_and_moments",
]
