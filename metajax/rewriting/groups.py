"""Means over groups of features, which are repeated for every feature, brought back among the groups.

Flax's group normalisation takes means over groups, an axis of their own, repeats each of them for all features
of its group, and goes on without that axis. Where the axis is kept to the end, it is a normalisation like any
other.
"""

import math
from typing import Any

from jax import lax

from metajax.rewriting.forms import Graph
from metajax.rewriting.program import Program, Step, Value

_ARITHMETIC = ("add", "sub", "mul", "div", "neg")
_ELEMENTWISE = (
    *_ARITHMETIC,
    "rsqrt",
    "sqrt",
    "pow",
    "integer_pow",
    "square",
    "max",
    "convert_element_type",
)
"""The first may follow the split on arrays of all features, these on what is repeated for them."""

_DEPTH = 40
"""Steps between what is repeated and where it meets x; no normalisation has as many."""


def groups(program: Program) -> None:
    """Keeps the axis of groups, wherever the last axis is split into groups and features."""
    for step in [step for step in program.steps if _splits(step)]:
        _Groups(program, step).keep()


def _splits(step: Step) -> bool:
    if step.name != "reshape":
        return False
    (x, *_), (out,) = step.inputs, step.outputs
    if not _known(out) or len(out.shape) != len(x.shape) + 1:
        return False
    return out.shape[:-2] == x.shape[:-1] and min(out.shape[-2:], default=1) > 1


def _known(value: Value) -> bool:
    return all(isinstance(size, int) for size in value.shape)


class _Groups:
    """The steps that follow a split of the last axis, on arrays with the axis of groups."""

    def __init__(self, program: Program, split: Step):
        self.program, self.x, self.apart = program, split.inputs[0], split.outputs[0]
        self.sizes = self.apart.shape[-2:]
        self.repeated: dict[int, bool] = {}
        self.members = self._members()
        self.made: dict[int, Value] = {id(self.x): self.apart}
        self.new: list[Step] = []

    def keep(self) -> None:
        """Computes what the last of these steps compute with groups apart."""
        graph, members = Graph(self.program), self.members
        outputs = {id(value) for value in self.program.outputs}
        if not any(self._repeats(step.outputs[0]) for step in members.values()):
            return
        for step in members.values():
            out = step.outputs[0]
            whole = self._apart(out)  # in their order, so that none has to look far back
            readers = graph.readers(out)
            goes_on = readers and all(id(reader.outputs[0]) in members for reader in readers)
            if (goes_on and id(out) not in outputs) or not self._repeats(out):
                continue
            line = self.program.steps.index(step)
            self.program.steps[line:line] = self.new
            self.new = []
            step.name, step.params, step.inputs = "reshape", {"new_sizes": out.shape}, [whole]
            step.function = _reshape(out.shape)

    def _members(self) -> dict[int, Step]:
        """Steps on whole arrays, of x and of smaller ones, by what they compute."""
        found: dict[int, Step] = {}
        for step in self.program.steps:
            if step.name not in _ARITHMETIC or step.outputs[0].shape != self.x.shape:
                continue
            whole = [v for v in step.inputs if id(v) in found or v is self.x]
            size = math.prod(self.x.shape)
            rest = [v for v in step.inputs if not any(v is other for other in whole)]
            small = [(_known(v) and math.prod(v.shape) < size) or self._repeats(v) for v in rest]
            if whole and all(small):
                found[id(step.outputs[0])] = step
        return found

    def _repeats(self, value: Value, depth: int = 0) -> bool:
        """Whether a value is made of something that is repeated for the features of a group."""
        by = value.by
        if by is None or value is self.x or value.number is not None or depth > _DEPTH:
            return False
        if id(value) not in self.repeated:
            again = by.name in _ELEMENTWISE or self._moves(value)
            self.repeated[id(value)] = self._is_repeated(value) or (
                again and any(self._repeats(x, depth + 1) for x in by.inputs)
            )
        return self.repeated[id(value)]

    def _is_repeated(self, value: Value) -> bool:
        by = value.by
        if by is None or by.name != "reshape" or not value.shape:
            return False
        return by.inputs[0].shape == (*value.shape[:-1], *self.sizes)

    def _moves(self, value: Value) -> bool:
        """Whether a step changes axes before the last one alone."""
        by, features = value.by, math.prod(self.sizes)
        if by is None or by.name not in ("broadcast_in_dim", "reshape"):
            return False
        shape = by.inputs[0].shape
        ends = shape[-1:] == value.shape[-1:] == (features,)
        dimensions = by.params.get("broadcast_dimensions", (len(value.shape) - 1,))
        return ends and dimensions[-1] == len(value.shape) - 1

    def _apart(self, value: Value) -> Value:
        """A value with its last axis split into two; one of size 1 becomes two of size 1."""
        if value.number is not None or value.shape == ():
            return value
        if id(value) not in self.made:
            self.made[id(value)] = self._made(value)
        return self.made[id(value)]

    def _made(self, value: Value) -> Value:
        by, sizes = value.by, self.sizes if value.shape[-1] > 1 else (1, 1)
        shape = (*value.shape[:-1], *sizes)
        if by is not None and self._is_repeated(value):
            return by.inputs[0]
        inside = id(value) in self.members or self._repeats(value)
        if by is None or not inside:
            return self._step(
                "reshape", {"new_sizes": shape}, [value], value, _reshape(shape), shape
            )
        inputs = [self._apart(x) for x in by.inputs]
        if not self._moves(value):
            return self._step(by.name, by.params, inputs, value, by.function, shape)
        if by.name == "reshape":
            return self._step(
                "reshape", {"new_sizes": shape}, inputs, value, _reshape(shape), shape
            )
        dimensions = (*by.params["broadcast_dimensions"], len(value.shape))
        params = {"broadcast_dimensions": dimensions, "shape": shape}
        return self._step(by.name, params, inputs, value, _broadcast(shape, dimensions), shape)

    def _step(
        self, name: str, params: Any, inputs: list[Value], like: Value, function: Any, shape: Any
    ) -> Value:
        step = Step(name, dict(params), inputs, function=function)
        step.outputs = [Value(shape, like.dtype, step)]
        self.new.append(step)
        return step.outputs[0]


def _reshape(shape: Any):
    return lambda x: [lax.reshape(x, shape)]


def _broadcast(shape: Any, dimensions: Any):
    return lambda x: [lax.broadcast_in_dim(x, shape, dimensions)]
