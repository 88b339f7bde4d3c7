"""A detector of scenes on photographs with boxes: a data set, or a folder in the form of COCO or VOC."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from metajax.data import DATASETS
from metajax.data.annotated import Annotated
from metajax.data.box_files import read_boxes
from metajax.names import neither
from metajax.recipes.experiment import Experiment, Shots
from metajax.recipes.vision import photographs
from metajax.recipes.vision.boxes_report import judged
from metajax.recipes.vision.canvas import SIDE, Canvas, canvas

SHOTS = (1, 5, 10)
"""Numbers of annotated pictures; those that are more than there are fall out."""


def elsewhere(
    e: Experiment, on: str | None, data: str | Path | None = None, shots: Shots | None = None
) -> Experiment:
    """Returns the experiment of a trained detector on annotated photographs.

    Args:
      e: Of the run.
      on: The name of a data set with boxes, or a folder in the form of COCO or Pascal VOC.
      data: The folder of the data sets.
      shots: The number of annotated pictures; None for 1, 5 and 10.

    Raises:
      FileNotFoundError: For data that are missing.
      ValueError: For another name, damaged or wrong annotations, and a class with too few pictures.
    """
    if on is None:
        raise ValueError(
            "evaluate: scenes are judged with one and with five exemplars. Leave --shot and --query-shot out, "
            "or give --on."
        )
    if shots is not None and e.shots is not None and shots.query_shot != e.shots.query_shot:
        raise ValueError(
            f"evaluate: query_shot={shots.query_shot} has no effect, because all test pictures are judged. "
            "Leave --query-shot out."
        )
    name, found = _read(on, data)
    c = canvas(found)
    numbers = _numbers(name, c, None if shots is None else shots.shot)
    return replace(e, test_name=name, judge=partial(judged, e, name, c, numbers), prepared=None)


def _read(on: str, data: str | Path | None) -> tuple[str, Annotated]:
    with_boxes = {name: row.boxes for name, row in DATASETS.items() if row.boxes}
    if on in with_boxes:
        return on, with_boxes[on](data)
    path = Path(on).expanduser()
    if path.is_dir():
        path = path.resolve()
        return path.name, read_boxes(path, where=path.name, longest=SIDE)
    kinds, more = "a data set with boxes nor a folder", "a folder in the form of COCO or Pascal VOC"
    raise neither(f"evaluate: on={on!r}", kinds, on, list(with_boxes), more)


def _numbers(name: str, c: Canvas, shot: int | None) -> tuple[int, ...]:
    """The numbers of annotated pictures that every class has; the rest of its pictures is for tests."""
    least = None
    for label, kind in enumerate(c.names):
        sizes = {s: len(photographs.holding(c, label, s)) for s in ("train", "val", "test")}
        needed = {"train": shot or 1, "val": 1, "test": 1}
        for subset, number in sizes.items():
            if number < needed[subset]:
                raise ValueError(
                    f"{name}: class {kind!r} is in {number} {subset} pictures, but {needed[subset]} are "
                    "needed. Annotate more pictures, use a smaller --shot, or leave the class out."
                )
        least = sizes["train"] if least is None else min(least, sizes["train"])
    return (shot,) if shot else tuple(n for n in SHOTS if n <= (least or 0))
