"""Blood smears with boxes of red and white cells and platelets.

Shenggan/BCCD_Dataset, MIT. Place its folder `BCCD`, renamed `bccd`, into the data folder: `Annotations`,
`JPEGImages` and `ImageSets`. The published split is kept; two boxes of no area are left out.
"""

from metajax.data import store
from metajax.data.annotated import Annotated
from metajax.data.box_files import read_boxes
from metajax.data.cut_out import cut_out

NAME = "bccd"
ADDRESS = "https://github.com/Shenggan/BCCD_Dataset"
FOLDERS = "Annotations", "JPEGImages", "ImageSets"
_SIDE = 32
"""Of a cell that is cut out, in pixels."""


def load(data: store.Folder = None) -> Annotated:
    """Reads all pictures and boxes.

    Args:
      data: The folder that holds `bccd/`; see `store.locate`.

    Raises:
      FileNotFoundError, PermissionError: If the folder is missing or may not be read.
      ValueError: For damaged files, and boxes outside of their picture.
    """
    return read_boxes(
        store.locate(NAME, FOLDERS, data, address=ADDRESS), where=NAME, skip_empty=True
    )


def _pictures(data: store.Folder) -> store.Pictures:
    return cut_out(load(data), _SIDE)


def _describe(data: store.Folder) -> str:
    found = load(data)
    number = sum(map(len, found.boxes))
    return f"{len(found.pictures)} pictures with {number:,} boxes of {', '.join(found.names)}"


DATASET = store.Dataset(
    name=NAME,
    downloads=(),
    describe=_describe,
    licence="MIT",
    citation="Shenggan and Cosmic Ray 2017",
    recipe="detection",
    pictures=_pictures,
    summary="364 photographs of blood smears with 4,886 boxes of three kinds of cells",
    boxes=load,
)
