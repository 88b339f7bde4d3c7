"""Cold start on real ratings: learners beside baselines that are fair."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import record

from metajax.recipes.recommendation.baselines import FAIR
from metajax.recipes.recommendation.ratings import Ratings
from rows.table import NOT_RUN, Page, Section, lines

SPLITS, SEEDS = (0, 1, 2), (0, 1, 2)


class Study(NamedTuple):
    """What is trained once for each split, seed and learner, and where it is tested.

    settings: Of the recipe, without learner and seeds.
    scenarios: Names to the settings that differ in test tasks; the first one's statistics are what
      learners read.
    learners: Their names, and settings of their own.
    seeds: Of training.
    """

    settings: Ratings
    scenarios: Mapping[str, Mapping[str, Any]]
    learners: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...] = SEEDS


LEARNERS: dict[str, dict[str, Any]] = {
    "zero_step": {},
    "bias": {},
    "anil": {},
    "melu": {},
    "ridge": {},
    "neural_process": {},
}
FILMS = Ratings(data_set="movietweetings")
GENRES = ("Horror", "Sci-Fi", "Fantasy", "Romance")


def _cross(settings: Ratings, *target: str) -> Study:
    across = {"scenario": "cross", "target": target}
    return Study(
        settings,
        {
            "supports of the source": {**across, "support_from": "source"},
            "supports of the target": {**across, "support_from": "target"},
        },
        {"neural_process": {}},
    )


STUDIES: dict[str, Study] = {
    "films": Study(
        FILMS,
        {
            "new users, new items": {"scenario": "both"},
            "new users": {"scenario": "new_users"},
            "new items": {"scenario": "new_items"},
        },
        LEARNERS,
    ),
    "four_genres": _cross(FILMS, *GENRES),
    **{genre.lower().replace("-", ""): _cross(FILMS, genre) for genre in GENRES},
    "restaurants": _cross(
        Ratings(data_set="restaurants", supports=(1,), outer_steps=200),
        "Bar",
        "Cafeteria",
        "Fast_Food",
    ),
}
CROSS = {
    "four_genres": "Horror, Sci-Fi, Fantasy or Romance",
    **{genre.lower().replace("-", ""): genre for genre in GENRES},
    "restaurants": "bars, cafeterias and fast food (restaurants, a demonstration)",
}
MEASURES = {"mae": "MAE", "rmse": "RMSE", "ndcg": "nDCG@5", "difference": f"MAE above {FAIR}"}
DIGITS = {"mae": 3, "rmse": 3, "ndcg": 4, "difference": 4}


def read(study: str) -> dict[str, Any] | None:
    """The result of a study."""
    return record.read(f"recommendation_{study}")


def _cell(row: Mapping[str, Any], measure: str, place: int) -> str:
    mean, interval = row[measure][place], row[f"{measure}_interval"][place]
    sign = "+" if measure == "difference" else ""
    shown = f"{mean:{sign}.{DIGITS[measure]}f} ± {interval:.{DIGITS[measure]}f}"
    return f"**{shown}**" if measure == "difference" and mean + interval < 0 else shown


def table(found: Mapping[str, Any], measure: str) -> str:
    """One measure of all rows of a scenario, by number of support ratings."""
    titles = [MEASURES[measure], *(str(k) for k in found["supports"])]
    rows = found["rows"]
    if measure == "difference":
        rows = {name: row for name, row in rows.items() if name != FAIR}
    cells = [
        [name, *(_cell(row, measure, i) for i in range(len(found["supports"])))]
        for name, row in rows.items()
    ]
    return lines(titles, cells)


def films(scenario: str) -> str:
    """The tables of a scenario of films."""
    result = read("films")
    if result is None:
        return f"{NOT_RUN}: `python benchmarks/recommendation.py films`"
    found = result["scenarios"][scenario]
    seeds = len(result["seeds"])
    head = (
        f"{found['users']:,} test users of {len(result['splits'])} splits; each learner trained with {seeds} "
        f"seed{'s' * (seeds != 1)} on each. Measured with metajax {record.version_of(result)}"
    )
    later = result.get("added")
    head += (
        f"; {', '.join(f'`{name}`' for name in later['rows'])} at {later['commit']}."
        if later
        else "."
    )
    return "\n\n".join([head, *(table(found, measure) for measure in MEASURES)])


def _across_rows(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The rows of a target: a title, the name of a row, and a measure."""
    means = ("global mean", "user mean, shrunk", FAIR, *result["learners"])
    rows = [(name, name, "mae") for name in means]
    return rows + [(f"{name} above {FAIR}", name, "difference") for name in result["learners"]]


