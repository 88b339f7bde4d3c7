"""Passages of contracts with summaries in plain English.

Manor and Li, Natural Legal Language Processing Workshop 2019.
https://github.com/lauramanor/legal_summarization, Apache 2.0. Place `all_v1.json`, packed as `.gz` or not, into
`legal_summarization/`. There is no published split: three of five passages are for training, one for validation
and one for test, drawn once.
"""

import json

import numpy as np

from metajax import files
from metajax.data import store
from metajax.data.documents import Corpus, Document, sentences_of
from metajax.data.scitldr import text_of

NAME = "legal_summarization"
ADDRESS = "https://github.com/lauramanor/legal_summarization"
PLACED = (
    store.Download(
        "all_v1.json",
        ADDRESS,
        "sha256:062e2e176b10e08e2b56c1675a64f5a5ddaac537d84bd68a92257015f46797fd",
    ),
)
FILES = tuple(file.file for file in PLACED)


def load(data: store.Folder = None) -> Corpus:
    """Reads all passages.

    Args:
      data: The folder that holds `legal_summarization/`; see `store.locate`.

    Raises:
      FileNotFoundError, PermissionError: If the file is missing or may not be read.
      ValueError: For a file that cannot be read.
    """
    folder = store.locate(NAME, FILES, data, address=ADDRESS)
    path = folder / FILES[0]
    with files.naming(path):
        text = text_of(NAME, path)
        try:
            rows = list(json.loads(text).values())
            read = [
                Document(sentences_of(row["original_text"]), (row["reference_summary"],))
                for row in rows
            ]
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} is not the published file ({error!r}); get it again."
            ) from error
        return shuffled(NAME, read)


def shuffled(name: str, documents: list[Document], seed: int = 0) -> Corpus:
    """Returns documents without a published split, three to one to one.

    Raises:
      ValueError: For fewer than 20 documents.
    """
    if len(documents) < 20:
        raise ValueError(f"{name}: {len(documents)} documents; at least 20 are needed.")
    order = np.random.default_rng(seed).permutation(len(documents))
    first, second = 3 * len(order) // 5, 4 * len(order) // 5
    parts = (
        tuple(documents[i] for i in part)
        for part in (order[:first], order[first:second], order[second:])
    )
    return Corpus(name, *parts)


DATASET = store.Dataset(
    name=NAME,
    downloads=(),
    describe=lambda data: load(data).described(),
    licence="Apache 2.0",
    citation="Manor and Li 2019",
    recipe="summaries --data-set legal_summarization",
    pictures=None,
    summary="446 passages of contracts with summaries in plain English",
    documents=load,
    placed=PLACED,
)
