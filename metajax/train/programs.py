"""Compiled programs that are kept between processes, in the user's cache."""

import contextlib
import hashlib
import platform
from collections.abc import Iterator
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

from metajax.data.store import cache_dir

MOST_BYTES = 2 << 30
"""From where on the programs that were used longest ago are deleted."""


def folder() -> Path:
    """The folder of the compiled programs of this kind of processor.

    A program for a processor with more instructions would end the process of one with fewer; both may
    share a home.
    """
    return cache_dir() / "compiled" / hashlib.sha256(_processor().encode()).hexdigest()[:12]


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Compiles into `folder()`, and reads programs from there, while it is entered.

    Nothing changes where JAX was told of another folder, or to keep none, or where the folder cannot
    be written. JAX's settings are as before afterwards. A damaged file is compiled again, with a
    warning of JAX.

    Example:
      >>> import jax
      >>> before = jax.config.jax_compilation_cache_dir
      >>> with kept():
      ...     jax.jit(lambda x: x + 1)(1.0)
      Array(2., dtype=float32, weak_type=True)
      >>> jax.config.jax_compilation_cache_dir == before
      True
    """
    names = ("jax_compilation_cache_dir", "jax_compilation_cache_max_size")
    enabled = getattr(jax.config, "jax_enable_compilation_cache")  # noqa: B009 - type checkers do not know it
    before = [getattr(jax.config, name) for name in names]
    if not enabled or before[0] or not _is_usable(folder()):
        yield
        return
    try:
        _set(names, (str(folder()), MOST_BYTES if before[1] == -1 else before[1]))
        yield
    finally:
        _set(names, before)


def _set(names, values) -> None:
    for name, value in zip(names, values, strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # JAX opens a folder once


def _is_usable(place: Path) -> bool:
    """Whether a folder can be written; deletes programs in it that were cut off."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        probe = place / "writable"
        probe.touch()
        probe.unlink(missing_ok=True)
        # JAX writes the time of a program after it: one without was cut off, as by a kill.
        for path in place.glob("*-cache"):
            if not path.with_name(path.name.removesuffix("-cache") + "-atime").exists():
                path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _processor() -> str:
    """The instructions that the processor has, where Linux says so; else its name."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        found = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
        return "".join(sorted(found))
    return platform.machine() + platform.processor()
