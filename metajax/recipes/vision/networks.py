"""The networks of image recipes by name, each with and without a head, and with a context."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from metajax.nn.contexts import Conditioned, from_collection
from metajax.nn.models import Conv4, conv4
from metajax.nn.normalisation import Normalisation, normalisation_of
from metajax.nn.resnet import ResNet12, resnet12
from metajax.types import Model

NetworkName: TypeAlias = Literal["conv4", "resnet12"]


class Options(NamedTuple):
    """What the networks of a recipe are made from.

    filters: The channels of the first layers.
    downsample: Of conv4.
    support: The number of support examples, for normalisations that count them.
    """

    filters: int
    readout: Literal["flatten", "mean"]
    downsample: Literal["stride", "pool"]
    normalisation: Normalisation
    support: int | None


class Networks(NamedTuple):
    """A network with a head of `way` outputs, without one, and with a context of scales and shifts."""

    model: Model
    body: Model
    conditioned: Conditioned


def networks(recipe: str, name: NetworkName, way: int, options: Options) -> Networks:
    """Returns the networks of this name.

    Raises:
      ValueError: For options that the network does not take.
    """
    return NETWORKS[name](recipe, way, options)


def _conv4(recipe: str, way: int, o: Options) -> Networks:
    network: dict[str, Any] = {
        "filters": o.filters,
        "readout": o.readout,
        "downsample": o.downsample,
    }
    normal: dict[str, Any] = {"normalisation": o.normalisation, "support": o.support}
    model, body = (conv4(outputs, **network, **normal) for outputs in (way, None))
    normalise = normalisation_of(recipe, **normal)
    return Networks(
        model, body, from_collection(Conv4(way, **network, normalise=normalise, film=True))
    )


def _resnet12(recipe: str, way: int, o: Options) -> Networks:
    if o.filters % 2:
        raise ValueError(
            f"{recipe}: filters={o.filters} must be even with network='resnet12', whose second block is 2.5 "
            "times as wide."
        )
    widths = (o.filters, 5 * o.filters // 2, 5 * o.filters, 10 * o.filters)
    network: dict[str, Any] = {"widths": widths, "readout": o.readout}
    normal: dict[str, Any] = {"normalisation": o.normalisation, "support": o.support}
    model, body = (resnet12(outputs, **network, **normal) for outputs in (way, None))
    normalise = normalisation_of(recipe, **normal)
    return Networks(
        model, body, from_collection(ResNet12(way, **network, normalise=normalise, film=True))
    )


NETWORKS: Mapping[str, Callable[[str, int, Options], Networks]] = {
    "conv4": _conv4,
    "resnet12": _resnet12,
}
