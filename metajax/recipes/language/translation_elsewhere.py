"""A run of translation on another language, from two files."""

from dataclasses import replace
from pathlib import Path

from metajax.data.translations import read_pairs
from metajax.recipes.experiment import Experiment
from metajax.recipes.language.token_pairs import encoded
from metajax.recipes.language.translation_data import Prepared
from metajax.recipes.language.translation_report import judged


def elsewhere(p: Prepared, own: Experiment, on: str) -> Experiment:
    """Returns the experiment of a trained run on another language, from two files of one sentence a line.

    The last fifth of the lines, 1,000 at most, is for test; a run adapts to the first ones of the others.

    Args:
      p: The prepared sentences of the run.
      own: The experiment of the run.
      on: The file of sentences, such as "mine.nl". Their translations are in the file beside it whose name
        ends in the language that the run translates into, such as "mine.en".

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: For the file of translations itself, and for too few pairs. For files of unequal length,
        empty or long sentences and other encodings, naming file and line.
    """
    paths = Path(on).expanduser(), Path(on).expanduser().with_suffix(f".{p.corpus.target}")
    if not paths[0].suffix or paths[0] == paths[1]:
        raise ValueError(
            f"evaluate: on={on!r} must be the file of sentences in the other language, whose name ends in that "
            f"language, such as mine.nl, beside {paths[1].name} with their translations."
        )
    pairs, s = read_pairs(*paths), p.settings
    whole = encoded(p.pieces, pairs, lambda i, side: f"{paths[side]}: line {i + 1}", s.length)
    number = len(pairs.sources)
    test = min(1_000, number // 5)
    sizes = tuple(size for size in s.pairs if size <= number - test)
    if not sizes:
        raise ValueError(
            f"evaluate: {paths[0]} has {number} pairs, of which {number - test} are to adapt on, but the run's "
            f"pairs={s.pairs} need {min(s.pairs)}. Give more."
        )
    there = p._replace(
        settings=replace(s, pairs=sizes, third=paths[0].suffix.removeprefix(".")),
        corpus=p.corpus._replace(name=paths[0].stem),
        pool=whole.at(range(number - test)),
        test=pairs.at(range(number - test, number)),
    )
    return replace(
        own,
        test_name=paths[0].name,
        judge=lambda meta_params, seed: judged(p, meta_params, seed, there),
        prepared=None,
    )
