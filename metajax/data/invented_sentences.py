"""Invented sentences: intents are templates over words of their domain, so that no data are needed."""

import math

import numpy as np

from metajax.data.sentences import Sentences

_OPENINGS = ("please", "can you", "i want to", "how do i", "help me", "could you", "i need to", "")
_ENDINGS = ("now", "today", "for me", "please", "again", "right away", "", "")
_FILLERS = ("the", "my", "a", "this", "that")
_STOCK = 2
"""Verbs of all domains together, for each of one domain."""
_ONSETS, _VOWELS, _CODAS = "bdfgklmnprstvz", "aeiou", ("", "n", "r", "s", "l", "t")


def invented_sentences(
    domains: int = 8, intents: int = 15, each: int = 40, outside: int = 100, seed: int = 0
) -> Sentences:
    """Returns sentences of intents, each of which is a verb and an object, said in several ways.

    Verbs and objects have three synonyms. Objects are of one domain alone, and verbs are drawn from a stock
    that all domains share: which verbs mean the same can be learned in some domains and used in others, as
    "cancel" and "call off" can. Intents of a domain share verbs and objects in pairs, so that it takes both
    to tell them apart; the words around say nothing. A tenth of the verbs is replaced by another verb of the
    domain.

    Args:
      domains, intents, each: The numbers of domains, of intents in each, and of sentences of each intent.
      outside: The number of sentences of words that no domain has.
      seed: Of all random numbers.

    Example:
      >>> found = invented_sentences()
      >>> len(found.texts), len(set(found.classes())), len(found.outside)
      (4800, 120, 100)
    """
    rng = np.random.default_rng(seed)
    texts, labels, names = [], [], []
    side = math.isqrt(intents) + 2
    stock = [_synonyms(rng) for _ in range(_STOCK * side)]
    for domain in range(domains):
        verbs = [stock[i] for i in rng.permutation(len(stock))[:side]]
        objects = [_synonyms(rng) for _ in range(side)]
        pairs = [(i, j) for i in range(len(verbs)) for j in range(len(objects))]
        for intent, place in enumerate(rng.permutation(len(pairs))[:intents]):
            verb, thing = pairs[place]
            for _ in range(each):
                said = rng.integers(len(verbs)) if rng.random() < 0.1 else verb
                texts.append(_said(rng, verbs[said], objects[thing]))
                labels.append(f"intent{intent:02d}")
                names.append(f"domain{domain}")
    other = [_said(rng, _synonyms(rng), _synonyms(rng)) for _ in range(outside)]
    return Sentences("synthetic", texts, labels, names, other)


def _word(rng: np.random.Generator) -> str:
    syllables = [
        rng.choice(list(_ONSETS)) + rng.choice(list(_VOWELS)) + rng.choice(_CODAS)
        for _ in range(rng.integers(1, 3))
    ]
    return "".join(syllables)


def _synonyms(rng: np.random.Generator) -> list[str]:
    """Three words, two of which have one stem."""
    stem = _word(rng) + _word(rng)
    return [stem, f"{stem}ing", _word(rng) + _word(rng)]


def _said(rng: np.random.Generator, verb: list[str], thing: list[str]) -> str:
    parts = [
        rng.choice(_OPENINGS),
        rng.choice(verb),
        rng.choice(_FILLERS),
        rng.choice(thing),
        rng.choice(_ENDINGS),
    ]
    return " ".join(str(part) for part in parts if part)
