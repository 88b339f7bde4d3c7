"""Every kind of file that metajax reads: a whole small one, and its reader. A new reader is one row."""

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Reader(NamedTuple):
    """A reader of files.

    name: For the table.
    file: The file that is damaged, below the folder.
    make: Writes whole files into a folder.
    read: The folder to what was read, compared where `is_checked`.
    is_checked: Whether the format has checksums, so that nothing but the whole content may be read.
    """

    name: str
    file: str
    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    is_checked: bool = False


def readers(cache: Path) -> Iterator[Reader]:
    """All rows; `cache` is the user's cache in this process."""
    yield from _of_runs()
    yield from _of_pictures(cache)
    yield from _of_ratings()
    yield from _of_text()
    yield from _of_boxes()


def _bits(tree: Any) -> str:
    """A digest of a tree: its structure, and the type and bytes of every leaf."""
    import jax

    leaves, structure = jax.tree.flatten(tree)
    found = hashlib.sha256(str(structure).encode())
    for leaf in leaves:
        array = np.asarray(leaf)
        found.update(f"{type(leaf).__name__} {array.dtype} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def _of_runs() -> Iterator[Reader]:
    import jax
    import jax.numpy as jnp

    import metajax as mj
    from metajax import recipes
    from metajax.cli import sweep
    from metajax.recipes import run
    from metajax.recipes.synthetic.sinusoid import Sinusoid
    from metajax.train import checkpoint, records, run_dir

    tree = {
        "step": jnp.int32(3),
        "meta_params": {"w": jnp.arange(12.0).reshape(3, 4), "b": [1, None]},
    }
    optimizer = mj.optimizers.mlp(hidden=2)
    settings = {
        "settings": recipes.to_json(Sinusoid()),
        "fit": {"key": [0, 1], "key_impl": "threefry2x32", "meta_batch": 4, "report_every": 2},
        "versions": records.versions(),
    }
    swept = {
        "settings": recipes.to_json(Sinusoid()),
        "seeds": 2,
        "jobs": None,
        "report_every": None,
    }
    swept["grid"] = ["inner_rate=0.01,0.03"]
    rows = [{"step": step, "loss": 0.5, "gradient_norm": 1.0} for step in range(1, 6)]

    def write(name, value):
        return lambda folder: (folder / name).write_text(json.dumps(value, indent=2))

    def lines(name, values):
        text = "".join(json.dumps(value) + "\n" for value in values)
        return lambda folder: (folder / name).write_text(text)

    yield Reader(
        "checkpoint",
        "3.npz",
        lambda folder: checkpoint.save(folder, 3, tree),
        lambda folder: _bits(checkpoint.restore(folder, tree)),
        True,
    )
    yield Reader(
        "saved tree",
        "tree.npz",
        lambda folder: mj.save(folder / "tree.npz", tree),
        lambda folder: _bits(mj.load(folder / "tree.npz")),
        True,
    )
    yield Reader(
        "learned optimiser",
        "optimizer.npz",
        lambda folder: mj.optimizers.export(
            folder / "optimizer.npz", optimizer, optimizer.init(jax.random.key(0))
        ),
        lambda folder: _bits(mj.optimizers.read(folder / "optimizer.npz")[1]),
        True,
    )
    yield Reader(
        "settings",
        "settings.json",
        write("settings.json", settings),
        lambda folder: run.settings_of(folder) and None,
    )
    yield Reader(
        "sweep",
        "sweep.json",
        write("sweep.json", swept),
        lambda folder: sweep.read(folder) and None,
    )
    yield Reader(
        "metrics",
        "metrics.jsonl",
        lines("metrics.jsonl", rows),
        lambda folder: records.read_metrics(folder) and None,
    )
    yield Reader(
        "sums of a window",
        "window.json",
        write("window.json", {"3": {"window": [1.0, 2.0, 3], "seconds": 4.0}}),
        lambda folder: run_dir.RunDir(folder).window(3) and None,
    )
    yield Reader(
        "failure",
        "failure.json",
        write("failure.json", {"step": 3, "task": 1, "reason": "..."}),
        lambda folder: records.read_failure(folder) and None,
    )


def _picture(form: str, seed: int = 0, size: int = 20, mode: str = "L") -> bytes:
    from PIL import Image

    shape = (size, size, 3) if mode == "RGB" else (size, size)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    packed = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(packed, form)
    return packed.getvalue()


def _of_pictures(cache: Path) -> Iterator[Reader]:
    from metajax.data import cifar, idx, omniglot
    from metajax.data import folder as folders

    for form in ("png", "jpeg", "gif", "webp", "bmp", "tiff"):
        name = f"b/2.{form}"

        def make(folder, form=form, name=name):
            for of_class in "ab":
                (folder / of_class).mkdir()
                for number in (1, 2):
                    content = _picture(form, number, mode="L" if form == "gif" else "RGB")
                    (folder / of_class / f"{number}.{form}").write_bytes(content)

        yield Reader(f"folder of {form}", name, make, lambda folder: folders.read(folder) and None)

    def write_idx(folder):
        pixels = bytes([0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 4, 0, 0, 0, 4]) + bytes(range(80))
        (folder / "images.gz").write_bytes(gzip.compress(pixels))

    yield Reader(
        "IDX", "images.gz", write_idx, lambda f: idx.read("mnist", f / "images.gz").sum() and None
    )

    # The published archives are large; small ones of the same form take their place.
    cifar._PARTS = {"train.bin": 100, "test.bin": 100}
    cifar.PER_CLASS = 2
    yield Reader(
        "CIFAR-100", f"cifar_fs/{cifar.ARCHIVE}", _write_cifar, lambda f: cifar.load(f) and None
    )
    omniglot._CHARACTERS = {"images_background": 2, "images_evaluation": 1}
    omniglot.DRAWINGS = 2

    def decoded(folder):
        for path in (cache / "metajax").glob("omniglot*"):
            _remove(path)
        omniglot.load(folder)

    zipped = "omniglot/images_background.zip"
    yield Reader("Omniglot", zipped, _write_omniglot, decoded)

    def cached(folder):
        """The cache is damaged where it is; the drawings are the same whatever it holds."""
        place = cache / "metajax" / "omniglot_28x28_lanczos.npz"
        kept = folder / "cache.npz"
        place.parent.mkdir(parents=True, exist_ok=True)
        _remove(place)
        if kept.exists() or kept.is_symlink():
            kept.rename(place)
        return _bits(omniglot.load(folder).images)

    def write_cached(folder):
        _write_omniglot(folder)
        omniglot.load(folder)
        place = cache / "metajax" / "omniglot_28x28_lanczos.npz"
        (folder / "cache.npz").write_bytes(place.read_bytes())

    yield Reader("cache of Omniglot", "cache.npz", write_cached, cached, True)


def _of_boxes() -> Iterator[Reader]:
    from metajax.data.box_files import read_boxes

    coco = {
        "images": [{"id": 1, "file_name": "1.png"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [2, 3, 4, 5]}],
        "categories": [{"id": 1, "name": "cell"}],
    }
    corners = "<xmin>2</xmin><ymin>3</ymin><xmax>6</xmax><ymax>8</ymax>"
    voc = (
        "<annotation><filename>1.png</filename><object><name>cell</name>"
        f"<bndbox>{corners}</bndbox></object></annotation>"
    )
    for name, file, text in (
        ("COCO", "boxes.json", json.dumps(coco)),
        ("Pascal VOC", "Annotations/1.xml", voc),
    ):

        def make(folder, file=file, text=text):
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(text)
            (folder / "1.png").write_bytes(_picture("png", mode="RGB"))

        yield Reader(name, file, make, lambda folder: read_boxes(folder) and None)


def _remove(path: Path) -> None:
    """Removes whatever an input has put there."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _write_cifar(folder: Path) -> None:
    from metajax.data import cifar

    record = np.random.default_rng(0).integers(0, 256, (200, cifar._RECORD), np.uint8)
    record[:, 0], record[:, 1] = np.arange(200) % 20, np.arange(200) % 100
    files = {
        "train.bin": record[:100].tobytes(),
        "test.bin": record[100:].tobytes(),
        "fine_label_names.txt": "\n".join(f"class{i}" for i in range(100)).encode(),
        "coarse_label_names.txt": "\n".join(f"group{i}" for i in range(20)).encode(),
    }
    path = folder / "cifar_fs" / cifar.ARCHIVE
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{cifar.FOLDER}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _write_omniglot(folder: Path) -> None:
    from metajax.data import omniglot

    (folder / "omniglot").mkdir()
    for part, number in omniglot._CHARACTERS.items():
        with zipfile.ZipFile(
            folder / "omniglot" / f"{part}.zip", "w", zipfile.ZIP_DEFLATED
        ) as archive:
            for character in range(number):
                for drawing in range(omniglot.DRAWINGS):
                    name = f"{part}/Greek/character{character:02}/{character:04}_{drawing:02}.png"
                    archive.writestr(name, _picture("png", drawing, 105, "1"))


def _texts(**files: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for name, text in files.items():
            path = folder / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            content = text.encode()
            path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)

    return make


def _of_ratings() -> Iterator[Reader]:
    from metajax.data.rating_files import read_ratings
    from metajax.recipes.recommendation.own import read_own

    users = [(u, i, 1 + (u * i) % 5, 1000 + u) for u in range(1, 9) for i in range(1, 6)]
    table = "user,item,rating,time\n" + "".join(f"{u},{i},{r},{t}\n" for u, i, r, t in users)
    items = "item,title,genres,year\n" + "".join(
        f"{i},Film {i} (199{i}),A|B,199{i}\n" for i in range(1, 6)
    )
    tabs = "".join(f"{u}\t{i}\t{r}\t{t}\n" for u, i, r, t in users)
    colons = "".join(f"{u}::{i}::{r}::{t}\n" for u, i, r, t in users)
    films = "".join(f"{i}::Film {i} (199{i})::Drama|War\n" for i in range(1, 6))
    genres = "|".join("01" * 9 + "0")
    films_100k = "".join(
        f"{i}|Film {i} (199{i})|01-Jan-199{i}||http|{genres}\n" for i in range(1, 6)
    )
    rows = (
        ("table of ratings", "mine.csv", {"mine.csv": table, "items.csv": items}, "mine.csv"),
        ("packed table of ratings", "mine.csv.gz", {"mine.csv.gz": table}, "mine.csv.gz"),
        ("table of items", "items.csv", {"mine.csv": table, "items.csv": items}, "mine.csv"),
        ("MovieLens 100k", "u.data", {"u.data": tabs, "u.item": films_100k}, "u.data"),
        ("films of MovieLens 100k", "u.item", {"u.data": tabs, "u.item": films_100k}, "u.data"),
        (
            "MovieLens 1m",
            "ratings.dat",
            {"ratings.dat": colons, "movies.dat": films},
            "ratings.dat",
        ),
    )
    for name, file, files, read in rows:
        make = _texts(**{k.replace(".", "_DOT_"): v for k, v in files.items()})
        yield Reader(name, file, make, lambda f, read=read: read_ratings(f / read) and None)
    own = _texts(own_DOT_csv="item,rating\nFilm 1,5\nFilm 2,3\n")
    yield Reader("own ratings", "own.csv", own, lambda f: read_own(f / "own.csv") and None)


def _of_text() -> Iterator[Reader]:
    from metajax.data import clinc150, fewrel, legal_summarization, scitldr
    from metajax.data.documents import read_documents
    from metajax.data.sentence_files import read_sentences
    from metajax.data.translations import read_pairs

    sides = {"mine_DOT_nl": "een zin\nnog een\n", "mine_DOT_en": "a sentence\nanother\n"}
    yield Reader(
        "pairs of sentences",
        "mine.nl",
        _texts(**sides),
        lambda f: read_pairs(f / "mine.nl", f / "mine.en") and None,
    )
    rows = [{"text": f"word{i} and more", "label": f"l{i % 3}", "domain": "d"} for i in range(9)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    table = "text,label,domain\n" + "".join(f'"{r["text"]}",{r["label"]},d\n' for r in rows)
    for name, text in (("mine.jsonl", lines), ("mine.csv", table), ("mine.jsonl.gz", lines)):
        make = _texts(**{name.replace(".", "_DOT_"): text})
        yield Reader(
            f"sentences {name}", name, make, lambda f, name=name: read_sentences(f / name) and None
        )
    documents = "".join(
        json.dumps({"document": f"One {i}. Two.", "summary": ["One."], "title": "t"}) + "\n"
        for i in range(5)
    )
    yield Reader(
        "documents",
        "mine.jsonl",
        _texts(mine_DOT_jsonl=documents),
        lambda f: read_documents(f / "mine.jsonl") and None,
    )
    parts = {part: [[f"text {i}", f"i{i % 2}"] for i in range(4)] for part in clinc150.PARTS}
    parts |= {f"oos_{part}": [["other", "oos"]] for part in clinc150.PARTS}
    yield Reader(
        "CLINC150",
        "clinc150/data_full.json",
        _texts(
            clinc150__data_full_DOT_json=json.dumps(parts),
            clinc150__domains_DOT_json=json.dumps({"banking": ["i0"], "travel": ["i1"]}),
        ),
        lambda f: clinc150.load(f) and None,
    )
    sentence = {"tokens": ["a", "b", "c"], "h": ["a", "1", [[0]]], "t": ["c", "2", [[2]]]}
    relations = json.dumps({f"P{i}": [sentence, sentence] for i in range(3)})
    names = {f"fewrel__{file.replace('.', '_DOT_')}": relations for file in fewrel.FILES}
    yield Reader(
        "FewRel", f"fewrel/{fewrel.FILES[0]}", _texts(**names), lambda f: fewrel.load(f) and None
    )
    row = {"source": ["One.", "Two."], "target": ["One."], "title": "t", "rouge_scores": [1, 2]}
    abstracts = "".join(json.dumps(row) + "\n" for _ in range(4))
    names = {f"scitldr__{file.replace('.', '_DOT_')}": abstracts for file in scitldr.FILES}
    yield Reader(
        "SciTLDR",
        f"scitldr/{scitldr.FILES[0]}",
        _texts(**names),
        lambda f: scitldr.load(f) and None,
    )
    (file,) = legal_summarization.FILES
    passages = {
        str(i): {"original_text": "One. Two.", "reference_summary": "One."} for i in range(30)
    }
    yield Reader(
        "legal summarization",
        f"legal_summarization/{file}",
        _texts(**{f"legal_summarization__{file.replace('.', '_DOT_')}": json.dumps(passages)}),
        lambda f: legal_summarization.load(f) and None,
    )
