"""Porter's stemmer in the form that rouge-score uses: NLTK's, with its extensions."""

import re
from functools import cache

_IRREGULAR = {
    **dict.fromkeys(("sky", "skies"), "sky"),
    "dying": "die",
    "lying": "lie",
    "tying": "tie",
    "news": "news",
    "innings": "inning",
    "inning": "inning",
    "outings": "outing",
    "outing": "outing",
    "cannings": "canning",
    "canning": "canning",
    "howe": "howe",
    "proceed": "proceed",
    "exceed": "exceed",
    "succeed": "succeed",
}
_SECOND = (
    *(("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize")),
    *(("bli", "ble"), ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous")),
    *(("ization", "ize"), ("ation", "ate"), ("ator", "ate"), ("alism", "al"), ("iveness", "ive")),
    *(("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"), ("iviti", "ive"), ("biliti", "ble")),
    *(("fulli", "ful"), ("logi", "log")),
)
_THIRD = (
    *(("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic")),
    *(("ful", ""), ("ness", "")),
)
_FOURTH = (
    *("al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion"),
    *("ou", "ism", "ate", "iti", "ous", "ive", "ize"),
)


@cache
def stem(word: str) -> str:
    """Returns the stem of a word in lower case.

    Args:
      word: Letters and digits.

    Example:
      >>> [stem(word) for word in ("proposes", "classification", "skies", "hopping", "we")]
      ['propos', 'classif', 'sky', 'hop', 'we']

    Reference:
      Porter, Program 14(3), 1980. https://tartarus.org/martin/PorterStemmer/
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) <= 2:
        return word
    word = _past(_plural(word))
    if word.endswith("y") and len(word) > 2 and _kinds(word)[-2] == "c":
        word = word[:-1] + "i"
    for step in (_second, _third, _fourth):
        word = step(word)
    return _last(word)


def _kinds(word: str) -> str:
    """The letters as "c" for consonants and "v" for vowels; y is a vowel after a consonant."""
    found = ""
    for i, letter in enumerate(word):
        vowel = letter in "aeiou" or (letter == "y" and i > 0 and found[-1] == "c")
        found += "v" if vowel else "c"
    return found


def _measure(word: str) -> int:
    """How often a vowel is followed by a consonant."""
    return _kinds(word).count("vc")


def _short_end(word: str) -> bool:
    """Whether a word ends like "hop" or is like "at": the vowel before its end may have lost an e."""
    kinds = _kinds(word)
    return (len(word) >= 3 and kinds.endswith("cvc") and word[-1] not in "wxy") or kinds == "vc"


def _plural(word: str) -> str:
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if re.search("[^s]s$", word) or word == "s" else word


def _past(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        base = word[: -len(ending)]
        if word.endswith(ending) and "v" in _kinds(base):
            break
    else:
        return word
    if base.endswith(("at", "bl", "iz")):
        return base + "e"
    if len(base) > 1 and base[-1] == base[-2] and _kinds(base)[-1] == "c":
        return base if base[-1] in "lsz" else base[:-1]
    return base + "e" if _measure(base) == 1 and _short_end(base) else base


def _second(word: str) -> str:
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        return _second(word[:-2])
    for ending, short in _SECOND:
        if word.endswith(ending):
            base = word[: -len(ending)]
            # The l of "logi" counts with what is before it, as in "geologi".
            return base + short if _measure(base + "l" * (ending == "logi")) > 0 else word
    return word


def _third(word: str) -> str:
    for ending, short in _THIRD:
        if word.endswith(ending):
            base = word[: -len(ending)]
            return base + short if _measure(base) > 0 else word
    return word


def _fourth(word: str) -> str:
    for ending in _FOURTH:
        if word.endswith(ending):
            base = word[: -len(ending)]
            fits = ending != "ion" or base.endswith(("s", "t"))
            return base if _measure(base) > 1 and fits else word
    return word


def _last(word: str) -> str:
    if word.endswith("e"):
        base = word[:-1]
        if _measure(base) > 1 or (_measure(base) == 1 and not _short_end(base)):
            word = base
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word
