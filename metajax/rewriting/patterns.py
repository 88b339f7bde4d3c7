"""Several steps that are one operation: normalisations, smooth activations, softmax.

A pattern is known by what it computes, as a polynomial, and not by how it is written.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp

from metajax import ops
from metajax.ops.layer_norm import normalise_over
from metajax.rewriting.forms import (
    VARIANCE,
    Form,
    Graph,
    Reader,
    Terms,
    constant,
    is_close,
    plus,
    sources,
    symbol,
    times,
)
from metajax.rewriting.pooled import BY_CHANNEL, ByChannel
from metajax.rewriting.program import Program, Step, Value

_WIDE = (jnp.float32, jnp.float64)


def _is_wide(value: Value) -> bool:
    """Whether rounding is that of the sums, and sizes are known."""
    return value.dtype in _WIDE and all(isinstance(size, int) for size in value.shape)


class _Root(NamedTuple):
    """How a normalisation divides: `(mean square or variance + epsilon) ** -1/2`."""

    epsilon: float
    centred: bool


def normalisations(program: Program) -> None:
    """Replaces layer, group, batch and RMS normalisation, and others over any axes."""
    graph = Graph(program)
    for root in [step for step in program.steps if _root_power(step)]:
        for x in sources(root.inputs[0])[1:]:
            if _is_wide(x) and _normalised(program, graph, root, x):
                break


def _root_power(step: Step) -> int:
    """1 for an inverse square root, -1 for a square root, 0 for what is neither."""
    if step.name in ("rsqrt", "sqrt"):
        return 1 if step.name == "rsqrt" else -1
    if step.name == "pow" and step.inputs[1].number in (-0.5, 0.5):
        return 1 if step.inputs[1].number == -0.5 else -1
    return 0


def _normalised(program: Program, graph: Graph, root: Step, x: Value) -> bool:
    reader, found = Reader(x), []

    def visit(step):
        if step is root:
            form = reader.of(step.inputs[0])
            kind = _kind_of_root(form) if form is not None else None
            if form is not None and kind is not None:
                found.append(kind)
                reader.name(step.outputs[0], "r", _root_power(step), form)

    reader.follow(graph, visit)
    if not found or reader.reduced is None:
        return False
    (kind,), done = found, False
    for step, (factor, scales) in _ends(program, graph, reader, partial(_scaled, kind=kind)):
        function = _normalisation(reader, kind, factor, scales)
        what = (
            ("layer norm" if kind.centred else "RMS norm") if _is_last(reader) else "normalisation"
        )
        base = _unshifted(x, reader.reduced) if kind.centred else x
        inputs = [base, *map(_source, scales)]
        program.replace(
            step.outputs[0], what, inputs, function, _by_channel(reader, kind, factor, scales)
        )
        done = True
    return done


def _by_channel(reader: Reader, kind: _Root, factor: float, scales: list[Value]) -> dict[str, Any]:
    """What `pooled` knows the step by, if it normalises each channel over all other axes."""
    last = len(reader.x.shape) - 1
    axes = {axis for value in scales for axis in _axes_of_source(reader, value)}
    if not kind.centred or reader.reduced != tuple(range(last)) or axes - {last, None}:
        return {}
    return {BY_CHANNEL: ByChannel(kind.epsilon, factor)}


def _unshifted(x: Value, reduced: tuple[int, ...]) -> Value:
    """x without what is constant along the axes of means, such as a layer's bias: means subtract it."""
    while x.by is not None and x.by.name in ("add", "sub"):
        a, b = x.by.inputs
        if a.shape == x.shape and _varies_along(b).isdisjoint(reduced):
            x = a
        elif x.by.name == "add" and b.shape == x.shape and _varies_along(a).isdisjoint(reduced):
            x = b
        else:
            break
    return x


def _varies_along(value: Value) -> set[int]:
    """The axes along which an array repeats nothing."""
    axes, shape = range(len(value.shape)), value.shape
    if value.by is not None and value.by.name == "broadcast_in_dim":
        axes, shape = value.by.params["broadcast_dimensions"], value.by.inputs[0].shape
    return {axis for axis, size in zip(axes, shape, strict=True) if size != 1}


