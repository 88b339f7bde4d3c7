"""`metajax resume RUN`: continues a run or a sweep that was stopped."""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from metajax.cli.machine import Machine, devices
from metajax.cli.train import train_and_test


@dataclass(frozen=True)
class Resume:
    """Continue a run or a sweep that was stopped; it ends in the same bits as one that was not."""

    run: tyro.conf.Positional[Path]
    """The folder of the run, or of the sweep."""
    data: str | None = None
    """The folder of the data sets, if it has moved."""
    trust: bool = False
    """Import and call the function that --vectors named when the run was trained."""
    tensorboard: bool = False
    """Also write TensorBoard events (needs metajax[tensorboard])."""
    machine: Machine = field(default_factory=Machine)


def run(command: Resume) -> bool:
    """Continues a run in its folder, or what is left of a sweep."""
    from metajax.cli import sweep
    from metajax.recipes.run import read

    if (command.run / sweep.SWEEP).exists():
        if command.tensorboard:
            raise ValueError(
                "resume: tensorboard has no effect on a sweep. Leave --tensorboard out."
            )
        asked = sweep.read(command.run, command.data, trust=command.trust)
        return sweep.go_on(asked, command.run, command.machine, trust=command.trust)
    experiment = read(command.run, command.data, trust=command.trust)
    return train_and_test(
        experiment,
        experiment.settings,
        command.run,
        devices(command.machine),
        resume=True,
        tensorboard=command.tensorboard,
    )
