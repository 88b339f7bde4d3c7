"""The devices and the processes that the command line asks of JAX, before anything is computed."""

import contextlib
from dataclasses import dataclass
from typing import Any

import jax

from metajax import checks
from metajax.cpu import prepare_cpu

LOST_AFTER = 60
"""Seconds without a sign of life after which the other processes end."""
A_DAY = 86_400
"""Seconds that processes which have trained wait for the first one, which tests and draws."""


@dataclass(frozen=True)
class Machine:
    """The devices of a run, and the processes that share it."""

    devices: int | None = None
    """Devices of each process that may share the tasks; by default all, which on a CPU are its cores."""
    distributed: bool = False
    """Train together with the other processes of a Slurm or Open MPI job or of a TPU pod, which JAX
    finds. Elsewhere give --coordinator, --processes and --process."""
    coordinator: str | None = None
    """Address and port of the first process, such as node1:1234; start all processes with the same."""
    processes: int | None = None
    """How many processes there are."""
    process: int | None = None
    """Which of them this one is, from 0."""


def start(machine: Machine) -> None:
    """Asks JAX for devices, and joins the other processes of a run.

    Raises:
      ValueError: For flags that do not belong together, or for processes that do not meet.
    """
    _check(machine)
    with contextlib.suppress(RuntimeError):  # JAX has computed something already.
        prepare_cpu(machine.devices)
    if not (machine.distributed or machine.coordinator):
        return
    try:
        jax.distributed.initialize(
            machine.coordinator,
            machine.processes,
            machine.process,
            heartbeat_timeout_seconds=LOST_AFTER,
            shutdown_timeout_seconds=A_DAY,
        )
    except (ValueError, RuntimeError) as error:
        found = "did not meet" if machine.coordinator else "were not found"
        raise ValueError(
            f"--distributed: the processes of the run {found}. Give each of them --coordinator HOST:PORT "
            f"--processes N --process I, with the same port of the first one's host. JAX said: {error}"
        ) from error


def _check(machine: Machine) -> None:
    if machine.devices is not None:
        checks.count("train", "--devices", machine.devices)
    numbers = (machine.processes, machine.process)
    if machine.coordinator is None:
        if numbers != (None, None):
            raise ValueError(
                "--processes and --process need --coordinator HOST:PORT, the address of process 0."
            )
        return
    host, _, port = machine.coordinator.rpartition(":")
    if not (host and port.isdigit()):
        raise ValueError(
            f"--coordinator {machine.coordinator!r} must be the address and a free port of process 0, such "
            "as node1:1234."
        )
    if None in numbers:
        raise ValueError(
            "--coordinator needs --processes, how many there are, and --process, which of them this one is."
        )
    number = checks.count("train", "--processes", machine.processes)
    if not 0 <= checks.count("train", "--process", machine.process, least=0) < number:
        raise ValueError(
            f"--process {machine.process} must be one of 0 to {number - 1}, because --processes is {number}."
        )


def devices(machine: Machine) -> list[Any]:
    """Returns the devices of all processes that share the tasks.

    Raises:
      ValueError: If a process has fewer than `--devices`.
    """
    of_process: dict[int, list[Any]] = {}
    for device in jax.devices():
        of_process.setdefault(device.process_index, []).append(device)
    fewest = min(map(len, of_process.values()))
    if machine.devices is not None and machine.devices > fewest:
        raise ValueError(
            f"--devices {machine.devices}: this machine has {fewest}. Leave it out to use all of them."
        )
    return [device for own in of_process.values() for device in own[: machine.devices]]
