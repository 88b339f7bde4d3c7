"""ROUGE of learners and baselines on written summaries, document by document."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from metajax.metrics.rouge import rouge
from metajax.recipes.language import summary_baselines as baselines
from metajax.recipes.language.documents import best_sentences, extract, oracle
from metajax.recipes.language.styles import styles
from metajax.recipes.language.summary_baselines import RULES, Scorer
from metajax.recipes.language.summary_data import Prepared
from metajax.types import Examples, Task

DRAWS = 10
"""Draws of the labelled documents that learners adapt to."""
ORACLE = "oracle, by ROUGE-1"


def summary_fits(p: Prepared) -> baselines.Fits:
    """The logits of written summaries: of all training documents, with strengths tuned on validation tasks."""
    s = p.settings
    every = Examples({"stats": p.pool.stats, "exists": p.pool.exists}, p.pool.labels)
    val = styles(p.val, shot=s.shot, query=s.query, sentences=s.sentences, summaries=1.0)
    return baselines.fits_of(every, val, jax.random.key(4), s.sentences)


def supports(p: Prepared, there: Prepared | None, seed: int) -> np.ndarray:
    """The places of labelled documents, `(DRAWS, shot)`."""
    rng = np.random.default_rng(seed)
    number = len((p if there is None else there).pool.labels)
    return np.stack([rng.permutation(number)[: p.settings.shot] for _ in range(DRAWS)])


def rouge_rows(
    p: Prepared, ours: Mapping[str, Scorer], seed: int = 1, there: Prepared | None = None
) -> dict[str, np.ndarray]:
    """ROUGE-1, 2 and L of every scorer and of the oracle, `(documents, 3)`, means over draws.

    Args:
      p: The prepared documents of the run, on which baselines are fitted and tuned.
      ours: Learners.
      seed: Of the draws.
      there: Other documents, which are support and query in turn.
    """
    on = p if there is None else there
    places, documents, s = supports(p, there, seed), on.corpus.test, p.settings
    judge = _Rouge(documents, on.settings.sentences)
    fits = baselines.fit_scorers(summary_fits(p))
    query = Examples(on.judged.inputs(jnp.arange(len(documents))), on.judged.labels)

    @jax.jit
    def one_draw(place, key):
        support = Examples(on.pool.inputs(place), on.pool.labels[place])
        task = Task(support, query)
        rows = {**ours, **RULES, **fits}
        return {name: row(task, key) for name, row in rows.items()}

    sums: dict[str, np.ndarray] = {}
    counts = np.zeros(len(documents))
    for number, place in enumerate(places):
        found = one_draw(jnp.asarray(place), jax.random.fold_in(jax.random.key(seed), number))
        kept = np.ones(len(documents), bool)
        if there is not None:
            kept[place] = False
        counts += kept
        for name, scores in found.items():
            rows = judge(best_sentences(np.asarray(scores), s.sentences))
            sums[name] = sums.get(name, 0) + np.where(kept[:, None], rows, 0)
    judged = counts > 0
    rows = {name: total[judged] / counts[judged][:, None] for name, total in sums.items()}
    best = judge([oracle(document, s.sentences) for document in documents])
    return {**rows, ORACLE: best[judged]}


class _Rouge:
    """ROUGE of chosen sentences, computed once for each choice."""

    def __init__(self, documents, sentences: int):
        self.documents, self.sentences = documents, sentences
        self.known: dict[tuple[int, tuple[int, ...]], tuple[float, float, float]] = {}

    def __call__(self, chosen: list[list[int]]) -> np.ndarray:
        return np.array([self._of(i, tuple(one)) for i, one in enumerate(chosen)])

    def _of(self, i: int, chosen: tuple[int, ...]) -> tuple[float, float, float]:
        if (i, chosen) not in self.known:
            document = self.documents[i]
            self.known[i, chosen] = rouge(extract(document, chosen), document.summaries)
        return self.known[i, chosen]
