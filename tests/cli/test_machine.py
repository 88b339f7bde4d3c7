"""What the command line asks of JAX before it computes."""

import os
import subprocess
import sys

PROGRAM = """
import os
from metajax.cli.machine import one_device_per_core
one_device_per_core()
import jax
print(len(jax.devices()), os.environ["OPENBLAS_NUM_THREADS"], os.environ["XLA_FLAGS"])
"""


def run(**variables):
    free = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "OPENBLAS_NUM_THREADS")}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=free | variables, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_every_core_is_a_device_with_one_thread():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert run(JAX_PLATFORMS="cpu") == [str(cores), "1", "--xla_cpu_multi_thread_eigen=false"]


def test_what_the_user_has_set_is_kept():
    assert run(JAX_PLATFORMS="cpu", OPENBLAS_NUM_THREADS="3")[1] == "3"
    flags = "--xla_cpu_multi_thread_eigen=true"
    kept = run(JAX_PLATFORMS="cpu", XLA_FLAGS=flags, OPENBLAS_NUM_THREADS="3")
    assert kept == ["1", "3", flags]
