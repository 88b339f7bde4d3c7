"""Few-shot intents and relations, whole domains unseen: learners beside baselines that are fair."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import record

from metajax.recipes.language.intents import Intents
from metajax.recipes.language.relations import Relations
from rows.table import NOT_RUN, Page, Section, lines, version_of

SEEDS = (0, 1, 2)
TASKS = 600
SIZES = ((15, 5), (5, 1), (15, 1), (5, 5))


class Study(NamedTuple):
    """What is trained once for each seed and learner, and judged on tasks of several sizes.

    settings: Of the recipe, without learner and seed.
    learners: Names to settings of their own.
    sizes: Way and shot of the test tasks; a learner with an output for each class takes its own alone.
    seeds: Of training.
    """

    settings: Intents | Relations
    learners: Mapping[str, Mapping[str, Any]]
    sizes: tuple[tuple[int, int], ...] = SIZES
    seeds: tuple[int, ...] = SEEDS


TRAINED = Intents(way=15, shot=5, train_way=15, meta_batch=4, outer_steps=120)
OTHERS: dict[str, dict[str, Any]] = {
    "r2d2": {},
    "r2d2, 1 shot": {"shot": 1},
    "r2d2, start": {"outer_steps": 0},
    "protonet": {"learner": "protonet"},
    "lrd2": {"learner": "lrd2"},
    "anil": {"learner": "anil"},
    "maml": {"learner": "maml"},
    "r2d2, Transformer": {"encoder": "tokens"},
}
OF_RELATIONS: dict[str, dict[str, Any]] = {"r2d2": {}, "r2d2, start": {"outer_steps": 0}}
WORDLLAMA: dict[str, Any] = {"encoder": "vectors", "vectors": "wordllama"}
STUDIES: dict[str, Study] = {
    "intents": Study(TRAINED, OTHERS),
    "intents_second": Study(Intents(**{**vars(TRAINED), "split": "second"}), {"r2d2": {}}),
    "intents_domains": Study(
        TRAINED,
        {
            f"r2d2, start, {n} training domain{'s' * (n > 1)}": {
                "train_domains": n,
                "outer_steps": 0,
            }
            for n in (1, 2, 4, 6)
        },
        ((15, 5),),
        seeds=(0,),
    ),
    "intents_vectors": Study(
        Intents(**{**vars(TRAINED), **WORDLLAMA}), {"r2d2": {}, "r2d2, 1 shot": {"shot": 1}}
    ),
    "intents_both": Study(
        Intents(**{**vars(TRAINED), **WORDLLAMA, "encoder": "vectors_ngrams"}),
        {"r2d2": {}, "r2d2, 1 shot": {"shot": 1}, "r2d2, start": {"outer_steps": 0}},
    ),
    "relations": Study(
        Relations(way=5, shot=5, train_way=5, meta_batch=4), OF_RELATIONS, ((5, 1), (5, 5))
    ),
    "relations_plain": Study(
        Relations(way=5, shot=5, train_way=5, meta_batch=4, entities="plain"),
        OF_RELATIONS,
        ((5, 1), (5, 5)),
    ),
}
TITLES = {
    "intents": "Intents, without pretraining",
    "intents_second": "Intents, other domains",
    "intents_domains": "Intents, fewer training domains",
    "intents_vectors": "Intents, frozen vectors",
    "intents_both": "Intents, frozen vectors beside n-grams",
    "relations": "Relations, entities masked",
    "relations_plain": "Relations, plain",
}


def read(study: str) -> dict[str, Any] | None:
    """The result of a study."""
    return record.read(f"language_{study}")


def cell(pair: tuple[float, float], *, signed: bool = False) -> str:
    """A mean and half its interval; a difference that the interval tells from 0 is bold."""
    mean, interval = pair
    shown = f"{mean:{'+' if signed else ''}.1f} ± {interval:.1f}"
    return f"**{shown}**" if signed and abs(mean) > interval else shown


def tables(study: str) -> str:
    """Accuracy of every row and size, by domain, with differences, and AUROC."""
    result = read(study)
    if result is None:
        return f"{NOT_RUN}: `python benchmarks/language.py {study}`"
    head = (
        f"{result['tasks']:,} tasks of each size. Best baseline: the one with the highest mean of those "
        f"without training, of each size by itself. Measured with metajax {version_of(result)}."
    )
    names = list(STUDIES[study].learners)

    def order(name: str) -> int:
        """Learners as they are listed, and then the baselines, as they were measured."""
        return names.index(name) if name in names else len(names)

    parts = [head, *([ANALYSES[study]] if study in ANALYSES else [])]
    for size, found in result["sizes"].items():
        domains = found["domains"]
        titles = [
            f"{size}, accuracy %",
            "seeds",
            "all",
            *domains,
            f"above {found['best']}",
            "AUROC",
        ]
        rows = [
            [
                name,
                f"{len(row['seeds'])}" if name in result["learners"] else "",
                cell(row["all"]),
                *(cell(row["domains"][domain]) for domain in domains),
                "" if name == found["best"] else cell(row["difference"], signed=True),
                "" if row["auroc"] is None else cell(row["auroc"]),
            ]
            for name, row in sorted(found["rows"].items(), key=lambda pair: order(pair[0]))
        ]
        parts.append(lines(titles, rows))
    for way, shot in STUDIES[study].sizes:
        if f"{way}w{shot}s" not in result["sizes"]:
            parts.append(f"{way}w{shot}s: {NOT_RUN}")
    for name in STUDIES[study].learners:
        if name not in result["learners"]:
            parts.append(f"{name}: {NOT_RUN}")
    return "\n\n".join(parts)


INTENTS = (
    "`r2d2, start` is the network before meta-training: TF-IDF beside Fisher's discriminants of the training "
    "classes, which have seen the labels of the training domains in closed form; `r2d2` is meta-trained from "
    "there. Both are significantly above the best untrained learner at every size, and training adds a little "
    "to the start, but the gains are a third of the aim of 1.5 points with five sentences, and an eighth of 3 "
    "points with one. What transfers between domains is little: a sentence of a new domain has words that "
    "training has not seen, and the discriminants count for less in it. A Transformer of words, trained on "
    "13,500 sentences alone, does not come near n-grams. `lrd2` and `protonet` read the same features; with "
    "five sentences both gain less, with one of five classes `lrd2` gains about as much."
)

RELATIONS = (
    "Trained on 11 relations of Wikipedia, and tested on text of other kinds. Meta-training gains nothing, and "
    "loses a little with one sentence. The discriminants are of words of Wikipedia, of which biomedical "
    "sentences have few, and there is one domain of training, from which a learner cannot see what carries "
    "over to another. Entities that are not masked make relations easier, because their names recur in one: "
    "compare the two tables."
)
VECTORS = (
    "Vectors are centred by the mean of training sentences. Their map starts at the identity, and is trained "
    "at a tenth of the step size of n-grams. With one sentence of each class, and with five of five classes, "
    "the trained learner is significantly above all that are untrained; with five of fifteen classes, logistic "
    "regression is ahead by less than half a point."
)
BOTH = (
    "N-grams know words that vectors take for others, and vectors know words that are like each other: every "
    "learner is above itself on n-grams alone and on vectors alone. Meta-training is significantly above the "
    "best untrained learner with one sentence, and with five of five classes; with five of fifteen it is level "
    "with logistic regression on the same features. The share of n-grams was chosen on validation domains, and "
    "is learned."
)
ANALYSES = {
    "intents": INTENTS,
    "relations": RELATIONS,
    "intents_vectors": VECTORS,
    "intents_both": BOTH,
}

PAGE = Page(
    "Language",
    "Few-shot classification of sentences whose classes and domains are not in training. All classes of a task "
    "are of one domain, which is harder than a mixture of domains. 10 queries a class. Every row has the same "
    "tasks; intervals are over tasks, after the mean over seeds, and differences are paired by task. Inverse "
    "frequencies come from training text alone. Baselines are tuned on 100 validation tasks of each size: the "
    "strength of logistic regression (scikit-learn's objective) and the ridge of `r2d2`. AUROC is that of the "
    "greatest logit, of queries against 50 sentences without any intent. First split: validation work; test "
    "banking, credit_cards, travel. Second: validation utility; test auto_and_commute, kitchen_and_dining "
    "and work. "
    "Relations train on 11 relations of Wikipedia and validate on 5. Reproduce with "
    "`python benchmarks/language.py STUDY`.",
    tuple(Section(title, lambda study=study: tables(study)) for study, title in TITLES.items()),
)
