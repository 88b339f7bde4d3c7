"""Published data sets on disk: where they are, how they are fetched, and how they are read."""

from metajax.data import (
    bccd,
    cifar,
    clinc150,
    fashion_mnist,
    fewrel,
    legal_summarization,
    mnist,
    movietweetings,
    multi30k,
    omniglot,
    restaurants,
    scitldr,
)
from metajax.data.store import Dataset as Dataset
from metajax.data.store import Pictures as Pictures

DATASETS: dict[str, Dataset] = {
    module.DATASET.name: module.DATASET
    for module in (
        *(omniglot, cifar, mnist, fashion_mnist, movietweetings, restaurants),
        *(clinc150, fewrel, scitldr, legal_summarization, multi30k, bccd),
    )
}
"""Every data set by its name; each module exports one `DATASET`."""
