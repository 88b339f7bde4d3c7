"""MNIST's handwritten digits.

LeCun, Bottou, Bengio and Haffner, Proceedings of the IEEE 86(11), 1998; the files by LeCun, Cortes
and Burges, who state no licence.
"""

from metajax.data import idx, store

NAME = "mnist"
_ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist"
DOWNLOADS = (
    store.Download(
        "t10k-images-idx3-ubyte.gz",
        f"{_ADDRESS}/t10k-images-idx3-ubyte.gz",
        "md5:9fb629c4189551a2d022fa330f9573f3",
    ),
    store.Download(
        "t10k-labels-idx1-ubyte.gz",
        f"{_ADDRESS}/t10k-labels-idx1-ubyte.gz",
        "md5:ec29112dd5afa0611ce80d1b7f02629c",
    ),
)


def load(part: str = "t10k", data: store.Folder = None) -> idx.Labelled:
    """Reads images `(n, 28, 28)` of bright ink on a dark ground, and labels `(n,)`.

    Args:
      part: The prefix of the two files: "t10k", the 10,000 that MNIST publishes for testing, or
        "train", which must be placed by hand.
      data: The folder that holds `mnist/`; see `store.locate`.

    Raises:
      FileNotFoundError, PermissionError: If the files are missing or may not be read.
      ValueError: If a file is damaged, or the two do not belong together.
    """
    return idx.load(NAME, part, data)


def _describe(data: store.Folder) -> str:
    return f"{len(load(data=data).labels):,} test digits"


def _pictures(data: store.Folder) -> store.Pictures:
    classes = idx.by_class(load(data=data))
    return store.Pictures(list(classes.values()), [str(label) for label in classes], "bright")


DATASET = store.Dataset(
    name=NAME,
    downloads=DOWNLOADS,
    describe=_describe,
    licence="no licence stated",
    citation="LeCun, Cortes and Burges",
    recipe="optimizer --source mnist",
    pictures=_pictures,
    summary="10,000 handwritten digits, MNIST's test set",
)
