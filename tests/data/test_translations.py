"""Files of translations, what cannot be read, and the real data set."""

import gzip
import itertools
import os
from pathlib import Path

import pytest

from metajax.data import multi30k
from metajax.data.invented_languages import GRAMMARS, invented_languages
from metajax.data.translations import apart, read_pairs


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_two_files_are_read_side_by_side(tmp_path):
    # A mark at the beginning, line ends of Windows, and a last line without an end.
    source = written(tmp_path, "a.de", "ja\r\nné\u2028in\r\n".encode("utf-8-sig"))
    target = written(tmp_path, "a.en", "yes\nno")
    assert read_pairs(source, target) == (("ja", "né\u2028in"), ("yes", "no"))


REFUSED = [
    ("ja\nnein\n", "yes\n", "a.de: line 2 has no translation, because .*a.en ends after 1 lines"),
    ("ja\n", "yes\nno\n", "a.en: line 2 has no translation, because .*a.de ends after 1 lines"),
    ("ja\n \nnein\n", "yes\nso\nno\n", "a.de: line 2 is empty"),
    ("ja\nné\n".encode("latin-1"), "yes\nno\n", "a.de: line 2 is not UTF-8 at byte 1"),
]


@pytest.mark.parametrize("source, target, message", REFUSED)
def test_what_cannot_be_read_is_named_by_file_and_line(source, target, message, tmp_path):
    paths = written(tmp_path, "a.de", source), written(tmp_path, "a.en", target)
    with pytest.raises(ValueError, match=message):
        read_pairs(*paths)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a.de is no file; give one sentence a line"):
        read_pairs(tmp_path / "a.de", tmp_path / "a.en")


def test_every_caption_is_of_one_language_alone():
    target = [f"caption {i // 2}" for i in range(40)]  # each of them twice
    sources = {language: [f"{language} {i}" for i in range(40)] for language in ("x", "y", "z")}
    found = apart(target, sources)
    sides = [set(pairs.targets) for pairs in found.values()]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 20
    for language, pairs in found.items():
        for source, caption in zip(*pairs, strict=True):
            assert target[sources[language].index(source)] == caption


def test_invented_languages_are_a_family_and_share_no_sentences():
    found = invented_languages(400, others=10)
    words = {lang: set(" ".join(pairs.sources).split()) for lang, pairs in found.train.items()}
    into = {w for pairs in found.train.values() for t in pairs.targets for w in t.split()}
    assert not into & set.union(*words.values())
    for one, other in itertools.combinations(words.values(), 2):
        assert 0.25 < len(one & other) / len(one | other) < 0.55  # 9 / 23 in the mean
    known = words["alpha"] | words["beta"]
    assert 0.5 < len(words["gamma"] & known) / len(words["gamma"]) < 0.9
    targets = [
        target
        for part in (found.train, found.val, found.test)
        for pairs in part.values()
        for target in pairs.targets
    ]
    assert len(set(targets)) == len(targets) == 3 * 420
    assert invented_languages(400, others=10) == found  # of the seed alone


def test_word_orders_of_invented_languages_by_hand():
    # Each word stands for one of the target, so that sorting both sides by meaning makes them alike.
    found = invented_languages(400, others=1)
    # Two articles, two nouns and a verb; then adjectives, and a place of two words.
    plain = {len(t.split()) for pairs in found.train.values() for t in pairs.targets}
    assert plain == {5, 6, 7, 8, 9}
    alpha = found.train["alpha"]
    short = [pair for pair in zip(*alpha, strict=True) if len(pair[1].split()) == 5]
    for source, target in short:
        _, subject, verb, _, thing = target.split()
        assert len(source.split()) == 3  # without articles: subject, object, verb
        for other, to in short:
            swapped = [to.split()[i] for i in (1, 4, 2)]
            same = [a == b for a, b in zip((subject, thing, verb), swapped, strict=True)]
            assert same == [a == b for a, b in zip(source.split(), other.split(), strict=True)]
    assert set(GRAMMARS) == set(found.train)


def folder_of(tmp_path, **changed):
    folder = tmp_path / "multi30k"
    folder.mkdir()
    for file in multi30k.FILES:
        lines = "".join(f"{file} {i}\n" for i in range(6))
        packed = gzip.compress(changed.get(file, lines).encode())
        (folder / f"{file}.gz").write_bytes(packed)
    return tmp_path


def test_packed_files_and_sides_of_unequal_length(tmp_path):
    data = folder_of(tmp_path, **{"val.de": "eins\nzwei\n"})
    with pytest.raises(ValueError, match=r"val.en: line 3 has no translation, because .*val.de"):
        multi30k.load(data)
    (data / "multi30k" / "val.de").write_text("a\nb\nc\nd\ne\nf\n")  # before the packed one
    found = multi30k.load(data)
    assert {language: len(pairs.sources) for language, pairs in found.train.items()} == {
        "de": 2,
        "fr": 2,
        "cs": 2,
    }
    assert found.val["de"].sources == tuple("abcdef")
    (data / "multi30k" / "train.cs.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"no train.cs\); get it at"):
        multi30k.load(data)


def test_the_published_multi30k():
    named = os.environ.get("METAJAX_DATA")
    if not named:
        pytest.skip("METAJAX_DATA is not set; it names a folder that holds multi30k/")
    found = multi30k.load(Path(named).absolute())
    sizes = {language: len(pairs.sources) for language, pairs in found.train.items()}
    assert sum(sizes.values()) == 29_000
    assert max(sizes.values()) - min(sizes.values()) < 10
    sides = [set(pairs.targets) for pairs in found.train.values()]
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert {len(pairs.targets) for pairs in found.test.values()} == {1_000}
    assert {len(pairs.targets) for pairs in found.val.values()} == {1_014}
