"""The devices that the command line asks of JAX, before anything is computed."""

import contextlib
import os

import jax

ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"
"""What `one_device_per_core` sets XLA_FLAGS to."""


def one_device_per_core() -> None:
    """Makes every core a device with one thread, so that tasks can be spread over a mesh of them.

    The products of few-shot learning are small: two cores with a task each are faster than two cores
    that share a product. It must be called before JAX computes anything. Later, or where XLA_FLAGS is
    set, it changes nothing; accelerators are not concerned.

    LAPACK gets one thread too, unless OPENBLAS_NUM_THREADS says otherwise. Its threads wait for each
    other busily, so that devices which decompose at once take each other's cores: eigh of 128 x 128 on
    two cores takes 37 s instead of 4. jaxlib before 0.11.2 shares a batch of large matrices out to the
    threads that devices run on, and waits for ever if all of them do so at once. Where a model needs
    such a batch, set PJRT_NPROC to more than there are cores, which is slower, or XLA_FLAGS to "" for
    one device.
    """
    if "XLA_FLAGS" in os.environ:
        return
    # OpenBLAS reads it when scipy is loaded, which JAX does late.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with contextlib.suppress(RuntimeError):  # JAX has computed something already.
        jax.config.update("jax_num_cpu_devices", cores)
        os.environ["XLA_FLAGS"] = ONE_THREAD