def across() -> str:
    """The table across domains: supports of the source beside those of the target."""
    titles = ["target", "users", "row", "supports", "1", "3", "5", "10"]
    results = [result for result in map(read, CROSS) if result]
    seeds = sorted({len(result["seeds"]) for result in results})
    trained = f"{' or '.join(map(str, seeds))} seed{'s' * (seeds != [1])}"
    cells = []
    for study, shown in CROSS.items():
        result = read(study)
        if result is None:
            cells.append([shown, NOT_RUN, *[""] * 6])
            continue
        for scenario, found in result["scenarios"].items():
            kind = scenario.rpartition(" ")[2]
            for title, name, measure in _across_rows(result):
                by_support = dict(zip(found["supports"], range(9), strict=False))
                values = [
                    _cell(found["rows"][name], measure, by_support[k]) if k in by_support else ""
                    for k in (1, 3, 5, 10)
                ]
                cells.append([shown, f"{found['users']:,}", title, kind, *values])
    note = (
        "No rating of an item of the target domain is for training. Supports are a test user's ratings of the "
        "source domain or of the target domain, for the same queries in the target domain. MAE by number of "
        f"support ratings; {len(SPLITS)} splits, {trained} of training."
    )
    parts = [note, lines(titles, cells)]
    if all(map(read, CROSS)):
        parts.append(TRANSFER)
    return "\n\n".join(parts)


def speed() -> str:
    """How fast users are adapted, catalogues scored and files read."""
    result = record.read("recommendation_speed")
    if result is None:
        return f"{NOT_RUN}: `python benchmarks/recommendation.py speed`"
    machine = result["machine"]
    note = (
        f"{result['items']:,} films, ten ratings for each user, on {machine['cores']} cores of an "
        f"{machine['processor']}. Memory is what the compiled program takes beside its inputs and outputs, "
        "for ten times as many users. Reading parses 100,000 ratings and their films, with polars loaded. "
        "Other programs shared the cores. "
        f"Measured with metajax {record.version_of(result)}."
    )
    rows = [[name, value] for name, value in result["rows"].items()]
    return f"{note}\n\n{lines(['', 'measured'], rows)}"


def analysis() -> str:
    """What was reached, and how far oracles are."""
    result = read("films")
    if result is None:
        return NOT_RUN
    titles = ["oracle, MAE", "1", "3", "5", "10"]
    parts = []
    for scenario, found in result["scenarios"].items():
        cells = [
            [name, *(_cell(row, "mae", i) for i in range(len(found["supports"])))]
            for name, row in {FAIR: found["rows"][FAIR], **found["oracles"]}.items()
        ]
        parts.append(f"{scenario}:\n\n{lines(titles, cells)}")
    return "\n\n".join([ANALYSIS, *parts])


