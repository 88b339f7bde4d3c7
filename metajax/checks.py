"""What is refused before anything compiles: each check raises one sentence that says what to change."""

import inspect
import operator
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from metajax.rewriting.fast import fast
from metajax.types import Examples, Learner, Model, Params, Steps, Task

NOT_TRAINABLE = ("batch_stats",)
"""Collections of a flax linen module that hold no weights."""


def count(where: str, name: str, value: Any, least: int = 1) -> int:
    """Returns an integer argument as an int; NumPy's integers count, `2.5` and `True` do not.

    Raises:
      ValueError: Unless `value` is an integer of at least `least`.

    Example:
      >>> count("fit", "meta_batch", 0)
      Traceback (most recent call last):
      ValueError: fit: meta_batch=0 must be an integer of at least 1.
    """
    try:
        found = operator.index(value)
    except TypeError:
        found = least - 1
    if found < least or isinstance(value, bool | np.bool_):
        raise ValueError(f"{where}: {name}={value!r} must be an integer of at least {least}.")
    return found


def counts(where: str, name: str, value: Any) -> tuple[int, ...]:
    """Returns several integers of at least 1 as a tuple; none at all are right as well.

    Raises:
      ValueError: Unless `value` is a sequence of such integers.

    Example:
      >>> counts("mlp", "features", "40")
      Traceback (most recent call last):
      ValueError: mlp: features='40' must be a sequence of integers of at least 1, such as (40, 40).
    """
    try:
        return tuple(count(where, name, one) for one in value)  # a letter of a string is no integer
    except (TypeError, ValueError):
        raise ValueError(
            f"{where}: {name}={value!r} must be a sequence of integers of at least 1, such as (40, 40)."
        ) from None


def positive(where: str, name: str, value: Any, *, least: float | None = None) -> None:
    """Checks a number; nan is refused as well, and a traced value is left alone.

    Raises:
      ValueError: Unless `value` is a number above 0, or of at least `least` where that is given.

    Example:
      >>> positive("lrd2", "ridge", float("nan"))
      Traceback (most recent call last):
      ValueError: lrd2: ridge=nan must be a number above 0.
    """
    if isinstance(value, Tracer):
        return
    try:
        good = bool(value > 0 if least is None else value >= least)
    except (TypeError, ValueError):
        good = False
    if not good or isinstance(value, str | bool):
        bound = "above 0" if least is None else f"of at least {least:g}"
        raise ValueError(f"{where}: {name}={value!r} must be a number {bound}.")


def interval(where: str, name: str, value: Any) -> tuple[float, float]:
    """Returns an interval as a tuple of two finite numbers, the smaller one first.

    Raises:
      ValueError: Unless `value` is such a pair.

    Example:
      >>> interval("sinusoid", "phase", (2, 1))
      Traceback (most recent call last):
      ValueError: sinusoid: phase=(2, 1) must be two finite numbers (low, high) with low <= high.
    """
    try:
        low, high = (float(number) for number in value)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise ValueError(
            f"{where}: {name}={value!r} must be two finite numbers (low, high) with low <= high."
        )
    return low, high


def steps(where: str, value: Any) -> Steps:
    """Returns numbers of inner steps as an int or a tuple of ints.

    Raises:
      ValueError: For a negative number, for none at all, or for what is no integer.

    Example:
      >>> steps("maml", np.int64(3)), steps("maml", range(2))
      (3, (0, 1))
    """
    several = isinstance(value, list | tuple | range) or np.ndim(value) == 1
    found = tuple(value) if several else (value,)
    try:
        found = tuple(count(where, "num_steps", number, least=0) for number in found)
    except ValueError:
        found = ()
    if not found:
        raise ValueError(
            f"{where}: num_steps={value!r} must be an integer of at least 0, or several such as "
            "(0, 1, 5)."
        )
    return found if several else found[0]


def prng_key(where: str, key: Any) -> None:
    """Checks that `key` is a typed PRNG key.

    Raises:
      ValueError: For an integer seed or a raw `jax.random.PRNGKey`.
    """
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise ValueError(
            f"{where}: key={key!r} must be a typed key, such as jax.random.key(0)."
            if np.ndim(key) == 0
            else f"{where}: the key is an array of {np.shape(key)} integers; give a typed key, such "
            "as jax.random.key(0) in place of jax.random.PRNGKey(0)."
        )


