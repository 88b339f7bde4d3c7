"""A CPU made ready for training: a device for each core."""

import os

import jax

from metajax import checks

ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"
"""What `prepare_cpu` sets XLA_FLAGS to."""


def prepare_cpu(devices: int | None = None) -> None:
    """Makes JAX faster on CPUs, if it is called before JAX computes anything; `metajax train` does.

    It changes the process, and no result but for rounding. Accelerators are not concerned.

    Every core becomes a device with one thread, so that tasks can be spread over a mesh of them. The
    products of few-shot learning are small: two cores with a task each are faster than two cores that
    share a product. Where XLA_FLAGS is set, devices stay as they are.

    LAPACK gets one thread too, unless OPENBLAS_NUM_THREADS says otherwise. Its threads wait for each
    other busily, so that devices which decompose at once take each other's cores: eigh of 128 x 128 on
    two cores takes 37 s instead of 4. jaxlib before 0.11.2 shares a batch of large matrices out to the
    threads that devices run on, and waits for ever if all of them do so at once. Where a model needs
    such a batch, set PJRT_NPROC to more than there are cores, which is slower, or XLA_FLAGS to "" for
    one device.

    Args:
      devices: How many; by default the number of cores that this process may use.

    Raises:
      ValueError: For less than one device.
      RuntimeError: If JAX has computed something already, so that nothing can be changed, and was not
        prepared so before.

    Example:
      >>> import metajax as mj
      >>> mj.prepare_cpu(devices=2)
      >>> import jax
      >>> jax.local_device_count()
      2
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    number = cores if devices is None else checks.count("prepare_cpu", "devices", devices)
    of_user = os.environ.get("XLA_FLAGS", ONE_THREAD) != ONE_THREAD
    now = getattr(jax.config, "jax_num_cpu_devices")  # noqa: B009 - type checkers do not know it
    if not of_user and number != now:
        try:
            jax.config.update("jax_num_cpu_devices", number)
        except RuntimeError as error:
            raise RuntimeError(
                "prepare_cpu: JAX has computed something already, and keeps the devices that it began with. "
                "Call this at the start of the program, or restart the notebook's kernel and call it first."
            ) from error
    if not of_user:
        os.environ["XLA_FLAGS"] = ONE_THREAD
        # OpenBLAS reads it when scipy is loaded, which JAX does late.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
