"""Summaries of documents, in the style of a few labelled ones."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.data.documents import Document
from metajax.recipes.language.documents import best_sentences, table
from metajax.recipes.language.summary_data import Prepared
from metajax.types import Examples


class Summary(NamedTuple):
    """The chosen sentences of a document.

    document: Its sentences.
    before, after: The places of sentences that are chosen without labelled documents and with them.
    wanted: Those that come closest to its own summary; none without one.
    """

    document: Document
    before: list[int]
    after: list[int]
    wanted: list[int]


def summarize(
    run: Any, labelled: Sequence[Document], documents: Sequence[Document]
) -> tuple[Summary, ...]:
    """Chooses sentences of documents as the summaries of labelled documents ask for.

    Args:
      run: As `mj.restore` returns it, of `metajax train summaries`.
      labelled: Documents with summaries.
      documents: To be summarised.

    Returns:
      A `Summary` for each document.

    Raises:
      ValueError: For another run, and for labelled documents without a summary.

    Reference:
      Nallapati, Zhai and Zhou, AAAI 2017, section 2.1, for labels from summaries.
      https://arxiv.org/abs/1611.04230
    """
    p = getattr(run.experiment, "prepared", None)
    if run.learner is None or not isinstance(p, Prepared):
        raise ValueError(
            "summarize: the run was not made by `metajax train summaries`. Give such a run."
        )
    without = [number for number, d in enumerate(labelled, 1) if not d.summaries]
    if without or not labelled or not documents:
        what = (
            f"labelled document {without[0]} has no summary" if without else "there is no document"
        )
        raise ValueError(f"summarize: {what}. Give labelled documents, and documents to summarise.")
    number = p.settings.sentences
    given, asked = (table(part, p.how, number) for part in (labelled, documents))
    x = asked.inputs(jnp.arange(len(documents)))
    chosen = []
    for known in (False, True):
        mask = jnp.full(len(labelled), known)
        support = Examples(given.inputs(jnp.arange(len(labelled))), given.labels, mask)
        adapted = jax.jit(run.learner.adapt)(run.meta_params, support, jax.random.key(0))
        scores = np.asarray(jax.jit(run.learner.predict)(adapted, x))
        chosen.append(best_sentences(scores, number))
    wanted = [
        [int(i) for i in np.flatnonzero(row)] if document.summaries else []
        for row, document in zip(np.asarray(asked.labels), documents, strict=True)
    ]
    return tuple(Summary(*row) for row in zip(documents, *chosen, wanted, strict=True))
