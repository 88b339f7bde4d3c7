"""Public networks as their users write them from the papers, with nothing of metajax inside.

Each module has `model() -> mj.Model`, `examples(key, n) -> mj.Examples`, and the `LOSS` of its targets.
"""

import importlib
from types import ModuleType

NETWORKS = (
    *("resnet12", "wrn16", "vit", "mixer", "gpt"),
    *("lstm", "unet", "densenet", "efficientnet", "gcn"),
)
"""The modules, which are imported by `network`: some need equinox."""


def network(name: str) -> ModuleType:
    """The module of this name."""
    return importlib.import_module(f"networks.{name}")
