"""Fashion-MNIST: small grey pictures of clothes, in the form of MNIST.

Xiao, Rasul and Vollgraf, 2017, MIT licence. https://arxiv.org/abs/1708.07747
"""

from metajax.data import idx, store

NAME = "fashion_mnist"
_ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
DOWNLOADS = (
    store.Download(
        "t10k-images-idx3-ubyte.gz",
        f"{_ADDRESS}/t10k-images-idx3-ubyte.gz",
        "md5:bef4ecab320f06d8554ea6380940ec79",
    ),
    store.Download(
        "t10k-labels-idx1-ubyte.gz",
        f"{_ADDRESS}/t10k-labels-idx1-ubyte.gz",
        "md5:bb300cfdad3c16e7a12a480ee83cd310",
    ),
)
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load(part: str = "t10k", data: store.Folder = None) -> idx.Labelled:
    """Reads images `(n, 28, 28)` of bright clothes on a dark ground, and labels `(n,)`.

    Args:
      part: The prefix of the two files: "t10k", the 10,000 published for testing, or "train",
        which must be placed by hand.
      data: The folder that holds `fashion_mnist/`; see `store.locate`.

    Raises:
      FileNotFoundError, PermissionError: If the files are missing or may not be read.
      ValueError: If a file is damaged, or the two do not belong together.
    """
    return idx.load(NAME, part, data)


def _describe(data: store.Folder) -> str:
    return f"{len(load(data=data).labels):,} test pictures of clothes"


def _pictures(data: store.Folder) -> store.Pictures:
    classes = idx.by_class(load(data=data))
    return store.Pictures(list(classes.values()), [CLASSES[label] for label in classes], "bright")


DATASET = store.Dataset(
    name=NAME,
    downloads=DOWNLOADS,
    describe=_describe,
    licence="MIT licence",
    citation="Xiao, Rasul and Vollgraf 2017",
    recipe="",
    pictures=_pictures,
    summary="10,000 pictures of 10 kinds of clothes, Fashion-MNIST's test set",
)
