"""Few-shot detection: a character is found in new scenes from one to five that show it."""

from dataclasses import dataclass, replace

import optax

from metajax import checks
from metajax.metrics.detection import average_precision, detection_loss
from metajax.names import choose
from metajax.objectives import query_loss
from metajax.recipes.experiment import Experiment, Shots, refuse_ignored
from metajax.recipes.vision import detection_report as report
from metajax.recipes.vision.characters import Characters, characters
from metajax.recipes.vision.detection_elsewhere import elsewhere
from metajax.recipes.vision.detection_picture import picture as drawn
from metajax.recipes.vision.detection_scores import MOST_EXEMPLARS
from metajax.recipes.vision.detectors import LEARNERS, TRAINS_INSIDE, DetectorName, learner_of
from metajax.tasks.scenes import scenes
from metajax.types import Sample


@dataclass(frozen=True)
class Detection:
    """Learn to find a character in new scenes from one to five scenes that show it; needs no data.

    Tests on characters never seen, beside correlation at several scales, blobs of ink and the untrained
    network. `--on bccd` or a folder with COCO or VOC boxes adapts to a few annotated photographs.
    """

    learner: DetectorName = "conditioned"
    """The learner: conditioned looks for features of the exemplars; maml and anil also train through inner
    steps of the whole network or of its head; plain sees no exemplar until it is fine-tuned."""
    source: Characters = "glyphs"
    """What scenes are composed of: invented characters, or Omniglot's."""
    exemplars: tuple[int, int] = (1, 5)
    """The least and the greatest number of support scenes of a training task."""
    queries: int = 4
    """Query scenes of a task."""
    width: int = 48
    """Channels of the network, a multiple of 16."""
    num_steps: int | None = None
    """Inner steps in training, of maml and anil; by default 1."""
    inner_rate: float = 1e-3
    """Adam's step size in inner steps and in fine-tuning."""
    meta_batch: int = 8
    """Tasks in an outer step."""
    outer_rate: float = 2e-3
    """Adam's step size at the start; it falls to 0 along a cosine."""
    outer_steps: int = 4_000
    """Outer steps in all."""
    seed: int = 0
    """Seed of the run."""
    data: str | None = None
    """The folder that holds the data set's folder; by default METAJAX_DATA, then the user cache."""


def build(settings: Detection) -> Experiment:
    """Returns the experiment of these settings; reads or invents the characters.

    Raises:
      ValueError: For settings that do not go together.
      FileNotFoundError: For Omniglot's characters where its zips are missing.
    """
    s = settings
    choose("detection", "learner", s.learner, LEARNERS)
    choose("detection", "source", s.source, ("glyphs", "omniglot"))
    inside = s.learner in TRAINS_INSIDE
    refuse_ignored("detection", s, "learner", {"num_steps": inside})
    if len(s.exemplars) != 2 or s.exemplars[1] > MOST_EXEMPLARS:
        raise ValueError(
            f"detection: exemplars={s.exemplars} must be two numbers of at most {MOST_EXEMPLARS}."
        )
    steps = checks.count("detection", "num_steps", 1 if s.num_steps is None else s.num_steps)
    s = replace(s, num_steps=steps if inside else None)
    return experiment(s)


def experiment(s: Detection) -> Experiment:
    """Returns the experiment of resolved settings."""
    learner = learner_of(s)

    def source(subset, exemplars) -> Sample:
        drawings = characters(s.source, subset, s.data)
        return scenes(drawings, exemplars=exemplars, queries=s.queries, name=f"detection {subset}")

    rate = optax.cosine_decay_schedule(s.outer_rate, s.outer_steps)
    e = Experiment(
        settings=s,
        learner=learner,
        loss=detection_loss,
        objective=query_loss(learner, detection_loss),
        optimizer=optax.chain(optax.clip_by_global_norm(5.0), optax.adam(rate)),
        train=source("train", s.exemplars),
        val=source("val", 1),
        test=source("test", MOST_EXEMPLARS),
        metric=average_precision(0.5),
        metric_name="AP50 %",
        scale=100.0,
        higher_is_better=True,
        columns=("AP50",),
        eval_steps=None,
        validation_steps=None,
        test_tasks=report.JUDGED,
        digits=1,
        inductive=False,
        learned="to find what one to five scenes show.",
        next_flags="--on bccd, or metajax detect with pictures of your own",
        picture=lambda meta_params: drawn(e, meta_params),
        test_name=f"scenes of {s.source}",
        shots=Shots(MOST_EXEMPLARS, s.queries),
        on=lambda name, data, shots: elsewhere(e, name, data, shots),
    )
    return replace(e, judge=lambda meta_params, seed: report.judged(e, meta_params, seed))
