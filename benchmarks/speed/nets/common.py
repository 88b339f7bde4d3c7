"""What the networks share: how weights and tasks are drawn, and how weights move between layouts."""

from collections.abc import Callable, Mapping

import numpy as np
from rows.speed import UserWorkload

Weights = Mapping[str, np.ndarray]

_START: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "kernel": lambda noise: noise / np.sqrt(np.prod(noise.shape[:-1])),
    "scale": lambda noise: 1 + 0.1 * noise,
    "bias": lambda noise: 0.1 * noise,
    "embedding": lambda noise: 0.5 * noise,
    "positions": lambda noise: 0.5 * noise,
}
_IN_TORCH = {"kernel": "weight", "scale": "weight", "embedding": "weight"}
_OUTPUTS_FIRST = {2: (1, 0), 4: (3, 2, 0, 1)}


def draw(shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Weights by name; the last part of a name says how they are distributed."""
    return {
        name: _START[name.rpartition("/")[2]](rng.normal(size=shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def conv(name: str, inputs: int, outputs: int, size: int = 3) -> dict[str, tuple[int, ...]]:
    """Shapes of a convolution with bias."""
    return {f"{name}/kernel": (size, size, inputs, outputs), f"{name}/bias": (outputs,)}


def dense(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a dense layer with bias."""
    return {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a normalisation."""
    return {f"{name}/scale": (width,), f"{name}/bias": (width,)}


def classified(w: UserWorkload, inputs: Callable[..., np.ndarray]) -> tuple[np.ndarray, ...]:
    """Tasks of labelled inputs: `inputs(size)` draws inputs `(meta_batch, n, ...)` of that size."""

    def examples(per_class):
        n = w.way * per_class
        return inputs((w.meta_batch, n)), np.tile(np.arange(n) % w.way, (w.meta_batch, 1))

    return (*examples(w.shot), *examples(w.query_shot))


def images(w: UserWorkload, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Tasks of images `(meta_batch, n, h, w, c)`."""
    shape = (w.settings["size"], w.settings["size"], w.settings["channels"])
    return classified(w, lambda size: rng.uniform(size=(*size, *shape)).astype(np.float32))


def channels_last(x):
    """Images `(tasks, n, c, h, w)` of torch in the memory format that convolutions on CPUs prefer."""
    return x.permute(0, 1, 4, 2, 3)


def by_the_batch(w: UserWorkload) -> str:
    """Batch normalisation takes its statistics from the batch at hand, as flax's modules here do."""
    return "batch"


def without_statistics(w: UserWorkload) -> None:
    """No layer has running statistics."""


def unchanged(x):
    """Inputs of torch in the layout of JAX."""
    return x


def renamed(weights: Weights, prefixes: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Weights whose names begin in another way; the first prefix that matches counts.

    Example:
      >>> renamed({"Conv_0/bias": np.ones(1)}, {"Conv_": "convs.", "": "rest."})
      {'convs.0/bias': array([1.])}
    """
    out = {}
    for name, value in weights.items():
        old = next(prefix for prefix in prefixes if name.startswith(prefix))
        out[prefixes[old] + name[len(old) :]] = value
    return out


def outputs_first(weights: Weights, prefixes: Mapping[str, str], separator: str):
    """Weights by the names of torch or equinox, whose kernels begin with the axis of the outputs."""
    out = {}
    for name, value in renamed(weights, prefixes).items():
        layer, _, kind = name.rpartition("/")
        if kind == "kernel":
            value = value.transpose(_OUTPUTS_FIRST[value.ndim])
        out[f"{layer}{separator}{_IN_TORCH.get(kind, kind)}"] = value
    return out


def channels_before_positions(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A dense kernel that reads flattened images `(h, w, c)` as one that reads `(c, h, w)`."""
    side = round((len(kernel) / channels) ** 0.5)
    return kernel.reshape(side, side, channels, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)


def undone(to: Callable[[Weights], Weights], weights: Weights, moved: Weights):
    """Entries back under the names that they had before `to`, which moves entries and nothing else.

    Example:
      >>> undone(lambda w: {"b": w["a"].T}, {"a": np.zeros((1, 2))}, {"b": np.array([[3.0], [4.0]])})
      {'a': array([[3., 4.]])}
    """
    ends = np.cumsum([value.size for value in weights.values()])
    places = {
        name: np.arange(end - value.size, end).reshape(value.shape)
        for end, (name, value) in zip(ends, weights.items(), strict=True)
    }
    entries = np.full(ends[-1], np.nan)
    for name, where in to(places).items():
        entries[where] = moved[name]
    return {name: entries[where] for name, where in places.items()}
