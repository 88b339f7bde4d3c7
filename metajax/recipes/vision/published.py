"""Accuracies of the literature, by data set and learner."""

from typing import TypeAlias

Table: TypeAlias = dict[str, tuple[tuple[str, dict[tuple[int, int], float], str], ...]]
"""By learner: of each paper its name, its accuracies by `(way, shot)`, and its protocol."""

OMNIGLOT: Table = {
    "maml": (
        (
            "MAML, table 1",
            {(5, 1): 98.7, (5, 5): 99.9, (20, 1): 95.8, (20, 5): 98.9},
            "Finn et al. 2017: transductive, random split, 60,000 outer steps, readout mean",
        ),
        (
            "FOMAML, support statistics",
            {(5, 1): 91.8, (5, 5): 98.1, (20, 1): 89.6, (20, 5): 96.4},
            "Bronskill et al. 2020, table 1: inductive, random split",
        ),
    ),
    "fomaml": (
        (
            "FOMAML, all queries together",
            {(5, 1): 98.4, (5, 5): 99.2, (20, 1): 90.9, (20, 5): 96.6},
            "Bronskill et al. 2020, table 1: transductive, random split, best of ten test steps",
        ),
        (
            "FOMAML, support statistics",
            {(5, 1): 91.8, (5, 5): 98.1, (20, 1): 89.6, (20, 5): 96.4},
            "Bronskill et al. 2020, table 1: inductive, random split",
        ),
    ),
    "imaml": (
        (
            "iMAML, gradient descent",
            {(5, 1): 99.16, (5, 5): 99.67, (20, 1): 94.46, (20, 5): 98.69},
            "Rajeswaran et al. 2019, table 2: transductive",
        ),
    ),
    "mamlpp": (
        (
            "MAML++",
            {(5, 1): 99.47, (20, 1): 97.65, (20, 5): 99.33},
            "Antoniou et al. 2019: transductive, mean logits of five checkpoints",
        ),
    ),
    "meta_sgd": (
        (
            "Meta-SGD",
            {(5, 1): 99.53, (5, 5): 99.93},
            "Li et al. 2017: transductive presumably",
        ),
    ),
    "protonet": (
        (
            "ProtoNets, the authors' code rerun",
            {(5, 1): 98.5, (5, 5): 99.6, (20, 1): 94.5, (20, 5): 98.6},
            "Bronskill et al. 2020, table C.1: inductive, Vinyals split, trained 60-way",
        ),
    ),
    "matching": (
        (
            "Matching networks, as MAML's table 1 has them",
            {(5, 1): 98.1, (5, 5): 98.9, (20, 1): 93.8, (20, 5): 98.5},
            "Vinyals et al. 2016: their split, with full context embeddings",
        ),
    ),
    "snail": (
        (
            "SNAIL, table 1",
            {(5, 1): 99.07, (5, 5): 99.78, (20, 1): 97.64, (20, 5): 99.36},
            "Mishra et al. 2018: trained on the classes of Vinyals et al., rotations as classes",
        ),
    ),
    "memory_augmented": (
        (
            "MANN, as MAML's table 1 has it",
            {(5, 1): 82.8, (5, 5): 94.9},
            "Santoro et al. 2016: no convolutions, and a label one step late",
        ),
    ),
    "anil": (
        (
            "ANIL, table 2",
            {(20, 1): 96.2, (20, 5): 98.0},
            "Raghu et al. 2020: transductive presumably, three seeds",
        ),
    ),
    "reptile": (
        (
            "Reptile with transduction",
            {(5, 1): 97.68, (5, 5): 99.48, (20, 1): 89.43, (20, 5): 97.12},
            "Nichol et al. 2018: transductive, trained with 10 shots, 100,000 outer steps",
        ),
        (
            "Reptile",
            {(5, 1): 95.39, (5, 5): 98.9, (20, 1): 88.14, (20, 5): 96.65},
            "Nichol et al. 2018: each query with the support set",
        ),
    ),
}

_TABLE = "Bertinetto et al. 2019, table 1: 64 filters or as many parameters, images without loss"
CIFAR_FS: Table = {
    "maml": (("MAML", {(5, 1): 58.9, (5, 5): 71.5}, _TABLE),),
    "protonet": (("ProtoNets", {(5, 1): 55.5, (5, 5): 72.0}, _TABLE),),
    "relation": (("Relation networks", {(5, 1): 55.0, (5, 5): 69.3}, _TABLE),),
    "r2d2": (("R2-D2, wider network", {(5, 1): 65.3, (5, 5): 79.4}, _TABLE),),
}
