"""`metajax detect RUN --support FOLDER --image FILE --out PNG`: boxes of what a few pictures show."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from metajax import files
from metajax.cli.output import console, escape


@dataclass(frozen=True)
class Detect:
    """Find in a picture what a few annotated pictures show, with a run of `metajax train detection`."""

    run: tyro.conf.Positional[Path]
    """The folder of the run."""
    support: Path
    """A folder of annotated pictures, in the form of COCO or Pascal VOC."""
    image: Path
    """The picture to find boxes in."""
    out: Path = Path("detections.png")
    """A drawing of the boxes that are found, and of where the detector sees centres."""
    label: str | None = None
    """The class to look for; it may be left out where the support has one."""
    num_steps: int = 20
    """Steps of fine-tuning on the support; with 0 the run is used as it is."""
    least: float = 0.3
    """The least score of a box, from 0 to 1; 40 boxes are found at most."""
    data: str | None = None
    """The folder of the data sets, if it has moved."""


def run(command: Detect) -> bool:
    """Adapts to the support, prints the boxes, and draws them."""
    from metajax.data.box_files import read_boxes
    from metajax.data.picture import decode
    from metajax.recipes import plots
    from metajax.recipes.run import restore
    from metajax.recipes.vision.detect import detect

    files.check_place(command.out)
    support = read_boxes(command.support, where="detect")
    picture = decode(command.image, "detect")
    found = detect(
        restore(command.run, data=command.data),
        support,
        [picture],
        label=command.label,
        num_steps=command.num_steps,
        least=command.least,
    )
    for (y0, x0, y1, x1), score in zip(found[0].corners, found[0].scores, strict=True):
        console.print(f"{score:.2f}  x {x0:.0f} to {x1:.0f}, y {y0:.0f} to {y1:.0f}")
    number = len(found[0].scores)
    files.write_figure(command.out, plots.detections(found, [command.image.name]))
    console.print(f"{number} box{'es' * (number != 1)}; the drawing is {escape(str(command.out))}.")
    return True