def batch_size(tasks: Any) -> int:
    """Returns the length of the first axis that all leaves of a batch of tasks share.

    Raises:
      ValueError: If the leaves have different first axes, as those of a single task do.

    Example:
      >>> batch_size((jnp.zeros((4, 2)), jnp.zeros(4)))
      4
    """
    shapes = {jnp.shape(leaf) for leaf in jax.tree.leaves(tasks)}
    sizes = {shape[0] if shape else None for shape in shapes}
    if len(sizes) != 1 or None in sizes:
        found = ", ".join(map(str, sorted(shapes, key=str))) or "none at all"
        raise ValueError(
            f"tasks: the arrays of a batch share their first axis, meta_batch, but their shapes are {found}. "
            "Draw a batch with jax.vmap(sample)(keys), or give one task a leading axis of 1."
        )
    return int(sizes.pop() or 0)


def optimizer(where: str, name: str, given: Any) -> None:
    """Checks for an optax transformation.

    Raises:
      ValueError: For anything else, such as `optax.adam` that was not called.

    Example:
      >>> optimizer("outer_step", "optimizer", max)
      Traceback (most recent call last):
      ValueError: outer_step: optimizer is max, not an optax transformation; call it, as in optax.adam(1e-3).
    """
    if not (callable(getattr(given, "init", None)) and callable(getattr(given, "update", None))):
        found = getattr(given, "__name__", None) or _named(given)
        raise ValueError(
            f"{where}: {name} is {found}, not an optax transformation; call it, as in optax.adam(1e-3)."
        )


def loss(where: str, given: Any, name: str = "loss") -> None:
    """Checks that a loss or metric is a function.

    Raises:
      ValueError: For anything else, such as the name of one.

    Example:
      >>> loss("maml", "mse")
      Traceback (most recent call last):
      ValueError: maml: loss='mse' must be a function (predictions, targets) -> (n,), such as mj.mse.
    """
    if not callable(given):
        raise ValueError(
            f"{where}: {name}={given!r:.60} must be a function (predictions, targets) -> (n,), such as mj.mse."
        )


def adjoint(where: str, given: Any) -> None:
    """Checks that an adjoint is a function, or None for the usual one.

    Raises:
      ValueError: For anything else, such as the name of one.

    Example:
      >>> adjoint("maml", "first_order")
      Traceback (most recent call last):
      ValueError: maml: adjoint='first_order' must be a function, such as mj.first_order.
    """
    if given is not None and not callable(given):
        raise ValueError(
            f"{where}: adjoint={given!r:.60} must be a function, such as mj.first_order."
        )


def inner_loop(where: str, **parts: Any) -> None:
    """Checks what an inner loop is made of, each only if it is given: `loss`, `inner` and `adjoint`.

    Raises:
      ValueError: For the first that is of another kind.

    Example:
      >>> inner_loop("maml", loss="mse", adjoint=None)
      Traceback (most recent call last):
      ValueError: maml: loss='mse' must be a function (predictions, targets) -> (n,), such as mj.mse.
    """
    for name, given in parts.items():
        if name == "inner":
            optimizer(where, name, given)
        else:
            {"loss": loss, "adjoint": adjoint}[name](where, given)


def learner(where: str, given: Any) -> None:
    """Checks for a learner.

    Raises:
      ValueError: For anything else, such as a model.

    Example:
      >>> learner("query_loss", None)
      Traceback (most recent call last):
      ValueError: query_loss: learner is a NoneType, not a mj.Learner such as mj.maml(...).
    """
    if not isinstance(given, Learner):
        found = getattr(given, "__name__", None) or f"a {type(given).__name__}"
        raise ValueError(f"{where}: learner is {found}, not a mj.Learner such as mj.maml(...).")


def as_model(where: str, model: Any) -> Model:
    """Returns a model from a `Model` or any `(init, apply)` pair.

    Its `init` refuses parameters that are no trainable weights, which an inner loop would adapt. A plain
    pair is rewritten by `metajax.fast`; a `Model` is taken as it is.

    Args:
      where: The learner whose message it is.
      model: What the user gave.

    Raises:
      ValueError: For anything else, such as a module that is not wrapped; from `init`, for
        parameters that hold running statistics, random state or integers.

    Example:
      >>> model = as_model("maml", (lambda key, x: jnp.zeros(()), lambda w, x: w * x))
      >>> float(model.apply(2.0, 3.0))
      6.0
    """
    if not _is_pair(model):
        homes = [base.__module__ for base in type(model).__mro__]
        wrap = {"flax.linen": "linen_model", "flax.nnx": "nnx_model", "equinox": "equinox_model"}
        wrap["haiku"] = "haiku_model"
        near = [name for home, name in wrap.items() if any(h.startswith(home) for h in homes)]
        remedy = (
            f"wrap it with mj.{near[0]}" if near else "give an (init, apply) pair such as mj.mlp()"
        )
        raise ValueError(f"{where}: the model is {_named(model)}, not (init, apply); {remedy}.")
    given = model if isinstance(model, Model) else fast(Model(*model))

    def init(key, x):
        prng_key(f"{where}: model.init", key)
        params = given.init(key, x)
        trainable(where, params)
        return params

    return given._replace(init=init)


