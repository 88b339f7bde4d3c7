"""What a program that computes on a CPU asks of JAX before it begins."""

import contextlib
import os

import jax


def one_device_per_core() -> None:
    """Make every core a device with one thread, for `parallel` and `sharded` to spread tasks over.

    The products of few-shot learning are small: two cores with a task each are faster than two that
    share a product. Call it before JAX computes anything; later, or where XLA_FLAGS is already set,
    it changes nothing. Accelerators are not concerned.

    LAPACK gets one thread too, unless OPENBLAS_NUM_THREADS says otherwise: its threads wait for each
    other busily, and devices that decompose at once take each other's cores (eigh of 128 x 128 on two:
    37 s instead of 4). jaxlib before 0.11.2 shares a batch of large matrices out to the threads that
    devices run on, and waits for ever if all of them do so at once; where a model needs such a batch,
    set PJRT_NPROC to more than there are cores, which is slower, or XLA_FLAGS to "" for one device.
    """
    if "XLA_FLAGS" in os.environ:
        return
    # Read when scipy is loaded, which JAX does late.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with contextlib.suppress(RuntimeError):  # JAX has begun
        jax.config.update("jax_num_cpu_devices", cores)
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
