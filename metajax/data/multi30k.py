"""Multi30k: captions of photographs in English, German, French and Czech.

Elliott et al., Workshop on Vision and Language 2016; Elliott et al., WMT 2017; Barrault et al., WMT 2018.
https://github.com/multi30k/dataset; no licence is stated for the texts. Place the files `train`, `val` and
`test_2016_flickr` of `data/task1/raw` in these languages, packed as `.gz` or not, into `multi30k/`.
"""

from pathlib import Path

from metajax.data import store
from metajax.data.translations import Pairs, Translations, apart, read_lines, same_length

NAME = "multi30k"
ADDRESS = "https://github.com/multi30k/dataset/tree/master/data/task1/raw"
TARGET, LANGUAGES = "en", ("de", "fr", "cs")
PARTS = ("train", "val", "test_2016_flickr")
_CHECKSUMS = {
    "train.en": "460a15fbd157e34a7a9957ee388c1ca247fe47af3ef25fb50442af6c274e0fc6",
    "train.de": "2c2b73fd2b548fbcde3a875e0a78d6ee94d498bfdee6bd3eae3945779e9ddf72",
    "train.fr": "5925a3c18f1587b6b54b87743106e6e8ab93618edb6f65d19eac0621f853a10d",
    "train.cs": "2be68b38c8d586ff4f54eb13cc6e1baaaa053695b3f070d3038303a47f2268da",
    "val.en": "1f2a23d992769b5b3d209b0a10dd0b77c08cceb1f20dfb97ed0aafa49d107227",
    "val.de": "660e09eb7e1da2f856ea13ee5ad3cf6d36b3d5b0b733c857e94c5747a3dfc660",
    "val.fr": "5304e444d842e962b2dda4d816b70b22a1765b15401642b7ca37a67477e708dc",
    "val.cs": "d53827e469b0a1ca8d57e9e26b2b64c4bc4b33f5479c7b03ae87ae5c882c3e33",
    "test_2016_flickr.en": "399a4382932c1aadd3ceb9bef1008d388a64c76d4ae4e9d4728c6f4301cac182",
    "test_2016_flickr.de": "4be6b5b3236b79c25475c6bb829800a7ce559e9ba7a1f6c2394fe4d40be46d16",
    "test_2016_flickr.fr": "cb3160d69b002bb638e66cc7612fcd56cb0af82eadc9c142dedc438afb885ef6",
    "test_2016_flickr.cs": "45adb85f688de8407fddcbe1b36dca15d12aab868149b337e2576f2d6d2ff8d8",
}
PLACED = tuple(
    store.Download(file, ADDRESS, f"sha256:{checksum}") for file, checksum in _CHECKSUMS.items()
)
FILES = tuple(file.file for file in PLACED)


def load(data: store.Folder = None) -> Translations:
    """Reads captions into English; every training caption is that of one language alone.

    Args:
      data: The folder that holds `multi30k/`; see `store.locate`.

    Raises:
      FileNotFoundError, PermissionError: If the files are missing or may not be read.
      ValueError: For empty lines, other encodings, and sides of unequal length.
    """
    folder = store.locate(NAME, FILES, data, address=ADDRESS)
    train, val, test = (_part(folder, part) for part in PARTS)
    own = apart(train[TARGET], {language: train[language] for language in LANGUAGES})
    val, test = (
        {language: Pairs(tuple(part[language]), tuple(part[TARGET])) for language in LANGUAGES}
        for part in (val, test)
    )
    return Translations(NAME, TARGET, own, val, test)


def _part(folder: Path, part: str) -> dict[str, list[str]]:
    """The sides of one part by language, all of one length."""

    def lines(language: str) -> list[str]:
        path = folder / f"{part}.{language}"
        return read_lines(path, lambda path: store.read_placed(NAME, folder, path.name))

    found = {language: lines(language) for language in (TARGET, *LANGUAGES)}
    for language in LANGUAGES:
        source, target = (folder / f"{part}.{one}" for one in (language, TARGET))
        same_length(source, target, found[language], found[TARGET])
    return found


DATASET = store.Dataset(
    name=NAME,
    downloads=(),
    describe=lambda data: load(data).described(),
    licence="none stated for the texts; photographs for research alone",
    citation="Elliott et al. 2016; Elliott et al. 2017; Barrault et al. 2018",
    recipe="translation",
    pictures=None,
    summary="31,014 captions of photographs in English, German, French and Czech",
    translations=load,
    placed=PLACED,
)
