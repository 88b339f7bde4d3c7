"""FewRel: which relation a sentence states between two marked entities, from Wikipedia and elsewhere.

Han et al., EMNLP 2018; Gao et al., EMNLP 2019. https://github.com/thunlp/FewRel, MIT. Place the files of its
folder data, or packed as `.gz`, into `fewrel/`: `val_wiki.json`, `val_pubmed.json`, `val_semeval.json`, and
`train_wiki.json` where there is one.
"""

from pathlib import Path

from metajax import files
from metajax.data import store
from metajax.data.clinc150 import read_json
from metajax.data.sentences import Sentences

NAME = "fewrel"
ADDRESS = "https://github.com/thunlp/FewRel/tree/master/data"
PLACED = (
    store.Download(
        "val_wiki.json",
        ADDRESS,
        "sha256:76bb44c2485b6faed358a3ce040eadafcc8a8835245cd7e6afc1bef672d4a0bf",
    ),
    store.Download(
        "val_pubmed.json",
        ADDRESS,
        "sha256:fc0f13b534f6664fe0d8aec231d7590313bc6510d00dbc1b6746147f6a2b46e6",
    ),
    store.Download(
        "val_semeval.json",
        ADDRESS,
        "sha256:fd79cf35481f6596c23b92cd3ded3265481f3027a4b78d99921104f8fe632eb5",
    ),
)
FILES = tuple(file.file for file in PLACED)
MORE = "train_wiki.json"
MARKS = ("headentity", "tailentity")
"""What entities are masked by."""


def load(data: store.Folder = None, *, masked: bool = True) -> Sentences:
    """Reads sentences by relation; their domains are wiki, pubmed and semeval.

    Args:
      data: The folder that holds `fewrel/`; see `store.locate`.
      masked: Whether the entities are replaced by `MARKS`. Their names recur within a relation, so that
        plain sentences ask in part for the names.

    Raises:
      FileNotFoundError, PermissionError: If the files are missing or may not be read.
      ValueError: For a damaged file.
    """
    folder = store.locate(NAME, FILES, data, address=ADDRESS)
    with files.naming(folder / FILES[0]):
        more = [folder / MORE] if any((folder / f).exists() for f in (MORE, f"{MORE}.gz")) else []
        texts, labels, domains = [], [], []
        for path in (*more, *(folder / file for file in FILES)):
            for relation, examples in read_json(NAME, path).items():
                for example in examples:
                    texts.append(_text(path, example, masked))
                    labels.append(relation)
                    domains.append(path.stem.split("_")[1])
        return Sentences(NAME, texts, labels, domains)


def _text(path: Path, example: dict, masked: bool) -> str:
    """The tokens of a sentence; the first token of a masked entity is its mark, and the rest is left out."""
    try:
        tokens = list(example["tokens"])
        places = [example[end][2] for end in ("h", "t")]
        for mark, spans in zip(MARKS, places, strict=True):
            for span in spans if masked else ():
                for i in span:
                    tokens[i] = mark if i == span[0] else ""
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"{NAME}: {path} holds a sentence without tokens, h or t; copy it again."
        ) from error
    return " ".join(token for token in tokens if token)


def _describe(data: store.Folder) -> str:
    found = load(data)
    parts = (
        f"{len(of.texts):,} of {len(set(of.labels))} relations ({domain})"
        for domain in dict.fromkeys(found.domains)
        for of in [found.of([domain])]
    )
    return f"sentences: {', '.join(parts)}"


DATASET = store.Dataset(
    name=NAME,
    downloads=(),
    describe=_describe,
    licence="MIT licence",
    citation="Han et al. 2018; Gao et al. 2019",
    recipe="relations",
    pictures=None,
    summary="relations between two entities in sentences of Wikipedia, medicine and SemEval",
    sentences=load,
    placed=PLACED,
)
