"""Channels last: what convolutions make keeps that order of axes until a step needs the author's.

`metajax.ops` computes with channels last. Where a program has them elsewhere, its arrays would be transposed
around every convolution, so the steps between are moved to the same order: what is elementwise, reductions,
pooling, and reshapes that leave images whole.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from jax import lax

from metajax.rewriting.program import Program, Step, Value, needed
from metajax.rewriting.relu import RELU


class _Laid(NamedTuple):
    """A value as another one with its axes in another order.

    base: With channels last.
    order: Which axis of `base` each axis of the value is.
    """

    base: Value
    order: tuple[int, ...]


def layouts(program: Program) -> None:
    """Computes with channels last whatever comes out of convolutions with another layout."""
    _Layouts().of(program)


class _Layouts:
    """Steps in their new order of axes, and which values have one."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.laid: dict[int, _Laid] = {}
        self.same: dict[int, Value] = {}
        self.arranged: dict[tuple[int, tuple[int, ...]], Value] = {}

    def of(self, program: Program) -> None:
        """Changes a program."""
        if not any(step.name == "conv_general_dilated" for step in program.steps):
            return
        for step in program.steps:
            step.inputs = [self.same.get(id(value), value) for value in step.inputs]
            rule = RULES.get(step.name)
            if rule is None or not rule(self, step):
                self.steps.append(step)
        program.outputs[:] = [self.same.get(id(value), value) for value in program.outputs]
        program.steps[:] = self.steps
        program.steps[:] = needed(program)

    def first(self, step: Step) -> _Laid | None:
        """The first input with an order of its own."""
        return next((self.laid[id(v)] for v in step.inputs if id(v) in self.laid), None)

    def put(self, out: Value, new: Step, order: Sequence[int]) -> None:
        """Computes a value by a step whose output has that order of axes."""
        order = tuple(order)
        self.steps.append(new)
        if order == tuple(range(len(order))):
            new.outputs, out.by = [out], new
            return
        base = Value(_permuted(out.shape, _inverse(order)), out.dtype, new)
        new.outputs = [base]
        self.laid[id(out)] = _Laid(base, order)
        self.transposed(base, order, out)

    def in_order(self, value: Value, axes: Sequence[int]) -> Value:
        """`value.transpose(axes)`."""
        axes = tuple(axes)
        if id(value) in self.laid:
            base, order = self.laid[id(value)]
            value, axes = base, _permuted(order, axes)
        elif value.by is not None and value.by.name == "transpose":
            axes = _permuted(value.by.params["permutation"], axes)
            value = value.by.inputs[0]
        if axes == tuple(range(len(axes))):
            return value
        key = id(value), axes
        if key not in self.arranged:
            out = Value(_permuted(value.shape, axes), value.dtype)
            if not self._repeated(value, axes, out):
                self.transposed(value, axes, out)
            self.arranged[key] = out
        return self.arranged[key]

    def _repeated(self, value: Value, axes: tuple[int, ...], out: Value) -> bool:
        """Repeats a smaller array along other axes, if a value is such a one."""
        by = value.by
        if by is None or by.name != "broadcast_in_dim" or by.params.get("sharding") is not None:
            return False
        (inner,) = by.inputs[:1]
        places = [axes.index(axis) for axis in by.params["broadcast_dimensions"]]
        if inner.shape:
            inner = self.in_order(inner, sorted(range(len(places)), key=places.__getitem__))
        moved = {"shape": out.shape, "broadcast_dimensions": tuple(sorted(places))}
        new = _again(by, [inner], **moved)
        new.outputs, out.by = [out], new
        self.steps.append(new)
        return True

    def transposed(self, value: Value, axes: tuple[int, ...], out: Value) -> None:
        """Computes `out` as `value.transpose(axes)`."""
        long = [axis for axis in axes if value.shape[axis] != 1]
        # A reshape where it is one, which patterns know better.
        new = _reshaped(value, out.shape) if long == sorted(long) else _transposed(value, axes)
        new.outputs, out.by = [out], new
        self.steps.append(new)


