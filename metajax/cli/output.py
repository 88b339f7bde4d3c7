"""What several commands print."""

import math
from typing import Any

import numpy as np
from rich.console import Console

console = Console(highlight=False, soft_wrap=True)


def escape(text: str) -> str:
    """Returns text whose brackets rich prints as they are."""
    return text.replace("[", r"\[")


def cell(digits: int, *numbers: float) -> str:
    """Returns a mean and its interval, or one number; "diverged" where a number is not finite.

    Example:
      >>> cell(1, 0.25, 0.05), cell(1, float("nan"))
      ('0.2 ± 0.1', 'diverged')
    """
    if not all(map(math.isfinite, numbers)):
        return "diverged"
    return " ± ".join(f"{number:.{digits}f}" for number in numbers)


def plain(numbers: Any) -> list[float | None]:
    """Returns numbers for JSON, which has none that are not finite.

    Example:
      >>> plain([0.5, float("inf")])
      [0.5, None]
    """
    return [float(n) if math.isfinite(n) else None for n in np.atleast_1d(numbers)]
