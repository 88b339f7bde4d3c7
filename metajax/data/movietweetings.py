"""MovieTweetings: film ratings that people posted on Twitter, the snapshot of 100,000.

Dooms, De Pessemier and Martens, CrowdRec workshop at RecSys 2013.
https://github.com/sidooms/MovieTweetings, MIT. Place `ratings.dat` and `movies.dat` of snapshots/100K, or
both packed as `.gz`, into `movietweetings/`.
"""

from metajax.data import store
from metajax.data.rating_files import read_ratings
from metajax.data.ratings import Ratings

NAME = "movietweetings"
ADDRESS = "https://github.com/sidooms/MovieTweetings/tree/master/snapshots/100K"
PLACED = (
    store.Download(
        "ratings.dat",
        ADDRESS,
        "sha256:c0dd868c2632d10002ebc928ddc5345f33adeaa59eca52c2941c26a2c5e36fd6",
    ),
    store.Download(
        "movies.dat",
        ADDRESS,
        "sha256:e63fb84bc734e3c574f135634a40d3cbafab22b8f94f5fc0b80f80d1d2076efc",
    ),
)
SCALE = 0.0, 10.0


def load(data: store.Folder = None) -> Ratings:
    """Reads ratings from 0 to 10 with times, and films with genres and years.

    Args:
      data: The folder that holds `movietweetings/`; see `store.locate`.

    Raises:
      FileNotFoundError, PermissionError: If the files are missing or may not be read.
      ModuleNotFoundError: Without polars.
      ValueError: For lines that cannot be read.
    """
    folder = store.locate(NAME, [file.file for file in PLACED], data, address=ADDRESS)
    return read_ratings(folder, SCALE)._replace(name=NAME)


DATASET = store.Dataset(
    name=NAME,
    downloads=(),
    describe=lambda data: load(data).described(),
    licence="MIT",
    citation="Dooms, De Pessemier and Martens 2013",
    recipe="ratings --data-set movietweetings",
    pictures=None,
    summary="100,000 ratings of 10,506 films by 16,554 users",
    ratings=load,
    placed=PLACED,
)
