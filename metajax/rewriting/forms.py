"""Polynomials that steps of a program are in one of its values, whatever way they are written."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from metajax.rewriting.program import Program, Step, Value

Symbol: TypeAlias = Any
"""A name, or a `Value` that is not looked into."""
Monomial: TypeAlias = frozenset[tuple[Symbol, int]]
Terms: TypeAlias = dict[Monomial, float]

MOST_TERMS = 12


@dataclass(frozen=True, eq=False)
class Form:
    """A polynomial in symbols: "x", the means "m1" of x and "m2" of its square, others by name.

    terms: Each product of powers with its coefficient.
    row: Whether it is constant along the axes that means are over.
    axes: Of an array constant along them, which axis of x each of its axes is; None for one of size 1.
    """

    terms: Terms
    row: bool
    axes: tuple[int | None, ...]


def symbol(name: Symbol, power: int = 1) -> Terms:
    """One symbol.

    Example:
      >>> times(symbol("x"), symbol("x")) == symbol("x", 2)
      True
    """
    return {frozenset({(name, power)}): 1.0}


def plus(a: Terms, b: Terms, factor: float = 1.0) -> Terms:
    """`a + factor b`.

    Example:
      >>> plus(symbol("x"), symbol("x"), -1.0)
      {}
    """
    total = dict(a)
    for monomial, value in b.items():
        total[monomial] = total.get(monomial, 0.0) + factor * value
    # What cancels but for rounding is gone; an epsilon of 1e-12 beside a variance is not.
    return {m: v for m, v in total.items() if abs(v) > 1e-7 * abs(a.get(m, v))}


def times(a: Terms, b: Terms) -> Terms:
    """The product."""
    total: Terms = {}
    for left, u in a.items():
        for right, v in b.items():
            powers = dict(left)
            for name, power in right:
                powers[name] = powers.get(name, 0) + power
            monomial = frozenset((name, power) for name, power in powers.items() if power)
            total[monomial] = total.get(monomial, 0.0) + u * v
    return {m: v for m, v in total.items() if v}


def constant(value: float) -> Terms:
    """A number."""
    return {frozenset(): value} if value else {}


def is_close(a: Terms, b: Terms, tolerance: float = 1e-5) -> bool:
    """Whether coefficients agree but for the rounding of literals."""
    return a.keys() == b.keys() and all(
        abs(a[m] - b[m]) <= tolerance * max(abs(a[m]), abs(b[m])) for m in a
    )


class Reader:
    """The forms of what is computed from one value `x`.

    x: The value.
    reduced: The axes of x that means are over, once a step took one.
    axes: Of values that are not looked into, which axis of x each of their axes is.
    """

    def __init__(self, x: Value):
        whole = tuple(range(len(x.shape)))
        self.x = x
        self.reduced: tuple[int, ...] | None = None
        self.axes: dict[int, tuple[int | None, ...]] = {}
        self.forms: dict[int, Form] = {id(x): Form(symbol("x"), False, whole)}

    def of(self, value: Value) -> Form | None:
        """The form of a value that is a number or was computed from x."""
        if value.number is not None:
            return Form(constant(value.number), True, ())
        return self.forms.get(id(value))

    def name(self, value: Value, name: Symbol, power: int, like: Form) -> None:
        """Calls a value by a power of a symbol."""
        self.forms[id(value)] = Form(symbol(name, power), like.row, like.axes)

    def follow(self, graph: "Graph", visit: Callable[[Step], None] = lambda step: None) -> None:
        """Reads the steps that x leads to, in their order, and visits each before."""
        steps = list(graph.readers(self.x))
        lines = [graph.line(step) for step in steps]
        heap = sorted(zip(lines, map(id, steps), steps, strict=True))
        seen = {id(step) for step in steps}
        while heap:
            _, _, step = heapq.heappop(heap)
            visit(step)
            self._read(step)
            if len(step.outputs) == 1 and id(step.outputs[0]) in self.forms:
                for reader in graph.readers(step.outputs[0]):
                    if id(reader) not in seen:
                        seen.add(id(reader))
                        heapq.heappush(heap, (graph.line(reader), id(reader), reader))

    def _read(self, step: Step) -> None:
        rule = _RULES.get(step.name)
        if rule is None or len(step.outputs) != 1 or id(step.outputs[0]) in self.forms:
            return
        form = rule(self, step)
        if form is not None and len(form.terms) <= MOST_TERMS:
            self.forms[id(step.outputs[0])] = form

    def opaque(self, value: Value, like: Form) -> Form | None:
        """A value that is not looked into, as a factor of one that is."""
        if not all(isinstance(size, int) for size in value.shape):
            return None
        if len(value.shape) == len(self.x.shape):
            axes = tuple(axis if size > 1 else None for axis, size in enumerate(value.shape))
        elif like.row and len(value.shape) == len(like.axes):
            axes = like.axes
        else:
            return None
        self.axes[id(value)] = axes
        row = self.reduced is not None and not set(self.reduced).intersection(axes)
        return Form(symbol(value), row, axes)


class Graph:
    """Who reads what, and in which line of the program."""

    def __init__(self, program: Program):
        self._lines = {id(step): line for line, step in enumerate(program.steps)}
        self._readers: dict[int, list[Step]] = {}
        for step in program.steps:
            for value in {id(value): value for value in step.inputs}.values():
                self._readers.setdefault(id(value), []).append(step)

    def line(self, step: Step) -> int:
        """The position of a step."""
        return self._lines[id(step)]

    def readers(self, value: Value) -> list[Step]:
        """The steps that read a value."""
        return self._readers.get(id(value), [])


def _together(reader: Reader, step: Step, terms: Terms, a: Form, b: Form) -> Form | None:
    """The form of an array made of two of one rank, one of them perhaps with axes of size 1."""
    shape = step.outputs[0].shape
    row = a.row and b.row
    if not row:
        aligned = all(
            axis in (None, position) for form in (a, b) for position, axis in enumerate(form.axes)
        )
        if len(shape) != len(reader.x.shape) or not aligned:
            return None
        return Form(terms, False, tuple(i if n > 1 else None for i, n in enumerate(shape)))
    axes = [f.axes for f in (a, b) if f.axes]
    if not axes:
        return Form(terms, True, ())
    if len(axes) == 2:
        pairs = [(p, q) for p, q in zip(*axes, strict=True)]
        if any(None not in (p, q) and p != q for p, q in pairs):
            return None
        return Form(terms, True, tuple(q if p is None else p for p, q in pairs))
    return Form(terms, True, axes[0])


def _sum(sign: float):
    def rule(reader: Reader, step: Step) -> Form | None:
        a, b = (reader.of(value) for value in step.inputs)
        if a is None or b is None:
            return None
        return _together(reader, step, plus(a.terms, b.terms, sign), a, b)

    return rule


def _factors(reader: Reader, step: Step) -> tuple[Form | None, Form | None]:
    a, b = (reader.of(value) for value in step.inputs)
    if a is None and b is not None:
        a = reader.opaque(step.inputs[0], b)
    elif b is None and a is not None:
        b = reader.opaque(step.inputs[1], a)
    return a, b


def _product(reader: Reader, step: Step) -> Form | None:
    a, b = _factors(reader, step)
    if a is None or b is None:
        return None
    return _together(reader, step, times(a.terms, b.terms), a, b)


def _quotient(reader: Reader, step: Step) -> Form | None:
    a, b = _factors(reader, step)
    if a is None or b is None or len(b.terms) != 1:
        return None
    ((monomial, value),) = b.terms.items()
    inverse = {frozenset((name, -power) for name, power in monomial): 1 / value}
    return _together(reader, step, times(a.terms, inverse), a, b)


def _power(reader: Reader, step: Step) -> Form | None:
    form = reader.of(step.inputs[0])
    exponent = 2 if step.name == "square" else step.params["y"]
    if form is None or not 0 < exponent <= 4:
        return None
    terms = form.terms
    for _ in range(exponent - 1):
        terms = times(terms, form.terms)
    return Form(terms, form.row, form.axes)


def _negative(reader: Reader, step: Step) -> Form | None:
    form = reader.of(step.inputs[0])
    return form and Form(times(form.terms, constant(-1.0)), form.row, form.axes)


def _same(reader: Reader, step: Step) -> Form | None:
    value = step.inputs[0]
    if step.name == "convert_element_type" and value.dtype != step.outputs[0].dtype:
        return None
    return reader.of(value)


def _total(reader: Reader, step: Step) -> Form | None:
    """The sum over some axes of x: each of x, of its square and of what is constant along them."""
    form, axes = reader.of(step.inputs[0]), tuple(step.params["axes"])
    whole = step.inputs[0].shape == reader.x.shape
    if form is None or form.row or not whole or reader.reduced not in (None, axes):
        return None
    reader.reduced = axes
    count = 1
    for axis in axes:
        count *= reader.x.shape[axis]
    total: Terms = {}
    for monomial, value in form.terms.items():
        powers = dict(monomial)
        power = powers.pop("x", 0)
        if power not in (0, 1, 2) or not powers.keys() <= ROW_SYMBOLS:
            return None
        mean = symbol(f"m{power}") if power else constant(1.0)
        total = plus(total, times({frozenset(powers.items()): value * count}, mean))
    kept = tuple(axis for axis in range(len(reader.x.shape)) if axis not in axes)
    return Form(total, True, kept)


def _shaped(reader: Reader, step: Step) -> Form | None:
    """What is constant along the axes of means, with axes of size 1 added, dropped or repeated."""
    form, (value, out) = reader.of(step.inputs[0]), (step.inputs[0], step.outputs[0])
    if form is None or value.number is not None:
        return None
    if not form.row:
        return form if value.shape == out.shape and _keeps(step) else None
    axes: list[int | None] = [None] * len(out.shape)
    if step.name == "broadcast_in_dim":
        for axis, position in zip(form.axes, step.params["broadcast_dimensions"], strict=True):
            axes[position] = axis
        return Form(form.terms, True, tuple(axes))
    long = [(axis, size) for axis, size in zip(form.axes, value.shape, strict=True) if size > 1]
    places = [(position, size) for position, size in enumerate(out.shape) if size > 1]
    if [size for _, size in long] != [size for _, size in places]:
        return None
    for (axis, _), (position, _) in zip(long, places, strict=True):
        axes[position] = axis
    return Form(form.terms, True, tuple(axes))


def _keeps(step: Step) -> bool:
    return step.params.get("broadcast_dimensions") in (
        None,
        tuple(range(len(step.outputs[0].shape))),
    )


def _clamped(reader: Reader, step: Step) -> Form | None:
    """`max(0, variance)`, which only rounding makes different from the variance."""
    a, b = step.inputs
    number, value = (a, b) if a.number is not None else (b, a)
    form = reader.of(value)
    is_variance = form is not None and is_close(form.terms, VARIANCE)
    return form if is_variance and number.number is not None and number.number <= 0 else None


ROW_SYMBOLS = {"m1", "m2", "r"}
"""Those that are constant along the axes of means; "r" is an inverse root of a form."""

VARIANCE = plus(symbol("m2"), symbol("m1", 2), -1.0)

_RULES = {
    "add": _sum(1.0),
    "add_any": _sum(1.0),
    "sub": _sum(-1.0),
    "mul": _product,
    "div": _quotient,
    "integer_pow": _power,
    "square": _power,
    "neg": _negative,
    "convert_element_type": _same,
    "copy": _same,
    "copy_p": _same,
    "reduce_sum": _total,
    "broadcast_in_dim": _shaped,
    "reshape": _shaped,
    "squeeze": _shaped,
    "expand_dims": _shaped,
    "max": _clamped,
}


def sources(value: Value, most: int = 40) -> list[Value]:
    """The values that a value was computed from by steps that have forms, nearest first."""
    found: list[Value] = []
    frontier = [value]
    while frontier and len(found) < most:
        value = frontier.pop(0)
        if any(value is other for other in found) or value.constant is not None:
            continue
        found.append(value)
        if value.by is not None and value.by.name in _RULES:
            frontier.extend(value.by.inputs)
    return found
