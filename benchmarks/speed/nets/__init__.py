"""The networks of the speed benchmark, a module for each: in JAX and in PyTorch, with their weights.

A module has these functions of a workload `w`:

- `weights(w, rng)` and `tasks(w, rng)`: NumPy arrays; see `workloads.Arrays`
- `linen(w)`: the networks that the learner takes, as flax modules; `equinox(w)`: a function that builds
  the network from a key
- `statistics(w)`: what `mj.linen_model` is told of the flax modules
- `torch_net(w)`: the same for PyTorch
- `to_linen`, `to_equinox`, `to_torch`: `(w, weights) -> weights` by their path in that framework. They
  only move entries, so that `common.undone` brings gradients back.

and `torch_inputs`, the layout in which PyTorch gets the inputs.
"""

import importlib
from typing import Any


def load(name: str) -> Any:
    """A module of networks by its name."""
    return importlib.import_module(f"nets.{name}")


def peer(name: str) -> Any:
    """A library of the extra `bench`, which type checks do without."""
    return importlib.import_module(name)
