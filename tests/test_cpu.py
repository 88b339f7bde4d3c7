"""What `mj.prepare_cpu` changes in a process: devices and their threads."""

import os
import subprocess
import sys

OF_USER = ("XLA_FLAGS", "OPENBLAS_NUM_THREADS")
DEVICES = """
import os, metajax as mj
mj.prepare_cpu()
import jax
print(len(jax.devices()), os.environ["OPENBLAS_NUM_THREADS"], os.environ["XLA_FLAGS"])
"""
LATE = """
import jax.numpy as jnp, metajax as mj
if {before}:
    mj.prepare_cpu(3)
jnp.ones(2).block_until_ready()
mj.prepare_cpu(3)
"""


def run(program, *arguments, check=True, **variables):
    free = {key: value for key, value in os.environ.items() if key not in OF_USER}
    command = [sys.executable, "-c", program, *arguments]
    variables = free | {"JAX_PLATFORMS": "cpu"} | variables
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=check)


def test_every_core_is_a_device_with_one_thread():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert run(DEVICES).stdout.split() == [str(cores), "1", "--xla_cpu_multi_thread_eigen=false"]


def test_what_the_user_has_set_is_kept():
    assert run(DEVICES, OPENBLAS_NUM_THREADS="3").stdout.split()[1] == "3"
    flags = "--xla_cpu_multi_thread_eigen=true"
    kept = run(DEVICES, XLA_FLAGS=flags, OPENBLAS_NUM_THREADS="3")
    assert kept.stdout.split() == ["1", "3", flags]


def test_too_late_is_said_and_twice_is_not_an_error():
    late = run(LATE.format(before=False), check=False)
    assert late.returncode == 1
    assert "JAX has computed something already" in late.stderr
    assert run(LATE.format(before=True), check=False).returncode == 0


def test_no_device_is_refused():
    done = run("import metajax as mj; mj.prepare_cpu(devices=0)", check=False)
    assert "prepare_cpu: devices=0 must be an integer of at least 1" in done.stderr
