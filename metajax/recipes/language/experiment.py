"""The experiment of prepared sentences, and that of a run on other sentences."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optax

from metajax.data.sentences import Sentences
from metajax.metrics.losses import accuracy, cross_entropy
from metajax.objectives import query_loss
from metajax.recipes.experiment import Experiment, Report, Shots
from metajax.recipes.language import picture
from metajax.recipes.language.classify import learner_of, training, untrained
from metajax.recipes.language.learners import LEARNERS
from metajax.recipes.language.prepared import Prepared
from metajax.recipes.language.report import UNTRAINED, report, rows_of
from metajax.recipes.language.unseen import unseen
from metajax.tasks.sentences import sentences
from metajax.types import Params

Read = Callable[[str, str | Path | None], Sentences]
"""The name of a data set or a file, and the folder of data sets, to sentences for a test."""


def judged(
    p: Prepared, meta_params: Params, shots: Shots, seed: int, notes: tuple[str, ...] = ()
) -> Report:
    """The report of a run beside its baselines, and beside the same learner before training."""
    name, learner = p.settings.learner, learner_of(p)
    candidates = {
        name: (learner, meta_params),
        f"{UNTRAINED} {name} of this network": (learner, untrained(p, learner)),
    }
    rows = rows_of(p, candidates, shots, num_tasks=p.settings.test_tasks, seed=seed)
    found = report(p, rows, shots, name)
    return found._replace(notes=(*found.notes, *notes))


def experiment(p: Prepared, read: Read, thing: str) -> Experiment:
    """Returns the experiment of prepared sentences.

    Args:
      p: The prepared sentences.
      read: What `--on` reads.
      thing: What a class is, such as "intents".
    """
    s, learner = p.settings, learner_of(p)
    shots = Shots(s.shot, s.test_query_shot, s.way)
    steps = learner.num_steps

    def draw(found: Sentences, size: Shots, inputs: Any):
        return sentences(
            found,
            inputs,
            way=size.way or 1,
            shot=size.shot,
            query_shot=size.query_shot,
            name=p.name,
        )

    rate = optax.cosine_decay_schedule(s.outer_rate, s.outer_steps)
    val_shots = shots._replace(way=min(s.way, p.most_val_way))
    return Experiment(
        settings=s,
        learner=learner,
        loss=cross_entropy,
        objective=query_loss(learner, cross_entropy),
        optimizer=optax.chain(optax.clip_by_global_norm(5.0), optax.adam(rate)),
        train=training(p),
        val=draw(p.val, val_shots, p.fitted.inputs(p.val)),
        test=draw(p.test, shots, p.fitted.inputs(p.test)),
        metric=accuracy,
        metric_name="accuracy %",
        scale=100.0,
        higher_is_better=True,
        columns=("accuracy",) if steps is None else (f"step {steps}",),
        eval_steps=None if steps is None else (steps,),
        validation_steps=steps,
        test_tasks=s.test_tasks,
        digits=1,
        inductive=False,
        learned=f"to tell {s.way} {thing} of a domain it has never seen apart, from {s.shot} of each.",
        next_flags="--on FILE.csv, with columns text, label and perhaps domain",
        picture=lambda meta_params: picture.queries(p, learner, meta_params, draw),
        test_name=p.test.name,
        shots=shots,
        fixed_way=s.way if LEARNERS[s.learner].fixed_head else None,
        judge=lambda meta_params, seed: judged(p, meta_params, shots, seed),
        on=lambda name, data, size: elsewhere(
            p, experiment(p, read, thing), read, name, data, size
        ),
        prepared=p,
        parts={
            f"{part.name}, for {name}": sorted(
                {f"{domain}: {label}" for domain, label in part.classes()}
            )
            for name, part in (("training", p.train), ("validation", p.val), ("test", p.test))
            if part.source is not None
        },
    )


def elsewhere(
    p: Prepared,
    own: Experiment,
    read: Read,
    on: str | None,
    data: str | Path | None,
    shots: Shots | None,
) -> Experiment:
    """Returns the experiment of a trained learner on other sentences, or on tasks of another size.

    Classes that the run was trained or validated on are left out. The encoder stays that of the run, its
    inverse frequencies too; baselines are tuned on its validation tasks.

    Args:
      p: The prepared sentences of the run.
      own: The experiment of the run.
      read: Names and files to sentences.
      on: The name of a data set, or a file; None for the run's own test sentences.
      data: The folder of the data sets.
      shots: The size of a task; None for that of the run.

    Raises:
      ValueError: For lines that cannot be read, a label with too few sentences, a domain with too few
        labels, and a sentence that does not fit the width: each with its file and line; and for sentences of
        which every class is one of the run.
    """
    shots = own.shots if shots is None else shots
    assert shots is not None
    test, notes = (p.test, ()) if on is None else unseen(p, read(on, data))
    test.with_enough(p.name, shots.way or 1, shots.shot + shots.query_shot)
    p.fitted.inputs(test)  # names a sentence that does not fit
    p.val.with_enough(p.name, 1, shots.shot + shots.query_shot)
    there = p._replace(test=test)
    return replace(
        own,
        test_name=test.name,
        shots=shots,
        judge=lambda meta_params, seed: judged(there, meta_params, shots, seed, notes),
    )