def _is_last(reader: Reader) -> bool:
    return reader.reduced == (len(reader.x.shape) - 1,)


def _kind_of_root(form: Form) -> _Root | None:
    epsilon = form.terms.get(frozenset(), 0.0)
    rest = plus(form.terms, constant(epsilon), -1.0)
    for centred, terms in ((True, VARIANCE), (False, symbol("m2"))):
        if form.row and is_close(rest, terms) and epsilon >= 0:
            return _Root(epsilon, centred)
    return None


def _ends(program: Program, graph: Graph, reader: Reader, match: Callable[[Terms], Any]):
    """The last steps whose forms match, before others that do not read on in such a form."""
    matched = {}
    for step in program.steps:
        form = reader.forms.get(id(step.outputs[0])) if len(step.outputs) == 1 else None
        if form is not None and not form.row and step.outputs[0].shape == reader.x.shape:
            found = match(form.terms)
            if found is not None:
                matched[id(step)] = step, found
    outputs = {id(value) for value in program.outputs}
    for step, found in list(matched.values()):
        following = graph.readers(step.outputs[0])
        read_on = following and all(id(reader) in matched for reader in following)
        if not read_on or id(step.outputs[0]) in outputs:
            yield step, found


def _scaled(terms: Terms, *, kind: _Root) -> tuple[float, list[Value]] | None:
    """The number and the values by which `(x - mean) / deviation` is multiplied, if it is that."""
    for monomial, value in terms.items():
        powers = dict(monomial)
        if powers.pop("x", 0) != 1 or powers.pop("r", 0) != 1:
            continue
        if not all(isinstance(name, Value) and power == 1 for name, power in powers.items()):
            return None
        scales = frozenset(powers.items())
        expected = times({scales: value}, symbol("r"))
        expected = times(expected, symbol("x"))
        if kind.centred:
            of_mean = times(times({scales: -value}, symbol("r")), symbol("m1"))
            expected = plus(expected, of_mean)
        return (value, list(powers)) if is_close(terms, expected) else None
    return None


def _source(value: Value) -> Value:
    """What a value repeats along new axes."""
    while value.by is not None and value.by.name == "broadcast_in_dim" and value.shape != ():
        value = value.by.inputs[0]
    return value


def _axes_of_source(reader: Reader, value: Value) -> tuple[int | None, ...]:
    axes = reader.axes[id(value)]
    while value.by is not None and value.by.name == "broadcast_in_dim" and value.shape != ():
        axes = tuple(axes[position] for position in value.by.params["broadcast_dimensions"])
        value = value.by.inputs[0]
    return tuple(None if size == 1 else axis for axis, size in zip(axes, value.shape, strict=True))


def _normalisation(reader: Reader, kind: _Root, factor: float, scales: list[Value]) -> Callable:
    rank, axes = len(reader.x.shape), reader.reduced or ()
    axes_of = [_axes_of_source(reader, value) for value in scales]

    def function(x, *arrays):
        first, first_axes = None, ()
        rest = []
        for array, own in zip(arrays, axes_of, strict=True):
            kept = [axis for axis in own if axis is not None]
            array = array.reshape(
                [n for n, axis in zip(array.shape, own, strict=True) if axis is not None]
            )
            if first is None and len(kept) < rank:
                first, first_axes = array, tuple(kept)
            else:
                rest.append(jnp.expand_dims(array, [a for a in range(rank) if a not in kept]))
        out = normalise_over(x, axes, kind.epsilon, first, first_axes, centred=kind.centred)
        out = out if factor == 1 else factor * out
        for array in rest:
            out = out * array
        return [out]

    return function


class _Activation(NamedTuple):
    """A function of x by what is computed inside, the primitive's result `t`, and the whole."""

    what: str
    inside: Terms
    whole: Terms
    function: Callable


_HALF_X = times(constant(0.5), symbol("x"))
_X_T = times(symbol("x"), symbol("t"))
_SLOPE, _ROOT = math.sqrt(2 / math.pi), math.sqrt(0.5)
_BY_ERF = partial(ops.gelu, approximate=False)

