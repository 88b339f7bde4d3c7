"""Tasks whose examples stay on disk: a source draws numbers of rows, and readers fetch those rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from metajax import checks
from metajax.trees import as_pytree
from metajax.types import Examples, Sample, Task


@dataclass(frozen=True)
class Streamed:
    """A source of tasks that `fit` reads ahead, on the host.

    draw: A source whose inputs are numbers of rows.
    x, y: The rows of inputs and of targets; `y` is None where `draw` gives the targets.
    transform: Of a batch of tasks of NumPy arrays, or None.
    workers: Processes that read; 0 for threads of this one.
    ahead: Batches that are read ahead.
    """

    draw: Any
    x: Any
    y: Any
    transform: Callable[[Task], Task] | None
    workers: int
    ahead: int

    def read(self, numbers: Any) -> Any:
        """The tasks of a batch whose inputs are numbers of rows, as NumPy arrays."""

        def examples(part: Any) -> Any:
            rows = np.asarray(part.x)
            y = np.asarray(part.y) if self.y is None else _read(self.y, rows)
            mask: Any = None if part.mask is None else np.asarray(part.mask)
            return Examples(_read(self.x, rows), y, mask)

        found = Task(*map(examples, numbers))
        return found if self.transform is None else self.transform(found)


def _read(x: Any, rows: np.ndarray) -> Any:
    """Rows by numbers of any shape, from what takes them as `(k,)`."""
    found = x[rows.ravel()]
    return jax.tree.map(lambda leaf: leaf.reshape(*rows.shape, *leaf.shape[1:]), found)


def streamed(
    draw: Sample,
    x: Any,
    y: Any = None,
    *,
    transform: Callable[[Task], Task] | None = None,
    workers: int = 0,
    ahead: int = 4,
) -> Streamed:
    """Draws tasks by the numbers of their rows, and reads those rows from disk while the device computes.

    `fit` takes it in place of a source. It draws the same tasks as the resident source would from the
    same key, in the same order, and a resumed run reads on where it stopped. Only the batches that are
    read ahead are in memory. Needs grain: `pip install 'metajax[streaming]'`.

    Args:
      draw: A source over numbers of rows, such as `episodes([jnp.arange(600), jnp.arange(600, 1200)],
        ...)` for two classes of 600 rows each.
      x: The rows of inputs: `x[numbers]` gives an array `(k, ...)` for integers `(k,)`. A column of
        `metajax.data.shards`, a NumPy memory map, or anything of the kind.
      y: The rows of targets; by default the targets that `draw` gives.
      transform: A batch of tasks of NumPy arrays to the batch that is trained on, such as one that
        scales pictures; it is called where rows are read.
      workers: Processes that read and transform; 0 for threads of this process, which suffice unless
        `transform` is slow. A script that asks for processes begins with `if __name__ == "__main__":`.
      ahead: How many batches each reader has ready.

    Raises:
      ValueError: For a `draw` that is no source, and for rows that are no table.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, metajax as mj
      >>> draw = mj.tasks.episodes([jnp.arange(3), jnp.arange(3, 6)], way=2, shot=1, query_shot=1)
      >>> source = mj.tasks.streamed(draw, x=10 * np.arange(6))
      >>> task = source.read(draw(jax.random.key(0)))
      >>> bool(np.all(task.support.x == 10 * draw(jax.random.key(0)).support.x))
      True
    """
    checks.source("streamed", draw)
    for name, rows in {"x": x, "y": y}.items():
        if rows is not None and not hasattr(rows, "__getitem__"):
            raise ValueError(
                f"streamed: {name} is a {type(rows).__name__}; give rows that {name}[numbers] reads."
            )
    numbers = jax.tree.leaves(jax.eval_shape(draw, jax.random.key(0)).support.x)
    if len(numbers) != 1 or not np.issubdtype(numbers[0].dtype, np.integer) or numbers[0].ndim != 1:
        kinds = ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in numbers)
        raise ValueError(
            f"streamed: draw gives inputs {kinds}; it must give one integer for each example, the number of "
            "its row, as mj.tasks.episodes does of classes such as jnp.arange(600)."
        )
    workers = checks.count("streamed", "workers", workers, least=0)
    ahead = checks.count("streamed", "ahead", ahead)
    return Streamed(as_pytree(draw), x, y, transform, workers, ahead)
