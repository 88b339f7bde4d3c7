"""What networks hold beside weights: the choices a user makes, and checks that a network follows them."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import jax

from metajax.names import choose
from metajax.trees import by_path, named_leaves
from metajax.types import Params

Statistics: TypeAlias = Literal["batch", "frozen"] | None
"""Where a network takes the statistics that it normalises by: from its batch, or from constants."""

Groups: TypeAlias = Mapping[str, Callable[[str], bool]]
"""Named groups of arrays: each name to whether a path such as `params/Conv_1/kernel` belongs to it."""

NONE: Mapping[str, Any] = MappingProxyType({})
"""No arguments, or no groups."""


def check_statistics(where: str, statistics: Any) -> None:
    """Checks the name of a choice; None is one.

    Raises:
      ValueError: For any other name.
    """
    if statistics is not None:
        choose(where, "statistics", statistics, ("batch", "frozen"))


def groups_of(groups: Groups) -> dict[str, Callable[[Params], Any]]:
    """Returns groups in the form that `Model.groups` has."""
    return {name: by_path(chosen) for name, chosen in groups.items()}


def groups_by_parent(names: Iterable[str]) -> dict[str, Callable[[Params], Any]]:
    """Returns one group for each first part of the arrays' names, such as that of a layer.

    Example:
      >>> groups = groups_by_parent(["head/bias", "head/kernel", "body/kernel"])
      >>> groups["head"]({"head": {"bias": 1.0}, "body": {"kernel": 2.0}})
      {'body': {'kernel': False}, 'head': {'bias': True}}
    """
    parents = dict.fromkeys(name.split("/")[0] for name in names)

    def below(parent: str) -> Callable[[str], bool]:
        return lambda path: path.split("/")[0] == parent

    return groups_of({parent: below(parent) for parent in parents})


def leaf_names(tree: Any) -> list[str]:
    """The names of the leaves of a tree, in their order.

    Example:
      >>> leaf_names({"head": {"kernel": 2.0, "bias": 3.0}})
      ['head/bias', 'head/kernel']
    """
    return list(named_leaves(tree, lambda leaf: leaf))


def updated(run: Callable[..., Any], state: Any, *args: Any) -> list[str]:
    """The names of the leaves of a state that `run(state, *args)` returns as something else.

    It is found by tracing: an array that is not updated comes back as the very same variable.

    Example:
      >>> import jax.numpy as jnp
      >>> state = {"count": jnp.zeros(()), "mean": jnp.zeros(())}
      >>> updated(lambda state, x: {**state, "mean": state["mean"] + x}, state, jnp.ones(()))
      ['mean']
    """
    traced, after = jax.make_jaxpr(run, return_shape=True)(state, *args)
    returned = dict(zip(leaf_names(after), traced.jaxpr.outvars, strict=True))
    given = zip(leaf_names(state), traced.jaxpr.invars, strict=False)  # those of `args` follow
    return [name for name, variable in given if returned.get(name, variable) is not variable]


def require_choice(where: str, statistics: Statistics, names: list[str], frozen: str) -> None:
    """Checks that there is a choice of statistics exactly where a network has any.

    Args:
      where: The adaptor.
      statistics: The user's choice.
      names: Of the arrays of the network that are no weights.
      frozen: Where the constants of "frozen" come from.

    Raises:
      ValueError: Naming the first such array, or the choice that has no use.
    """
    if names and statistics is None:
        raise ValueError(
            f"{where}: the network holds {names[0]}, which is no trainable weight. Choose "
            "statistics='batch' to normalise by the batch at hand, in adaptation and in prediction, or "
            f"statistics='frozen' to normalise by constants, {frozen}."
        )
    if statistics is not None and not names:
        raise ValueError(
            f"{where}: statistics={statistics!r} has no use, because the network holds weights alone. "
            "Leave it out."
        )


def check_followed(
    where: str,
    statistics: Statistics,
    when: str,
    names: list[str],
    changed: list[str],
    *,
    argument: str,
    constants: bool,
) -> None:
    """Checks that a network normalises by what the user chose.

    Args:
      where: The adaptor.
      statistics: The user's choice.
      when: "adaptation" or "prediction".
      names: Of the arrays of the network that are no weights.
      changed: Those of them that a call updates; a layer that normalises by its batch updates its
        running statistics.
      argument: What the user can change, with an example.
      constants: Whether the user gave values for these arrays, so that some may stay what they are.

    Raises:
      ValueError: Naming the first array that contradicts the choice.
    """
    if statistics == "frozen" and changed:
        raise ValueError(
            f"{where}: statistics='frozen', but the network updates {changed[0]} in {when}: it normalises "
            f"by its batch. Change {argument}, or choose statistics='batch'."
        )
    kept = [name for name in names if name not in changed]
    if statistics == "batch" and kept and not (constants and changed):
        raise ValueError(
            f"{where}: statistics='batch', but the network does not update {kept[0]} in {when}: it reads "
            f"stored values. Change {argument}, or choose statistics='frozen'."
        )


def random_in_prediction(where: str, drawn: str, argument: str) -> ValueError:
    """The error of a network that draws random numbers where it predicts."""
    return ValueError(
        f"{where}: {drawn} in prediction, where dropout must be off. Change {argument}."
    )