ACTIVATIONS = {
    "tanh": _Activation(
        "GELU",
        plus(times(constant(_SLOPE), symbol("x")), symbol("x", 3), 0.044715 * _SLOPE),
        plus(_HALF_X, _X_T, 0.5),
        ops.gelu,
    ),
    "erf": _Activation(
        "GELU", times(constant(_ROOT), symbol("x")), plus(_HALF_X, _X_T, 0.5), _BY_ERF
    ),
    "erfc": _Activation(
        "GELU", times(constant(-_ROOT), symbol("x")), times(constant(0.5), _X_T), _BY_ERF
    ),
    "logistic": _Activation("SiLU", symbol("x"), _X_T, ops.silu),
}
"""By the primitive."""


def activations(program: Program) -> None:
    """Replaces smooth activations."""
    graph = Graph(program)
    for step in [step for step in program.steps if step.name in ACTIVATIONS]:
        found = ACTIVATIONS[step.name]
        for x in sources(step.inputs[0]):
            if _is_wide(x) and _activated(program, graph, step, x, found):
                break


def _activated(
    program: Program, graph: Graph, step: Step, x: Value, activation: _Activation
) -> bool:
    reader = Reader(x)

    def visit(read):
        form = reader.of(read.inputs[0]) if read is step else None
        if form is not None and is_close(form.terms, activation.inside, 1e-4):
            reader.name(read.outputs[0], "t", 1, form)

    def match(terms):
        return is_close(terms, activation.whole, 1e-4) or None

    reader.follow(graph, visit)
    done = False
    for end, _ in _ends(program, graph, reader, match):
        program.replace(end.outputs[0], activation.what, [x], lambda x: [activation.function(x)])
        done = True
    return done


def softmaxes(program: Program) -> None:
    """Replaces exponentials over their sum."""
    for step in program.steps:
        if step.name == "div":
            found = _softmax(step)
            if found is not None:
                x, axes = found
                program.replace(step.outputs[0], "softmax", [x], partial(_weights, axes=axes))


def _weights(x, *, axes):
    return [ops.softmax(x, axes)]


def _softmax(step: Step) -> tuple[Value, tuple[int, ...]] | None:
    powers, total = step.inputs
    of_powers = _by(powers, "exp")
    apart = _by(of_powers.inputs[0], "sub") if of_powers is not None else None
    if apart is None or not _is_wide(powers):
        return None
    x, greatest = apart.inputs
    of_total = _reduced(powers, total, "reduce_sum")
    axes = () if of_total is None else tuple(of_total.params["axes"])
    of_greatest = _reduced(x, greatest, "reduce_max")
    same = of_greatest is not None and tuple(of_greatest.params["axes"]) == axes
    return (x, axes) if axes and same else None


def _reduced(x: Value, value: Value, name: str) -> Step | None:
    """The reduction of x that a value is, if it stands again where it was reduced from."""
    axes: list[int | None] = list(range(len(value.shape)))
    while (step := value.by) is not None and step.name in _SHAPING:
        last = step.inputs[-1]
        if step.name == "broadcast_in_dim":
            axes = [axes[position] for position in step.params["broadcast_dimensions"]]
        elif step.name == "reshape":
            long = [axis for axis, n in zip(axes, value.shape, strict=True) if n > 1]
            if [n for n in value.shape if n > 1] != [n for n in last.shape if n > 1]:
                return None
            axes = [long.pop(0) if n > 1 else None for n in last.shape]
        elif step.name == "max":  # of -inf, where jax.nn.softmax begins
            if -math.inf not in (step.inputs[0].number, last.number):
                return None
            last = step.inputs[0] if last.number == -math.inf else last
        value = last
    step = _by(value, name)
    if step is None or step.inputs[0] is not x:
        return None
    kept = [axis for axis in range(len(x.shape)) if axis not in step.params["axes"]]
    in_place = all(n == 1 or a == b for n, a, b in zip(value.shape, axes, kept, strict=True))
    return step if in_place else None


_SHAPING = ("broadcast_in_dim", "reshape", "stop_gradient", "max")


def _by(value: Value, name: str) -> Step | None:
    """The step that computed a value, if it is one of this name."""
    return value.by if value.by is not None and value.by.name == name else None