def _is_pair(model: Any) -> bool:
    """Whether a model is (init, apply); haiku's apply may also take a key or a state."""
    is_learner = isinstance(model, Learner)  # is a tuple of functions as well
    if is_learner or not (
        isinstance(model, tuple) and len(model) >= 2 and all(map(callable, model[:2]))
    ):
        return False
    is_haiku = type(model).__module__.startswith("haiku")
    return not is_haiku or inspect.signature(model[1]).parameters.keys().isdisjoint(
        ("rng", "state")
    )


def trainable(where: str, params: Params) -> None:
    """Checks that parameters are weights alone.

    Raises:
      ValueError: Naming the collection or the leaf that is something else.
    """
    for name in NOT_TRAINABLE:
        if isinstance(params, Mapping) and name in params:
            first = jax.tree.leaves_with_path(params[name])[0][0]
            leaf = jax.tree_util.keystr(first, simple=True, separator="/")
            raise ValueError(
                f"{where}: the model's parameters hold running statistics, {name}/{leaf}, which "
                "an inner loop would adapt like weights. Wrap the network with mj.linen_model(net, "
                'statistics="batch") or statistics="frozen".'
            )
    for path, leaf in jax.tree.leaves_with_path(params):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            name = jax.tree_util.keystr(path, simple=True, separator="/") or "the array"
            raise ValueError(
                f"{where}: the model's parameter {name} has dtype {jnp.result_type(leaf)}, which has no "
                "derivative. Keep it out of the parameters; mj.nnx_model and mj.linen_model do."
            )


def _named(thing: Any) -> str:
    plain = type(thing) is not tuple
    return f"a {type(thing).__name__}" if plain else f"{thing!r:.60}"


def source(where: str, sample: Any) -> Task:
    """Checks a task source by tracing it, and returns its task as shapes.

    Args:
      where: Whose message it is.
      sample: `sample(key) -> Task`.

    Raises:
      ValueError: If it is not callable, does not return a `Task` of two `Examples`, or returns the
        same task whatever its key.
    """
    if not callable(sample):
        raise ValueError(
            f"{where}: sample is {_named(sample)}; give a function sample(key) -> mj.Task, such as "
            "mj.tasks.sinusoid()."
        )

    def draw(key):
        task = sample(key)
        if isinstance(task, Task) and all(isinstance(part, Examples) for part in task):
            return task
        raise ValueError(
            f"{where}: sample(key) returned {_named(task)}; it must return a mj.Task(support, query), "
            "each an mj.Examples(x, y)."
        )

    traced, task = jax.make_jaxpr(draw, return_shape=True)(jax.random.key(0))
    if not _reads(traced.jaxpr, traced.jaxpr.invars[0]):
        raise ValueError(
            f"{where}: sample(key) returns the same task for every key. Inside jit, random numbers "
            "of NumPy or a loader are drawn once and for all. Draw with jax.random from the key, or "
            "give mj.fit an iterable of batches of tasks and mj.evaluate a list of tasks."
        )
    return task


def _reads(jaxpr: Any, variable: Any) -> bool:
    """Whether an output of a jaxpr depends on a variable; other jaxprs inside are entered if called."""
    reached = {variable}
    for equation in jaxpr.eqns:
        read = [v for v in equation.invars if not hasattr(v, "val")]
        if not reached.intersection(read):
            continue
        inner = equation.params.get("jaxpr")
        called = getattr(inner, "jaxpr", inner)
        if (
            hasattr(called, "invars")
            and len(called.invars) == len(equation.invars)
            and len(called.outvars) == len(equation.outvars)
            and equation.primitive.name in ("jit", "pjit", "closed_call", "checkpoint", "remat2")
        ):
            pairs = zip(called.invars, equation.invars, strict=True)
            inside = [v for v, given in pairs if not hasattr(given, "val") and given in reached]
            outs = zip(called.outvars, equation.outvars, strict=True)
            reached.update(
                given for v, given in outs if any(_leads(called, start, v) for start in inside)
            )
        else:
            reached.update(equation.outvars)
    return any(not hasattr(v, "val") and v in reached for v in jaxpr.outvars)


def _leads(jaxpr: Any, start: Any, end: Any) -> bool:
    return not hasattr(end, "val") and _reads(jaxpr.replace(outvars=[end]), start)
