"""Workloads of the speed benchmark as NumPy arrays."""

from typing import NamedTuple

import nets
import numpy as np
from rows.speed import UserWorkload, Workload

MALLOC = ":".join(
    f"glibc.malloc.{setting}"
    for setting in (
        "hugetlb=1",
        "trim_threshold=268435456",
        "mmap_threshold=268435456",
        "arena_max=3",
    )
)
"""For all contestants. An outer step of C touches gigabytes, where page faults dominate; huge pages that are
kept, and few heaps, avoid them."""


class Arrays(NamedTuple):
    """Weights by name, and `(support_x, support_y, query_x, query_y)` with tasks first.

    Images are `(tasks, n, h, w, c)` and kernels `(h, w, c, features)`; torch gets transposed copies.
    """

    weights: dict[str, np.ndarray]
    tasks: tuple[np.ndarray, ...]


def arrays(w: Workload | UserWorkload, seed: int = 0) -> Arrays:
    """The same weights and tasks for every contestant."""
    rng, net = np.random.default_rng(seed), nets.load(w.net)
    return Arrays(net.weights(w, rng), net.tasks(w, rng))