ANALYSIS = (
    "**New users, items of training.** The neural process is below the fair baseline with every number of "
    "ratings, and the interval excludes 0. It is so in RMSE as well, so the gain is not that of a median. "
    "Neither a constant nor a curve, fitted to validation users, reaches it. MeLU, whose head is a network "
    "too, has a third to a half of the gain; ridge has half of it with one rating and an eighth with ten; ANIL "
    "and the bias learner gain with one rating alone. So biases that are added do not express all that a few "
    "ratings say. It is no taste: nDCG is that of the baseline for all of them, and genres, factors and "
    "neighbours add little at 10 ratings. The mean of the predictions of three seeds gains 0.001 more.\n\n"
    "**New items.** The gain of the neural process is outside of the interval with 1 rating and vanishes at "
    "10. Where a learner corrects the prior and cannot tell users apart by more than a bias, it is worse than "
    "the prior.\n\n"
    "**What the data lack.** The first oracle below knows the mean of what a user's ratings leave, "
    "queries included; the second one fits a taste of genres to the queries themselves, with a ridge of "
    "10. Both see the answers, so they bound from below what ten ratings could tell. Most of the distance "
    "is noise of single ratings: 20 queries of a user are too few to tell the rest."
)

TRANSFER = (
    "**Four genres.** Ratings of other genres serve nearly as well as ratings of these: `bias + content` has "
    "1.280 with 10 of the source and 1.274 with 10 of the target, 1.366 and 1.378 with one. The neural process "
    "ties with it on supports of the source. On those of the target its gain with 10 ratings, 0.007, is just "
    "outside of the interval.\n\n"
    "**Sci-Fi and Romance.** The neural process is below the fair baseline by 0.02 to 0.03 and by 0.03 to 0.04 "
    "with supports of either kind; in two of these sixteen cells the interval reaches 0.\n\n"
    "**Horror** is another domain: the shrunk mean of 3 ratings of horror, 1.509, is below that of 10 others, "
    "1.533. With the prior of its content, `bias + content` needs between 5 and 10 ratings of horror for what "
    "10 others give. The neural process is worse than it by 0.09 to 0.10 on supports of the source.\n\n"
    "**Fantasy** has 57 test users and **restaurants** have 30 in all; there the neural process cannot be told "
    "from the baseline."
)

COUNT = (
    "By `git log --name-status` over the commits of the recipe, it added 26 modules to the package: 19 of "
    "`recipes/recommendation/`, `cli/recommend.py`, and 6 that read or invent ratings in `data/`. It changed "
    "10 others: a row each in `recipes/__init__.py`, `cli/main.py` and `data/__init__.py`; ratings as a kind "
    "of data, and files that are placed by hand, in `data/store.py` and `cli/data.py`; reports of several "
    "tables in `recipes/experiment.py` and `cli/scores.py`; other data in `recipes/elsewhere.py`; its names "
    "in `metajax/__init__.py` and `cli/list.py`. What it needed of the library added 4 modules, for the "
    "ridge head, its solver, ragged tasks and nDCG, and changed 8: rows in `tasks/__init__.py` and "
    "`recipes/learners.py`, the neural process, R2-D2's solver, `shrunk` among the losses, and an `average` "
    "of losses in `masks.py`, `evaluation.py` and `types.py`. Outside the package it changed the extra in "
    "`pyproject.toml`, a row in `benchmarks/tables.py`, 4 pages and 9 files of tests."
)

PAGE = Page(
    "Recommendation",
    "Ratings of a new user from 1, 3, 5 or 10 others, on MovieTweetings, 100,000 real ratings of films. Test "
    "users are disjoint from training users. A fifth of the films has no rating in training: these are the new "
    "items. A test user has 13 ratings of training films or more; supports are nested, and queries, up to 20, "
    "are the same for every number of supports. A user's draws, seeds, splits and queries are averaged first; "
    "means and 95 % intervals are over users. Baselines, and the settings of learners, are tuned on validation "
    f"users. `{FAIR}` is the fair baseline: biases of users and items, shrunk, with a prior from genres and "
    "years; rows with dots add to it. nDCG is over rated films alone, where a random order, which the global "
    "mean stands for, is high already. Reproduce with `python benchmarks/recommendation.py STUDY`.",
    (
        Section("New users", lambda: films("new users")),
        Section("New users, new items", lambda: films("new users, new items")),
        Section("New items", lambda: films("new items")),
        Section("Analysis", analysis),
        Section("Across domains", across),
        Section("Speed", speed),
        Section("A contributor's count", lambda: COUNT),
    ),
)
