"""The launch files of docs/scaling start commands that this version of the command line takes."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from metajax.cli.machine import _check
from metajax.cli.main import _parse

FOLDER = Path(__file__).parents[1] / "docs" / "scaling"


def run(script, stub, tmp_path, *words, **variables):
    """The words that a script gives a program of the cluster, one to a line."""
    program = tmp_path / stub
    program.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    found = subprocess.run(
        ["bash", str(FOLDER / script), *words],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.splitlines()


def parsed(words):
    assert words[0] == "metajax"
    command = _parse(words[1:])
    _check(command.machine)
    assert command.resume and command.run_dir is not None
    return command


def test_slurm(tmp_path):
    words = run("slurm.sh", "srun", tmp_path, RUN="/runs/of mine")
    command = parsed(words[words.index("metajax") :])
    assert command.machine.distributed and command.run_dir == Path("/runs/of mine")


def test_tpu(tmp_path):
    words = run("tpu.sh", "gcloud", tmp_path, "pod", "zone")
    assert parsed(shlex.split(words[words.index("--command") + 1])).machine.distributed


@pytest.mark.parametrize("index", range(4))
def test_kubernetes(index, tmp_path):
    service, job = yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"] == 4
    assert service["spec"]["clusterIP"] == "None"  # so that pods have names of their own
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    (container,) = pod["containers"]
    program = tmp_path / "metajax"
    program.write_text('#!/bin/sh\nprintf "%s\\n" metajax "$@"\n')
    program.chmod(0o755)
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "JOB_COMPLETION_INDEX": str(index)}
    done = subprocess.run(
        [*container["command"], *container["args"]],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    machine = parsed(done.stdout.splitlines()).machine
    assert (machine.processes, machine.process) == (4, index)
    pod_of_first = f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert machine.coordinator == f"{pod_of_first}:1234"
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(parsed(done.stdout.splitlines()).run_dir.parent) in mounted