Rule: TypeAlias = Callable[[_Layouts, Step], bool]


def _again(step: Step, inputs: list[Value], **changes: Any) -> Step:
    """A step with other inputs and parameters."""
    primitive, params = getattr(lax, f"{step.name}_p"), step.params | changes
    return Step(step.name, params, inputs, function=lambda *x: [primitive.bind(*x, **params)])


def _reshaped(value: Value, shape: Sequence[int]) -> Step:
    shape = tuple(shape)
    return Step("reshape", {"new_sizes": shape}, [value], function=lambda x: [x.reshape(shape)])


def _transposed(value: Value, axes: tuple[int, ...]) -> Step:
    params = {"permutation": axes}
    return Step("transpose", params, [value], function=lambda x: [x.transpose(axes)])


def _permuted(values: Sequence[Any], order: Sequence[int]) -> tuple[Any, ...]:
    return tuple(values[axis] for axis in order)


def _inverse(order: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def _convolution(layouts: _Layouts, step: Step) -> bool:
    specs, rank = step.params["dimension_numbers"], len(step.outputs[0].shape)
    last = lax.ConvDimensionNumbers(
        (0, rank - 1, *range(1, rank - 1)),
        (rank - 1, rank - 2, *range(rank - 2)),
        (0, rank - 1, *range(1, rank - 1)),
    )
    inputs = [
        layouts.in_order(value, _permuted(spec, _inverse(wanted)))
        for value, spec, wanted in zip(step.inputs, specs[:2], last[:2], strict=True)
    ]
    order = _permuted(last.out_spec, _inverse(specs.out_spec))
    layouts.put(step.outputs[0], _again(step, inputs, dimension_numbers=last), order)
    return True


def _transposition(layouts: _Layouts, step: Step) -> bool:
    (value,), (out,) = step.inputs, step.outputs
    if id(value) not in layouts.laid:
        return False
    base, order = layouts.laid[id(value)]
    order = _permuted(order, step.params["permutation"])
    if order == tuple(range(len(order))):
        layouts.same[id(out)] = base
    else:
        layouts.laid[id(out)] = _Laid(base, order)
        layouts.transposed(base, order, out)
    return True


def _elementwise(layouts: _Layouts, step: Step) -> bool:
    first, rank = layouts.first(step), len(step.outputs[0].shape)
    if first is None or any(len(value.shape) not in (0, rank) for value in step.inputs):
        return False
    back = _inverse(first.order)
    inputs = [layouts.in_order(v, back) if v.shape else v for v in step.inputs]
    new = Step(step.name, step.params, inputs, function=step.function)
    layouts.put(step.outputs[0], new, first.order)
    return True


def _reduction(layouts: _Layouts, step: Step) -> bool:
    first = layouts.first(step)
    if first is None:
        return False
    axes = sorted(first.order[axis] for axis in step.params["axes"])
    places = [axis for axis in first.order if axis not in axes]
    order = [sorted(places).index(axis) for axis in places]
    layouts.put(step.outputs[0], _again(step, [first.base], axes=tuple(axes)), order)
    return True


def _by_axis(*names: str) -> Rule:
    """A rule for a step of one input, or of others without axes, and parameters with a number for each axis."""

    def rule(layouts: _Layouts, step: Step) -> bool:
        first = layouts.first(step)
        if first is None or layouts.laid.get(id(step.inputs[0])) is not first:
            return False
        if any(value.shape for value in step.inputs[1:]):
            return False
        back = _inverse(first.order)
        moved = {name: step.params[name] for name in names}
        moved = {n: v if v is None else _permuted(v, back) for n, v in moved.items()}
        new = _again(step, [first.base, *step.inputs[1:]], **moved)
        layouts.put(step.outputs[0], new, first.order)
        return True

    return rule


def _concatenation(layouts: _Layouts, step: Step) -> bool:
    first = layouts.first(step)
    if first is None:
        return False
    inputs = [layouts.in_order(value, _inverse(first.order)) for value in step.inputs]
    dimension = first.order[step.params["dimension"]]
    layouts.put(step.outputs[0], _again(step, inputs, dimension=dimension), first.order)
    return True


def _repetition(layouts: _Layouts, step: Step) -> bool:
    """Along axes of size 1, and along new axes, which stay behind the axis that they follow."""
    first, out, along = layouts.first(step), step.outputs[0], step.params["broadcast_dimensions"]
    if first is None or step.params.get("sharding") is not None:
        return False
    place, places = -1, []
    for axis in range(len(out.shape)):
        place = first.order[along.index(axis)] if axis in along else place
        places.append(place)
    back = sorted(range(len(places)), key=places.__getitem__)
    moved = [back.index(along[value_axis]) for value_axis in _inverse(first.order)]
    shape = _permuted(out.shape, back)
    new = _again(step, [first.base], shape=shape, broadcast_dimensions=tuple(moved))
    layouts.put(out, new, _inverse(back))
    return True


def _known(step: Step) -> bool:
    """Whether all sizes are numbers, and none is 0."""
    values = (*step.inputs, *step.outputs)
    return all(isinstance(size, int) and size > 0 for value in values for size in value.shape)


def _reshaping(layouts: _Layouts, step: Step) -> bool:
    """Axes that are split, or merged with neighbours that are neighbours still, and axes of size 1."""
    first, (value, *_), (out,) = layouts.first(step), step.inputs, step.outputs
    if first is None or not _known(step):
        return False
    if step.name == "reshape" and step.params["dimensions"] is not None:
        return False
    base, order = first
    long = [axis for axis, size in enumerate(base.shape) if size > 1]
    place, places = -1, []
    for before, after in _blocks(value.shape, out.shape):
        own = [order[axis] for axis in before if value.shape[axis] > 1]
        if own:
            start = long.index(own[0])
            if long[start : start + len(own)] != own:
                return False
            place = own[0]
        places += [place] * len(after)
    back = sorted(range(len(places)), key=places.__getitem__)
    layouts.put(out, _reshaped(base, _permuted(out.shape, back)), _inverse(back))
    return True


def _blocks(before: Sequence[int], after: Sequence[int]) -> Iterator[tuple[range, range]]:
    """Runs of axes of two shapes of as many numbers that hold as many, as short as can be."""
    i = j = 0
    while i < len(before) or j < len(after):
        start = i, j
        i, j = min(i + 1, len(before)), min(j + 1, len(after))
        while (p := math.prod(before[start[0] : i])) != (q := math.prod(after[start[1] : j])):
            i, j = (i + 1, j) if p < q else (i, j + 1)
        yield range(start[0], i), range(start[1], j)


_ELEMENTWISE = (
    *("abs", "add", "add_any", "and", "ceil", "clamp", "convert_element_type", "copy", "copy_p"),
    *("cos", "div", "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt"),
    *("integer_pow", "is_finite", "le", "log", "log1p", "logistic", "lt", "max", "min", "mul"),
    *("ne", "neg", "not", "or", "pow", "reduce_precision", "rem", "round", "rsqrt", "select_n"),
    *("sign", "sin", "sqrt", "square", "stop_gradient", "sub", "tanh", "xor", RELU),
)
_WINDOW = ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")

RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(
        ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or"),
        _reduction,
    ),
    **dict.fromkeys(
        ("reduce_window_sum", "reduce_window_max", "reduce_window_min"), _by_axis(*_WINDOW)
    ),
    **dict.fromkeys(("reshape", "squeeze", "expand_dims"), _reshaping),
    "broadcast_in_dim": _repetition,
    "concatenate": _concatenation,
    "conv_general_dilated": _convolution,
    "pad": _by_axis("padding_config"),
    "slice": _by_axis("start_indices", "limit_indices", "strides"),
    "transpose": _transposition,
}
"""A primitive's name, to what puts a step of it in another order of axes, and says whether it did."""
