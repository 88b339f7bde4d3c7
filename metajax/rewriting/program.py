"""A traced program as a list of steps, some of which are replaced before it is evaluated."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.extend import core as jex

Function: TypeAlias = Callable[..., Sequence[Any]]


MARK = "fast_"
"""What the names of functions begin with that stand in for steps; so a program shows what was replaced."""


_NUMBERS = (jnp.bool_, jnp.int32, jnp.int64, jnp.float32, jnp.float64)


@dataclass(eq=False, slots=True)
class Value:
    """What a step computes.

    shape: Of the array.
    dtype: Of the array.
    by: The step that computes it; None for inputs and constants.
    constant: The array, where it is known while the program is traced.
    """

    shape: tuple[int, ...]
    dtype: Any
    by: "Step | None" = None
    constant: Any = None

    @property
    def number(self) -> float | None:
        """The value of a known scalar, or of an array that repeats one."""
        if self.by is not None and self.by.name == "broadcast_in_dim":
            return self.by.inputs[0].number
        if self.constant is None or isinstance(self.constant, Tracer):
            return None
        return float(self.constant) if self.shape == () and self.dtype in _NUMBERS else None


@dataclass(eq=False, slots=True)
class Step:
    """One operation.

    name: Of the primitive.
    params: Of the primitive.
    function: Of the inputs, to a sequence of outputs.
    """

    name: str
    params: dict[str, Any]
    inputs: list[Value]
    outputs: list[Value] = field(default_factory=list)
    function: Function | None = None


@dataclass(eq=False)
class Program:
    """Steps in an order in which they can be computed.

    replaced: How many of each kind of operation were replaced, nested programs included.
    """

    inputs: list[Value]
    steps: list[Step]
    outputs: list[Value]
    replaced: Counter = field(default_factory=Counter)

    def readers(self, value: Value) -> list[Step]:
        """The steps that read a value."""
        return [step for step in self.steps if any(x is value for x in step.inputs)]

    def replace(
        self,
        value: Value,
        what: str,
        inputs: Sequence[Value],
        function: Function,
        params: dict[str, Any] | None = None,
    ) -> None:
        """Computes a value from others, which come before it, in place of the step that did.

        Args:
          value: The only output of its step.
          what: A name, as `replacements` shows it.
          inputs: Of the function.
          function: Of arrays, to a sequence of one.
          params: What patterns that come later know the new step by.
        """
        step = value.by
        assert step is not None and len(step.outputs) == 1
        named = lambda *arrays: function(*arrays)  # noqa: E731 - the name is set below
        named.__name__ = MARK + what.replace(" ", "_")
        step.name, step.params, step.inputs = what, params or {}, list(inputs)
        step.function = jax.jit(named)
        self.replaced[what] += 1

    def __call__(self, *arguments: Any) -> list[Any]:
        """Evaluates what the outputs need."""
        known = dict(zip(map(id, self.inputs), arguments, strict=True))

        def read(value):
            return known.get(id(value), value.constant)

        for step in needed(self):
            assert step.function is not None
            results = step.function(*map(read, step.inputs))
            known |= zip(map(id, step.outputs), results, strict=True)
        return [read(value) for value in self.outputs]


def needed(program: Program) -> list[Step]:
    """The steps without which an output or an effect would be missing."""
    wanted, steps = {id(value) for value in program.outputs}, []
    for step in reversed(program.steps):
        if step.params.get("_effects") or any(id(value) in wanted for value in step.outputs):
            steps.append(step)
            wanted |= {id(value) for value in step.inputs}
    return steps[::-1]


def flattened(closed: jex.ClosedJaxpr) -> Program:
    """The steps of a traced program, with those of the functions that it calls in their place."""
    jaxpr, steps = closed.jaxpr, []
    inputs = [_of_aval(variable.aval) for variable in jaxpr.invars]
    outputs = _flatten(closed, inputs, steps)
    return Program(inputs, steps, outputs)


def replaced_in(jaxpr: jex.Jaxpr) -> Counter:
    """What was replaced in a traced program, at any depth."""
    found: Counter = Counter()
    for equation in jaxpr.eqns:
        name = str(equation.params.get("name", ""))
        if name.startswith(MARK):
            found[name.removeprefix(MARK).replace("_", " ")] += 1
            continue
        for inner in jex.jaxprs_in_params(equation.params):
            found += replaced_in(inner)
    return found


def _of_aval(aval: Any, by: Step | None = None, constant: Any = None) -> Value:
    return Value(getattr(aval, "shape", ()), getattr(aval, "dtype", None), by, constant)


def _flatten(closed: jex.ClosedJaxpr, inputs: list[Value], steps: list[Step]) -> list[Value]:
    jaxpr = closed.jaxpr
    consts = [
        _of_aval(variable.aval, constant=const)
        for variable, const in zip(jaxpr.constvars, closed.consts, strict=True)
    ]
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *inputs), strict=True))

    def read(atom):
        return (
            _of_aval(atom.aval, constant=atom.val) if isinstance(atom, jex.Literal) else known[atom]
        )

    for equation in jaxpr.eqns:
        read_by = [read(atom) for atom in equation.invars]
        inner = _called(equation)
        outputs = (
            _alone(jaxpr, equation, read_by, steps)
            if inner is None
            else _flatten(inner, read_by, steps)
        )
        known |= zip(equation.outvars, outputs, strict=True)
    return [read(atom) for atom in jaxpr.outvars]


def _called(equation: jex.JaxprEqn) -> jex.ClosedJaxpr | None:
    """The program that an equation does nothing but call."""
    if equation.primitive.name not in ("jit", "pjit", "closed_call", "core_call"):
        return None
    if str(equation.params.get("name", "")).startswith(MARK):
        return None
    shardings = (
        *equation.params.get("in_shardings", ()),
        *equation.params.get("out_shardings", ()),
    )
    if any(type(sharding).__name__ != "UnspecifiedValue" for sharding in shardings):
        return None
    inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
    return inner if isinstance(inner, jex.ClosedJaxpr) else None


def _alone(
    jaxpr: jex.Jaxpr, equation: jex.JaxprEqn, inputs: list[Value], steps: list[Step]
) -> list[Value]:
    """An equation as a step; none where it can be computed at once, or only chooses."""
    name, params = equation.primitive.name, dict(equation.params)
    if name == "select_n" and inputs[0].number is not None and inputs[0].shape == ():
        return [inputs[1 + int(inputs[0].number)]]
    function = _as_it_is(jaxpr, equation)
    scalars = all(value.number is not None and value.shape == () for value in inputs)
    if scalars and inputs and not equation.effects and name in _FOLDED:
        with jax.ensure_compile_time_eval():
            results = function(*(value.constant for value in inputs))
        return [
            _of_aval(variable.aval, constant=result)
            for variable, result in zip(equation.outvars, results, strict=True)
        ]
    if equation.effects:
        params["_effects"] = equation.effects
    step = Step(name, params, inputs, function=function)
    step.outputs = [_of_aval(variable.aval, step) for variable in equation.outvars]
    steps.append(step)
    return step.outputs


_FOLDED = {
    *("add", "sub", "mul", "div", "neg", "max", "gt", "ge", "convert_element_type"),
    *("sqrt", "rsqrt", "pow", "integer_pow", "square", "exp", "log"),
}
"""Computed at once on numbers known in tracing, such as the degrees of freedom of `jnp.var`."""


def _as_it_is(jaxpr: jex.Jaxpr, equation: jex.JaxprEqn) -> Function:
    """An equation alone as a function of its inputs."""
    variables, seen = [], {}
    for position, atom in enumerate(equation.invars):
        if not isinstance(atom, jex.Literal) and atom not in seen:
            seen[atom] = position
            variables.append(atom)
    results = [v for v in equation.outvars if not isinstance(v, jex.DropVar)]
    alone = jaxpr.replace(
        constvars=[], invars=variables, outvars=results, eqns=[equation], effects=equation.effects
    )
    function = jex.jaxpr_as_fun(jex.ClosedJaxpr(alone, []))

    def compute(*inputs):
        found = iter(function(*(inputs[seen[variable]] for variable in variables)))
        return [None if isinstance(v, jex.DropVar) else next(found) for v in equation.outvars]

    return compute
