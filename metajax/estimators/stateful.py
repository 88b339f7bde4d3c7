"""Estimates with and without a state in one form, for what is written once for both."""

from typing import Any

from metajax.types import Stateful


def stateful(estimate: Any) -> Stateful:
    """An estimate in the form that keeps a state, an empty one where it has none.

    Example:
      >>> keeps = stateful(lambda meta_params, tasks, key: (1.0, 2.0))
      >>> keeps.estimate(0.0, keeps.init(0.0, None, None), None, None)
      (1.0, 2.0, ())
    """
    if isinstance(estimate, Stateful):
        return estimate

    def keep_nothing(meta_params, estimator_state, tasks, key):
        return (*estimate(meta_params, tasks, key), estimator_state)

    return Stateful(lambda meta_params, tasks, key: (), keep_nothing)


def in_the_form_of(estimate: Any, wrapped: Stateful) -> Any:
    """`wrapped` as it is if `estimate` keeps a state, and otherwise without one."""
    if isinstance(estimate, Stateful):
        return wrapped
    return lambda meta_params, tasks, key: wrapped.estimate(meta_params, (), tasks, key)[:2]
