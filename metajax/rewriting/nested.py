"""Programs inside of steps: loops, branches and rematerialised parts, rewritten where they stand."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax.extend import core as jex

from metajax.rewriting.program import Program, Step, Value

Rewrite = Callable[[jex.ClosedJaxpr], Program]


def nested(program: Program, rewrite: Rewrite) -> None:
    """Rewrites the programs that steps hold, where anything in them is replaced.

    Custom derivative rules are their author's and are left alone.
    """
    for step in program.steps:
        if step.name in RULES:
            held = {name: step.params[name] for name in HOLDS[step.name]}
            inner = jax.tree.map(lambda jaxpr: rewrite(_closed(jaxpr)), held, is_leaf=_is_program)
            programs = jax.tree.leaves(inner)
            if any(p.replaced for p in programs):
                function = RULES[step.name](step, inner)
                if function is not None:
                    step.function = function
                    for one in programs:
                        program.replaced.update(one.replaced)


def _is_program(value: Any) -> bool:
    return isinstance(value, jex.ClosedJaxpr | jex.Jaxpr)


def _closed(jaxpr: Any) -> jex.ClosedJaxpr:
    return jaxpr if isinstance(jaxpr, jex.ClosedJaxpr) else jex.ClosedJaxpr(jaxpr, [])


def _scan(step: Step, inner: dict[str, Any]) -> Callable | None:
    params, body = step.params, inner["jaxpr"]
    if params.get("_split_transpose"):
        return None
    # Counted by what is stacked, because releases of JAX name the parameters that count in other ways.
    one_step = _closed(params["jaxpr"]).jaxpr
    carries = _not_stacked(step.outputs, one_step.outvars)
    consts = _not_stacked(step.inputs, one_step.invars) - carries

    def function(*inputs):
        constants = inputs[:consts]

        def one(carry, x):
            out = body(*constants, *carry, *x)
            return out[:carries], out[carries:]

        start, xs = inputs[consts : consts + carries], inputs[consts + carries :]
        carry, ys = lax.scan(
            one,
            list(start),
            list(xs),
            length=params["length"],
            reverse=params["reverse"],
            unroll=params["unroll"],
        )
        return [*carry, *ys]

    return function


def _not_stacked(values: Sequence[Value], of_one_step: Sequence[Any]) -> int:
    """How many arrays have no axis of steps."""
    ranks = [len(value.shape) for value in values], [v.aval.ndim for v in of_one_step]
    return sum(rank == own for rank, own in zip(*ranks, strict=True))


def _while(step: Step, inner: dict[str, Any]) -> Callable:
    of_condition, of_body = step.params["cond_nconsts"], step.params["body_nconsts"]

    def function(*inputs):
        condition = inputs[:of_condition]
        constants = inputs[of_condition : of_condition + of_body]
        return lax.while_loop(
            lambda carry: inner["cond_jaxpr"](*condition, *carry)[0],
            lambda carry: inner["body_jaxpr"](*constants, *carry),
            list(inputs[of_condition + of_body :]),
        )

    return function


def _cond(step: Step, inner: dict[str, Any]) -> Callable | None:
    if step.params.get("branches_platforms") is not None:
        return None

    def function(index, *inputs):
        return lax.switch(index, inner["branches"], *inputs)

    return function


def _remat(step: Step, inner: dict[str, Any]) -> Callable:
    params = step.params
    return jax.checkpoint(
        lambda *inputs: inner["jaxpr"](*inputs),
        prevent_cse=params["prevent_cse"],
        policy=params["policy"],
    )


HOLDS = {
    "scan": ("jaxpr",),
    "while": ("cond_jaxpr", "body_jaxpr"),
    "cond": ("branches",),
    "remat2": ("jaxpr",),
    "checkpoint": ("jaxpr",),
}
"""Where a primitive keeps its programs."""

RULES: dict[str, Callable[[Step, dict[str, Any]], Callable | None]] = {
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "remat2": _remat,
    "checkpoint": _remat,
}
"""A primitive with rewritten programs as a function, or None where it stays."""
