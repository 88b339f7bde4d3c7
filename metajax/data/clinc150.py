"""CLINC150: sentences to an assistant, 150 intents in ten domains, and some that have no intent.

Larson et al., EMNLP 2019. https://github.com/clinc/oos-eval, CC BY 3.0. Place `data_full.json` and
`domains.json` of its folder data, or both packed as `.gz`, into `clinc150/`.
"""

import json
from pathlib import Path

from metajax import files
from metajax.data import store
from metajax.data.sentences import Sentences

NAME = "clinc150"
ADDRESS = "https://github.com/clinc/oos-eval/tree/master/data"
PLACED = (
    store.Download(
        "data_full.json",
        ADDRESS,
        "sha256:36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0",
    ),
    store.Download(
        "domains.json",
        ADDRESS,
        "sha256:b947b579d3b8e74b06f93b01083d8efaff2888b43a3e362533bd88a6e1211b3a",
    ),
)
FILES = tuple(file.file for file in PLACED)
PARTS = ("train", "val", "test")
SPLITS = {
    "first": (("work",), ("banking", "credit_cards", "travel")),
    "second": (("utility",), ("auto_and_commute", "kitchen_and_dining", "work")),
}
"""Domains for validation and test; all others are for training."""


def load(data: store.Folder = None) -> Sentences:
    """Reads all sentences of the three parts as one, and those without an intent.

    The published parts divide the sentences of every intent, which episodes do anew.

    Args:
      data: The folder that holds `clinc150/`; see `store.locate`.

    Raises:
      FileNotFoundError, PermissionError: If the files are missing or may not be read.
      ValueError: For a damaged file, or an intent without a domain.
    """
    folder = store.locate(NAME, FILES, data, address=ADDRESS)
    with files.naming(folder / FILES[0]):
        found, domains = (read_json(NAME, folder / file) for file in FILES)
        domain_of = {intent: domain for domain, intents in domains.items() for intent in intents}
        rows = [(text, intent) for part in PARTS for text, intent in found[part]]
        unknown = sorted({intent for _, intent in rows} - set(domain_of))
        if unknown:
            raise ValueError(
                f"{NAME}: domains.json in {folder} has no domain for {', '.join(unknown)}."
            )
        outside = [text for part in PARTS for text, _ in found[f"oos_{part}"]]
        texts, intents = (list(column) for column in zip(*rows, strict=True))
        return Sentences(NAME, texts, intents, [domain_of[i] for i in intents], outside)


def read_json(name: str, path: Path):
    """Reads a published file of JSON, or the same packed as `.gz`.

    Raises:
      PermissionError: For a file that this user may not read.
      ValueError: For a damaged file.
    """
    with files.naming(path):
        content = store.read_placed(name, path.parent, path.name)
        try:
            return json.loads(content)
        except ValueError as error:  # of JSON or of UTF-8
            raise ValueError(f"{name}: {path} is damaged ({error}); copy it again.") from error


def _describe(data: store.Folder) -> str:
    found = load(data)
    return (
        f"{len(found.texts):,} sentences of {len(set(found.labels))} intents in "
        f"{len(set(found.domains))} domains, and {len(found.outside):,} without an intent"
    )


DATASET = store.Dataset(
    name=NAME,
    downloads=(),
    describe=_describe,
    licence="CC BY 3.0",
    citation="Larson et al. 2019",
    recipe="intents",
    pictures=None,
    summary="22,500 sentences to an assistant, 150 intents in 10 domains",
    sentences=load,
    placed=PLACED,
)
