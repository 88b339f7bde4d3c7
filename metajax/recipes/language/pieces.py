"""Sentences as integers and back: joint byte pairs of several languages, or whole words."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

RESERVED = 3
"""Padding, and the tokens before and after a sentence: see `metajax.nn.seq2seq`."""


class Pieces(NamedTuple):
    """A vocabulary.

    size: The number of tokens, reserved ones among them.
    encode: Sentences to tokens, none of them reserved.
    decode: Tokens, none of them reserved, to sentences.
    """

    size: int
    encode: Callable[[Sequence[str]], list[list[int]]]
    decode: Callable[[Sequence[Sequence[int]]], list[str]]


def byte_pairs(texts: Iterable[str], size: int) -> Pieces:
    """Learns one vocabulary of byte pairs for all languages of some texts.

    Every text can be written in it, in single bytes if need be.

    Args:
      texts: Sentences of all languages.
      size: The number of tokens.

    Raises:
      ModuleNotFoundError: Without tokenizers.
      ValueError: For a size that does not hold the 256 bytes.

    Reference:
      Sennrich, Haddow and Birch, ACL 2016, section 3.2. https://aclanthology.org/P16-1162
    """
    least = RESERVED + 256
    if size < least:
        raise ValueError(f"translation: vocabulary={size} must be at least {least}, for all bytes.")
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "translation: byte pairs need tokenizers; install it with pip install 'metajax[language]', or try "
            "--synthetic."
        ) from error
    bytes_alone = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = bytes_alone
    model.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size - RESERVED,
        initial_alphabet=bytes_alone.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)

    def encode(sentences):
        return [[i + RESERVED for i in one.ids] for one in model.encode_batch(list(sentences))]

    def decode(tokens):
        kept = [[i - RESERVED for i in one] for one in tokens]
        return [text.strip() for text in model.decode_batch(kept)]

    return Pieces(RESERVED + model.get_vocab_size(), encode, decode)


def whole_words(texts: Iterable[str]) -> Pieces:
    """Takes the words of some texts, with spaces between them, as the vocabulary.

    Example:
      >>> pieces = whole_words(["a b", "c a"])
      >>> pieces.size, pieces.encode(["c a"]), pieces.decode([[3, 5]])
      (6, [[5, 3]], ['a c'])
    """
    words = sorted({word for text in texts for word in text.split()})
    place = {word: i for i, word in enumerate(words, RESERVED)}

    def encode(sentences):
        new = next((w for text in sentences for w in text.split() if w not in place), None)
        if new is not None:
            raise ValueError(
                f"translation: {new!r} is no word of these languages; train on real ones, whose vocabulary is "
                "of byte pairs."
            )
        return [[place[word] for word in text.split()] for text in sentences]

    return Pieces(
        RESERVED + len(words),
        encode,
        lambda tokens: [" ".join(words[i - RESERVED] for i in one) for one in tokens],
    )
