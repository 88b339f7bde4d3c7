"""Files of documents: what is read, and what is refused with its line."""

import gzip
import json
import os
import re

import pytest

from metajax.data import legal_summarization, scitldr
from metajax.data.documents import Document, read_documents, sentences_of


def test_a_file_is_read(tmp_path):
    file = tmp_path / "mine.jsonl"
    rows = [
        {"document": "One is here. Two, e.g. this!", "summary": "One.", "title": "T"},
        {"document": ["A.", "B c."], "summary": ["x", " y "]},
        {"document": "Alone"},
    ]
    file.write_bytes(b"\xef\xbb\xbf" + "\n\n".join(map(json.dumps, rows)).encode())
    assert read_documents(file) == (
        Document(("One is here.", "Two, e.g. this!"), ("One.",), "T"),
        Document(("A.", "B c."), ("x", "y")),
        Document(("Alone",)),
    )


GOOD = '{"document": "A b."}\n'
BAD = {
    "line 2 has 'text'; it must be an object with \"document\"": b'{"text": "x"}',
    "line 2 is no object": b"[1]",
    "line 2 is no JSON": b"{",
    "line 2 is not UTF-8 at byte 14; convert it": b'{"document": "\xff"}',
    "line 2: document is empty": b'{"document": " "}',
    "line 2: document must be a text or a list of sentences": b'{"document": 3}',
    "line 2: text 2 of document is empty": b'{"document": ["a", ""]}',
    "line 2: text 1 of summary is empty": b'{"document": "a", "summary": " "}',
    "line 2: title=3 must be a text": b'{"document": "a", "title": 3}',
    "line 2: sentence 1 has 300 words, but 256 are the most. Split it": b'{"document": "%s"}'
    % (b"a " * 300),
}


@pytest.mark.parametrize("message", BAD)
def test_lines_that_cannot_be_read_are_named(message, tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_bytes(GOOD.encode() + BAD[message])
    with pytest.raises(ValueError, match=re.escape(message)):
        read_documents(file)


def test_empty_and_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl is no file"):
        read_documents(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ValueError, match=r"empty\.jsonl has no line"):
        read_documents(tmp_path / "empty.jsonl")


def test_sentences_end_where_a_space_follows():
    assert sentences_of("It costs 3.5 dollars. See Li et al. (2019). Yes?  No!") == (
        *("It costs 3.5 dollars.", "See Li et al. (2019).", "Yes?", "No!"),
    )


def test_published_documents():
    named = os.environ.get("METAJAX_DATA")
    if not named:
        pytest.skip("METAJAX_DATA is not set; it names a folder that holds scitldr/")
    found = scitldr.load(named)
    assert found.described() == (
        "documents: 1,992 train, 619 val, 618 test; the labels of 126 documents are not those of their "
        "sentences; all are recomputed"
    )
    legal = legal_summarization.load(named)
    assert legal.described() == "documents: 267 train, 89 val, 90 test"
    assert len({d.sentences for d in (*legal.train, *legal.val, *legal.test)}) > 400


def test_damaged_published_files_are_named(tmp_path):
    folder = tmp_path / "scitldr"
    folder.mkdir()
    row = {"source": ["a"], "target": ["b"], "title": "t", "rouge_scores": [1]}
    for file in scitldr.FILES:
        (folder / f"{file}.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    assert len(scitldr.load(tmp_path).train) == 1
    for content, message in (
        (gzip.compress(b'{"source": ["a"]}'), "line 1 is no row of SciTLDR"),
        (gzip.compress(json.dumps(row | {"target": []}).encode()), "line 1 has no sentence or no"),
        (b"nothing", r"dev.jsonl.gz is damaged \(not a whole gzip file"),
        (gzip.compress(b"\xff"), "dev.jsonl is not UTF-8"),
    ):
        (folder / "dev.jsonl.gz").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            scitldr.load(tmp_path)
    folder = tmp_path / "legal_summarization"
    folder.mkdir()
    (folder / "all_v1.json").write_text('{"a": {}}')
    with pytest.raises(ValueError, match="is not the published file"):
        legal_summarization.load(tmp_path)
