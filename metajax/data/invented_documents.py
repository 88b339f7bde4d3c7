"""Invented abstracts with summaries, for trying things out without data."""

import numpy as np

from metajax.data.documents import Corpus, Document

_THINGS = ("networks", "parsers", "policies", "graphs", "encoders", "kernels", "agents", "filters")
_GOALS = (
    "translation",
    "vision",
    "planning",
    "search",
    "speech",
    "retrieval",
    "control",
    "biology",
)
_KINDS = {
    "background": (
        "{thing} are widely used in {goal}.",
        "Recent work on {goal} relies on {thing} that are trained on large data.",
        "{goal} has a long history.",
    ),
    "problem": (
        "However, {thing} remain difficult to train when labels of {goal} are scarce.",
        "The main challenge is that {thing} fail on {goal} without much supervision.",
    ),
    "contribution": (
        "We propose {thing} for {goal} that learn from few examples.",
        "In this paper we present a new family of {thing} and apply it to {goal}.",
    ),
    "method": (
        "Our method is based on {thing} whose weights are shared between tasks of {goal}.",
        "It uses an attention over {thing} and a loss for {goal}.",
    ),
    "result": (
        "Experiments show that {thing} outperform earlier results on {goal} by {number} points.",
        "The accuracy on {goal} improves to {number} percent, which is state of the art.",
    ),
    "detail": (
        "The code of all experiments on {goal} is available.",
        "We discuss limits of {thing} and further directions.",
        "An appendix has {number} further tables.",
    ),
}


def invented_documents(number: int = 600, *, seed: int = 0) -> Corpus:
    """Returns abstracts of template sentences, of which a half is for training.

    An abstract has background, problem, contribution, methods, results and details, in this order, each
    of none to three sentences but one contribution. Its summary is a contribution in other words.

    Args:
      number: Of documents.
      seed: Of all random numbers.

    Example:
      >>> corpus = invented_documents()
      >>> corpus.described()
      'documents: 300 train, 100 val, 200 test'
      >>> corpus.train[0].title
      'Agents for retrieval'
    """
    rng = np.random.default_rng(seed)
    documents = [_document(rng) for _ in range(number)]
    first, second = number // 2, 2 * number // 3
    train, val, test = documents[:first], documents[first:second], documents[second:]
    return Corpus("synthetic", tuple(train), tuple(val), tuple(test))


def _document(rng: np.random.Generator) -> Document:
    thing, goal = rng.choice(_THINGS), rng.choice(_GOALS)
    sentences = []
    for kind, templates in _KINDS.items():
        most = 1 if kind == "contribution" else int(rng.integers(0, 4))
        for _ in range(most):
            other = rng.random() < 0.4
            filled = rng.choice(templates).format(
                thing=rng.choice(_THINGS) if other else thing,
                goal=rng.choice(_GOALS) if other else goal,
                number=rng.integers(2, 99),
            )
            sentences.append(filled[0].upper() + filled[1:])
    summary = f"We propose new {thing} for {goal} that need few examples."
    return Document(tuple(sentences), (summary,), f"{thing.capitalize()} for {goal}")
