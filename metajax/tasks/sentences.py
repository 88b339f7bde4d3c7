"""Episodes of labelled sentences, each within one domain, and queries that belong to no class."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.data.sentences import Sentences
from metajax.tasks.episodes import Labels, Transform, draw, episodes
from metajax.trees import as_pytree
from metajax.types import Examples, Sample, Task


def sentences(
    found: Sentences,
    inputs: Any,
    *,
    way: int = 5,
    shot: int = 1,
    query_shot: int = 10,
    within: bool = True,
    transform: Transform | None = None,
    query_labels: Labels = "episode",
    name: str = "sentences",
) -> Sample:
    """Classification of sentences, all classes of a task from one domain.

    Tasks over mixed domains are much easier: a domain is told by a word. Training may mix them, where it has
    few domains.

    Args:
      found: Sentences, their labels and domains, such as `metajax.data.clinc150.load()`.
      inputs: What a model reads of each sentence, an array `(n, ...)` or a pytree of them, such as
        `mj.text.ngrams(found.texts)`.
      way, shot, query_shot: The size of a task.
      within: Whether all classes of a task are of one domain.
      transform: As in `episodes`.
      query_labels: As in `episodes`.
      name: The first word of error messages.

    Returns:
      `sample(key) -> Task`, as `episodes` does.

    Raises:
      ValueError: For a label with too few sentences, or a domain with too few labels.

    Example:
      >>> import jax, metajax as mj
      >>> from metajax.data.invented_sentences import invented_sentences
      >>> found = invented_sentences(domains=2)
      >>> sample = mj.tasks.sentences(found, mj.text.ngrams(found.texts), way=15, shot=5)
      >>> task = sample(jax.random.key(0))
      >>> task.support.x.shape, task.query.x.shape
      ((75, 256), (150, 256))
    """
    found.with_enough(name, way if within else 1, shot + query_shot)
    classes = found.classes()
    groups = [domain for domain, _ in sorted(set(classes))]
    return episodes(
        inputs,
        labels=classes,
        way=way,
        shot=shot,
        query_shot=query_shot,
        groups=groups if within else None,
        transform=transform,
        query_labels=query_labels,
        name=name,
    )


def with_outside(sample: Sample, inputs: Any, number: int) -> Sample:
    """The same tasks with further queries that belong to none of their classes, labelled -1.

    Args:
      sample: A source of classification tasks.
      inputs: What queries outside of all classes are drawn from, `(m, ...)` or a pytree of such arrays.
      number: How many of them a task gets, after its own queries.

    Raises:
      ValueError: For more than there are.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> sample = mj.tasks.episodes(jnp.arange(8).reshape(4, 2), way=2, shot=1, query_shot=1)
      >>> task = mj.tasks.with_outside(sample, jnp.array([70, 71, 72]), 2)(jax.random.key(0))
      >>> task.query.y.tolist(), (task.query.x[2:] >= 70).tolist()
      ([0, 1, -1, -1], [True, True])
    """
    number = checks.count("with_outside", "number", number)
    inputs = jax.tree.map(jnp.asarray, inputs)
    there = len(jax.tree.leaves(inputs)[0])
    if number > there:
        raise ValueError(
            f"with_outside: number={number} queries are more than the {there} there are. Use fewer."
        )
    return jax.tree_util.Partial(Outside(number), as_pytree(sample), inputs)


@dataclass(frozen=True)
class Outside:
    """The settings of `with_outside`, called with its source, its data and a key."""

    number: int

    def __call__(self, sample, inputs, key):
        """Draws a task."""
        outside_key = jax.random.fold_in(key, 1)
        support, query = sample(key)  # the task that `sample` has for this key
        index = draw(outside_key, len(jax.tree.leaves(inputs)[0]), self.number)
        more = Examples(
            jax.tree.map(lambda leaf: leaf[index], inputs),
            jnp.full(self.number, -1, query.y.dtype),
        )
        return Task(support, jax.tree.map(lambda *parts: jnp.concatenate(parts), query, more))
