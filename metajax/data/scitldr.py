"""SciTLDR: abstracts of computer science with one-sentence summaries.

Cachola, Lo, Cohan and Weld, Findings of EMNLP 2020. https://github.com/allenai/scitldr, Apache 2.0. Place
`train.jsonl`, `dev.jsonl` and `test.jsonl` of SciTLDR-A, packed as `.gz` or not, into `scitldr/`. The labels
of sentences in the files are not read: in 126 documents there are fewer than sentences.
"""

import json
from pathlib import Path
from typing import Any

from metajax import files
from metajax.data import store
from metajax.data.documents import Corpus, Document

NAME = "scitldr"
ADDRESS = "https://github.com/allenai/scitldr/tree/master/SciTLDR-Data/SciTLDR-A"
PLACED = (
    store.Download(
        "train.jsonl",
        ADDRESS,
        "sha256:b222771d387be585cfdf5ae957b36757138415a352e0a3e3b23f73f87c3b1119",
    ),
    store.Download(
        "dev.jsonl",
        ADDRESS,
        "sha256:3191fa98ccc09521332b7a1cd63b1930be4e8df125a235ccd31e40329709525e",
    ),
    store.Download(
        "test.jsonl",
        ADDRESS,
        "sha256:fb42dd6cd4f4a1928ae8a01a189456fbfe994a07e938bd49f68653933f6503c9",
    ),
)
FILES = tuple(file.file for file in PLACED)


def load(data: store.Folder = None) -> Corpus:
    """Reads the published splits.

    Args:
      data: The folder that holds `scitldr/`; see `store.locate`.

    Raises:
      FileNotFoundError, PermissionError: If the files are missing or may not be read.
      ValueError: For a line that cannot be read.
    """
    folder = store.locate(NAME, FILES, data, address=ADDRESS)
    parts, misaligned = [], 0
    for file in FILES:
        with files.naming(folder / file):
            rows = _rows(folder, file)
            misaligned += sum(len(row["source"]) != len(row["rouge_scores"]) for row in rows)
            parts.append(
                tuple(
                    Document(tuple(row["source"]), tuple(row["target"]), row["title"])
                    for row in rows
                )
            )
    note = (
        f"the labels of {misaligned} documents are not those of their sentences; all are recomputed"
    )
    return Corpus(NAME, *parts, notes=(note,))


def _rows(folder: Path, file: str) -> list[dict[str, Any]]:
    path, found = folder / file, []
    for number, line in enumerate(text_of(NAME, path).splitlines(), 1):
        try:
            row = json.loads(line)
            fields = [row[field] for field in ("source", "target", "title", "rouge_scores")]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: line {number} is no row of SciTLDR ({error}).") from error
        if not (fields[0] and fields[1]):
            raise ValueError(f"{path}: line {number} has no sentence or no summary.")
        found.append(row)
    return found


def text_of(name: str, path: Path) -> str:
    """The text of a published file that may be packed as `.gz`.

    Raises:
      PermissionError: For a file that this user may not read.
      ValueError: For damaged files, and for other encodings than UTF-8.
    """
    try:
        return store.read_placed(name, path.parent, path.name).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}); get it again.") from error


DATASET = store.Dataset(
    name=NAME,
    downloads=(),
    describe=lambda data: load(data).described(),
    licence="Apache 2.0",
    citation="Cachola, Lo, Cohan and Weld 2020",
    recipe="summaries --data-set scitldr",
    pictures=None,
    summary="3,229 abstracts of computer science with summaries of one sentence",
    documents=load,
    placed=PLACED,
)
