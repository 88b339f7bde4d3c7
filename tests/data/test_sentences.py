"""Files of labelled sentences, what cannot be read, and the real data sets."""

import gzip
import json
import os
from pathlib import Path

import pytest

from metajax.data import clinc150, fewrel
from metajax.data.invented_sentences import invented_sentences
from metajax.data.sentence_files import read_sentences

CSV = 'text,label,domain\n"hello, there",greeting,talk\nbye,parting,talk\n'
LINES = (
    '{"text": "hello, there", "label": "greeting", "domain": "talk"}\n'
    '{"text": "bye", "label": "parting", "domain": "talk"}\n'
)


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.csv", CSV.encode()),
        ("a.csv", CSV.encode("utf-8-sig")),
        ("a.csv", CSV.replace("\n", "\r\n").encode()),
        ("a.csv", CSV.replace("\n", "\r").encode()),
        ("a.csv", b'text;label;domain\n"hello, there";greeting;talk\nbye;parting;talk\n\n'),
        ("a.tsv", b"text\tlabel\tdomain\nhello, there\tgreeting\ttalk\nbye\tparting\ttalk\n"),
        ("a.jsonl", LINES.encode()),
        ("a.jsonl.gz", gzip.compress(LINES.encode())),
    ],
    ids=[
        "csv",
        "with a mark",
        "of Windows",
        "of an old Mac",
        "semicolons",
        "tabs",
        "json lines",
        "packed",
    ],
)
def test_a_file_in_every_form(name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    found = read_sentences(path)
    assert found.classes() == [("talk", "greeting"), ("talk", "parting")]
    assert found.texts == ["hello, there", "bye"]
    assert (found.name, found.source) == ("a", path)


def test_without_a_domain_all_are_of_that_of_the_file(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("label,text\na,hi\nb,ho\n")
    assert read_sentences(path).classes() == [("mine", "a"), ("mine", "b")]


REFUSED = [
    (
        "a.csv",
        b"text,intent\nhi,a\n",
        "line 1 has the columns text, intent, but needs label; name them",
    ),
    ("a.csv", b"text,label\nhi,a\n ,b\n", "1 of 2 lines cannot be read: line 3: text is empty"),
    ("a.csv", b"text,label\nhi,\n", "line 2: label is empty"),
    ("a.csv", b"text,label\nhi,a,b\n", "line 2: 3 fields, but 2 columns"),
    ("a.csv", "text,label\nhi,a\nété,b\n".encode("latin-1"), "line 3 is not UTF-8; save the file"),
    ("a.csv", b"text,text,label\nhi,ho,a\n", "line 1 names two columns 'text'"),
    ("a.csv", b"text,label\nhi,a\n\nho,b\n", "1 of 3 lines cannot be read: line 3: it is empty"),
    ("a.csv", b'text,label\nhi,a\n"ho,b\nhu,b\n', "line 3: its quotes do not match"),
    ("a.csv", b"text,label\n", "holds a header and no sentences"),
    ("a.csv", b"\n", "is empty; give a file of sentences"),
    ("a.jsonl", b'{"text": "hi"}\n', "line 1: column label is missing"),
    ("a.jsonl", b'{"text": "hi", "label": 3}\n', "line 1: label=3 must be text"),
    ("a.jsonl", b'{"text": "hi", "label": "a"}\nhi\n', "line 2: it is no JSON"),
    ("a.jsonl", b"[1]\n", "line 1: it is no JSON object"),
    ("a.jsonl", b'"hi there"\n', "line 1: it is no JSON object"),
    ("a.jsonl", b'""\n', "line 1: it is no JSON object"),
    (
        "a.jsonl",
        b'{"text": "hi \\ud83d", "label": "a"}\n',
        "line 1: text has half of a character (a lone surrogate)",
    ),
    ("a.txt", b"hi\n", "the name must end in .jsonl, .csv, .tsv, or one of them"),
    ("a.csv.gz", b"text,label\n", "is not a whole gzip file"),
]


@pytest.mark.parametrize("name, content, message", REFUSED, ids=[row[2][:40] for row in REFUSED])
def test_what_cannot_be_read_is_named_by_file_and_line(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"line|name|empty|gzip|sentences") as caught:
        read_sentences(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_more_lines_than_are_described_are_counted(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + ",x\n" * 5 + "hi,x\n")
    with pytest.raises(ValueError, match=r"5 of 6 lines .* and 2 more. Correct or remove them"):
        read_sentences(path)


def test_labels_with_fewer_sentences_than_a_task_needs_are_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "hi,a\n" * 3 + "ho,b\n")
    found = read_sentences(path)
    with pytest.raises(ValueError, match=r"a.csv: line 5: label 'b' .* has 1 sentence.*needs 3"):
        found.with_enough("intents", 2, 3)
    with pytest.raises(ValueError, match=r"a.csv: domain 'a' has 2 label\(s\), but way=5"):
        found.with_enough("intents", 5, 1)


def test_invented_intents_are_told_apart_by_verb_and_object():
    found = invented_sentences(domains=3, intents=15, each=4)
    assert len(set(found.domains)) == 3
    assert len(found.texts) == 3 * 15 * 4
    assert invented_sentences(domains=3, intents=15, each=4) == found  # of the seed alone
    found.with_enough("test", 15, 4)


def test_domains_of_invented_intents_share_verbs_and_no_objects():
    found = invented_sentences(domains=4, each=20)
    verbs: dict[str, set[str]] = {}
    objects: dict[str, set[str]] = {}
    for text, domain in zip(found.texts, found.domains, strict=True):
        words = text.split()
        at = max(i for i, word in enumerate(words) if word in ("the", "my", "a", "this", "that"))
        verbs.setdefault(domain, set()).add(words[at - 1])
        objects.setdefault(domain, set()).add(words[at + 1])
    for one in verbs:
        elsewhere = set().union(*(verbs[domain] for domain in verbs if domain != one))
        assert len(verbs[one] & elsewhere) > len(verbs[one]) / 2
        assert not any(objects[one] & objects[domain] for domain in objects if domain != one)


@pytest.fixture
def data():
    named = os.environ.get("METAJAX_DATA")
    if not named:
        pytest.skip("METAJAX_DATA is not set; it names a folder that holds clinc150/ and fewrel/")
    return Path(named).absolute()


def test_the_published_clinc150(data):
    found = clinc150.load(data)
    assert len(found.texts) == 22_500
    assert len(found.outside) == 1_200
    found.with_enough("clinc150", 15, 150)
    for val, test in clinc150.SPLITS.values():
        assert not set(val) & set(test)
        assert {*val, *test} < set(found.domains)


def test_the_published_fewrel(data):
    masked, plain = (fewrel.load(data, masked=masked) for masked in (True, False))
    sizes = {d: len(masked.of([d]).texts) for d in ("wiki", "pubmed", "semeval")}
    assert sizes == {"wiki": 11_200, "pubmed": 1_000, "semeval": 8_851}
    assert len(set(masked.of(["wiki"]).labels)) == 16
    assert all(mark in text for text in masked.texts for mark in fewrel.MARKS)
    assert not any(mark in text for text in plain.texts for mark in fewrel.MARKS)


def test_damaged_and_unknown_files_are_named(tmp_path):
    folder = tmp_path / "clinc150"
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match=r"no data_full.json, no domains.json\); get it at"):
        clinc150.load(tmp_path)
    (folder / "data_full.json").write_text("{")
    (folder / "domains.json").write_text(json.dumps({"talk": ["greeting"]}))
    with pytest.raises(ValueError, match=r"data_full\.json is damaged"):
        clinc150.load(tmp_path)
    whole = {f"{o}{part}": [] for part in clinc150.PARTS for o in ("", "oos_")}
    whole["train"] = [["hi", "salute"]]
    (folder / "data_full.json").write_text(json.dumps(whole))
    with pytest.raises(ValueError, match="has no domain for salute"):
        clinc150.load(tmp_path)


def test_masks_replace_whole_entities(tmp_path):
    (tmp_path / "fewrel").mkdir()
    example = {
        "tokens": ["New", "York", "is", "in", "the", "USA"],
        "h": ["", "", [[0, 1]]],
        "t": ["", "", [[5]]],
    }
    for file in fewrel.FILES:
        (tmp_path / "fewrel" / file).write_text(json.dumps({"place": [example]}))
    assert fewrel.load(tmp_path).texts[0] == "headentity is in the tailentity"
    assert fewrel.load(tmp_path, masked=False).texts[0] == "New York is in the USA"
    (tmp_path / "fewrel" / fewrel.MORE).write_text(json.dumps({"more": [example]}))
    assert fewrel.load(tmp_path).of(["wiki"]).labels == ["more", "place"]
