"""What a learner reads of sentences, and the network that reads it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from metajax.data.sentences import Sentences
from metajax.nn.text import TooLongError, bag, inverse_frequency, kinds_of, ngrams, token_encoder
from metajax.ops.unit import unit_rows
from metajax.recipes.language.discriminants import discriminants, scaled
from metajax.recipes.language.networks import beside, centred, residual, side_by_side, weighed
from metajax.recipes.language.support import counted
from metajax.recipes.language.vectors import kept, vectors_of
from metajax.types import Learner, Model

WORDS, CHARS, BUCKETS = (1, 2), (3, 5), 1024
"""The n-grams, and the buckets of each kind. On CLINC150, 1,024 and 4,096 of them serve alike."""
KINDS = len(kinds_of(WORDS, CHARS))
SIZE = 1 + KINDS * BUCKETS
FEATURES = 64
"""The width of the projection beside them."""
TOKENS = 8192
"""The number of buckets of words that the Transformer reads."""

_AT_ONCE = 1000


class Cut(NamedTuple):
    """How a sentence is cut into n-grams, and the least width."""

    how: Mapping[str, Any]
    least: int


_NGRAMS = Cut({"words": WORDS, "chars": CHARS, "buckets": BUCKETS}, 256)
_TOKENS = Cut({"words": (1, 1), "chars": None, "buckets": TOKENS}, 32)


class Fitted(NamedTuple):
    """An encoder that has seen training text.

    inputs: Sentences to an array `(n, ...)` or a dict of them, on the host.
    embed: These to features.
    wrap: What is put around a learner.
    plain: These to features of length 1 without parameters, for baselines.
    """

    inputs: Callable[[Sentences], Any]
    embed: Model
    wrap: Callable[[Learner], Learner]
    plain: Model


def read_by(where: str, found: Sentences, width: int, **how: Any) -> np.ndarray:
    """The n-grams of sentences, where one that does not fit is named by its file and line.

    Raises:
      ValueError: For a sentence with more n-grams than the width.
    """
    try:
        return ngrams(found.texts, width=width, **how)
    except TooLongError as error:
        raise ValueError(f"{where}: {found.where(error.index)}: {error}") from error


def longest(texts: Sequence[str], least: int, **how: Any) -> int:
    """A width that every sentence fits into: `least`, or an eighth more until it does."""
    while True:
        try:
            ngrams(texts, width=least, **how)
        except TooLongError:
            least += max(32, least // 8)
            continue
        return least


def of_ids(model: Model) -> Model:
    """A model of ids as one of a dict that has them."""
    return Model(
        lambda key, x: model.init(key, x["ids"]),
        lambda params, x: model.apply(params, x["ids"]),
    )


def grams(where: str, s: Any, train: Sentences) -> Fitted:
    """N-grams of words and characters, weighted by what is known of them, and their discriminants."""
    how = _NGRAMS.how
    ids = read_by(where, train, s.width, **how)
    frequency = inverse_frequency(ids, SIZE)
    plain = bag(frequency)
    of_part = jax.jit(plain.apply)

    def rows():
        return (
            np.asarray(of_part((), ids[i : i + _AT_ONCE])) for i in range(0, len(ids), _AT_ONCE)
        )

    _, classes = np.unique(np.array(train.classes()), axis=0, return_inverse=True)
    directions = discriminants(rows(), classes.ravel(), FEATURES)
    return Fitted(
        lambda found: {"ids": read_by(where, found, s.width, **how)},
        weighed(frequency, KINDS, scaled(directions, rows())),
        lambda learner: counted(learner, SIZE),
        of_ids(plain),
    )


def tokens(where: str, s: Any, train: Sentences) -> Fitted:
    """Words, read by a small Transformer; baselines weigh them by their inverse frequency."""
    how = _TOKENS.how
    frequency = inverse_frequency(read_by(where, train, s.width, **how), 1 + TOKENS)
    return Fitted(
        lambda found: {"ids": read_by(where, found, s.width, **how)},
        of_ids(token_encoder(1 + TOKENS, width=64, layers=2, heads=4)),
        lambda learner: learner,
        of_ids(bag(frequency)),
    )


def frozen(where: str, s: Any, train: Sentences) -> Fitted:
    """Frozen vectors, centred, mapped by a network that starts at the identity."""
    del where
    vectors = vectors_of(s.vectors)
    rows = jnp.asarray(kept(s.vectors, vectors, train.texts))
    centre = np.asarray(unit_rows(rows)).mean(axis=0)
    return Fitted(
        lambda found: kept(s.vectors, vectors, found.texts),
        residual(centre),
        lambda learner: learner,
        centred(centre),
    )


def both(where: str, s: Any, train: Sentences) -> Fitted:
    """Frozen vectors beside n-grams."""
    vectors, ids = frozen(where, s, train), grams(where, s, train)

    def plain(params, x):
        first = vectors.plain.apply(params, x["vectors"])
        return side_by_side(first, ids.plain.apply(params, x))

    return Fitted(
        lambda found: {"vectors": vectors.inputs(found), **ids.inputs(found)},
        beside(vectors.embed, ids.embed),
        ids.wrap,
        Model(vectors.plain.init, plain),
    )


class Encoder(NamedTuple):
    """An encoder by name.

    fit: The name of the recipe, its settings with the width resolved, and training sentences alone, to it.
    rate: The step size of Adam that suits it.
    cut: How it cuts a sentence, if it does.
    frozen: Whether it reads frozen vectors.
    """

    fit: Callable[[str, Any, Sentences], Fitted]
    rate: float
    cut: Cut | None = None
    frozen: bool = False


ENCODERS = {
    "ngrams": Encoder(grams, 3e-4, _NGRAMS),
    "tokens": Encoder(tokens, 1e-3, _TOKENS),
    "vectors": Encoder(frozen, 3e-5, frozen=True),
    "vectors_ngrams": Encoder(both, 3e-5, _NGRAMS, frozen=True),
}

if TYPE_CHECKING:
    EncoderName: TypeAlias = str
else:
    EncoderName = Literal[tuple(ENCODERS)]
