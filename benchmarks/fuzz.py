"""Damages files of every kind that metajax reads, and counts what its readers do.

python benchmarks/fuzz.py                          a hundred thousand inputs; goes on where it stopped
python benchmarks/fuzz.py --inputs 2000 --dry      a few, printed and not written

An input is good if it is read, or refused by an error that names the file. It is bad if the error is of
another kind, if it takes longer than SECONDS or more than MEGABYTES of memory beside what the process holds,
if something outside its folder is written, and if another tree than the saved one is read from a format with
checksums. A worker runs them in one process with a limit on memory; its end, for whatever reason, is
noticed and counts as a crash.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import record
from fuzzed.damage import BOMB_EVERY, BOMBS, DAMAGES, DEVICE, bomb, make_bombs

SECONDS = 10
"""The most time that an input may take, of the processor."""
PATIENCE = 120
"""The most time that it may wait, for example at a pipe; other work on the machine counts as well."""
MEGABYTES = 512
"""The most memory that reading an input may take beside what the process held before."""
RESULT = "fuzz"
BATCH = 5_000
"""Inputs of a worker, after which a fresh one starts."""


class Slow(BaseException):
    """An input took too long; no reader catches it."""


def outcome(reader: Any, place: Path, whole: Any) -> str:
    """What a reader does with a damaged file: "read", "refused", or what is wrong."""

    def late(number, frame):
        raise Slow

    signal.signal(signal.SIGALRM, late)
    signal.signal(signal.SIGPROF, late)
    signal.alarm(PATIENCE)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        found = reader.read(place)
    except Slow:
        return f"hang: {reader.name}"
    except (ValueError, OSError) as error:
        message = str(error)
        named = reader.file in message or str(place) in message
        return "refused" if named else f"unnamed: {type(error).__name__}: {message:.150}"
    except MemoryError:
        return "memory: MemoryError"
    except BaseException as error:
        return f"unhandled: {type(error).__name__}: {error!s:.150}"
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
    if reader.is_checked and found != whole:
        return "silent: another tree was read"
    return "read"


def work(first: int, number: int, folder: Path) -> None:
    """Reads inputs `first` to `first + number` and prints a line of JSON for each that is not good."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    from fuzzed.readers import readers

    warnings.simplefilter("ignore")
    places, table = folder / "in", list(readers(folder / "cache"))
    wholes = {}
    for reader in table:
        place = places / reader.name
        place.mkdir(parents=True)
        reader.make(place)
        wholes[reader.name] = (snapshot(place), reader.read(place))
    outside = snapshot(folder, skip=(places, folder / "cache"))
    held = memory()
    room = held + (MEGABYTES << 20)
    most = virtual() + (4 * MEGABYTES << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    counts: dict[str, dict[str, int]] = {}
    for index in range(first, first + number):
        chance = random.Random(index)
        reader = table[index % len(table)]
        bombed = index % BOMB_EVERY >= BOMB_EVERY - len(table)
        damage = bomb if bombed else chance.choice(DAMAGES)
        place = places / reader.name
        clean, whole = wholes[reader.name]
        restore(place, clean)
        damage(place / reader.file, chance)
        found = outcome(reader, place, whole)
        peak = memory()
        if peak > room:
            found, room = f"memory: {(peak - held) >> 20} MB", peak + (MEGABYTES << 20)
        if not DEVICE.is_char_device():
            raise SystemExit(f"{reader.name}: input {index} replaced {DEVICE} by a file")
        if index % 50 == 0 and snapshot(folder, skip=(places, folder / "cache")) != outside:
            found = "elsewhere: a file was written outside of the folder"
        kind = found.partition(":")[0]
        row = counts.setdefault(reader.name, {})
        row[kind] = row.get(kind, 0) + 1
        if kind not in ("read", "refused"):
            what = {
                "index": index,
                "reader": reader.name,
                "damage": damage.__name__,
                "found": found,
            }
            print(json.dumps(what), flush=True)
        (folder / "reached").write_text(str(index))
        if index % 500 == 499 or index == first + number - 1:
            so_far = {"counts": counts, "peak": max(0, memory() - held) >> 20, "reached": index + 1}
            print(json.dumps(so_far), flush=True)
            counts = {}


def memory() -> int:
    """The most resident bytes that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def virtual() -> int:
    """The bytes of address space that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def snapshot(folder: Path, skip: tuple[Path, ...] = ()) -> dict[str, bytes]:
    """The files below a folder, by path; without those in some folders, such as the user's cache."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if any(path == other or other in path.parents for other in skip):
            continue
        if path.is_file() and path.name != "reached":
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def restore(folder: Path, files: dict[str, bytes]) -> None:
    """Makes a folder hold these files alone."""
    shutil.rmtree(folder)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def run(inputs: int, found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Runs workers one after the other; yields what was found so far, which may go on from before."""
    with tempfile.TemporaryDirectory() as bombs:
        if inputs >= BOMB_EVERY:
            make_bombs(Path(bombs))
        while found["inputs"] < inputs:
            before, begun = found["inputs"], time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                first, number = before, min(BATCH, inputs - before)
                command = [sys.executable, __file__, "--work", str(first), str(number), folder]
                environment = os.environ | {
                    BOMBS: bombs,
                    "XDG_CACHE_HOME": f"{folder}/cache",
                    "TMPDIR": f"{folder}/temporary",
                }
                Path(folder, "temporary").mkdir()
                worker = subprocess.Popen(
                    command, stdout=subprocess.PIPE, text=True, env=environment
                )
                assert worker.stdout is not None
                for line in worker.stdout:
                    if line.startswith("{"):
                        _add(found, json.loads(line))
                        found["seconds"] += round(time.monotonic() - begun)
                        begun = time.monotonic()
                        yield found
                if worker.wait():
                    reached = Path(folder) / "reached"
                    if not reached.exists():
                        raise SystemExit("fuzz: the worker did not start; see above")
                    last = int(reached.read_text()) + 1
                    crash = {"index": last, "found": f"crash: exit status {worker.returncode}"}
                    _add(found, crash)
                    found["crashes"] += 1
                    found["inputs"] = last + 1
                    yield found


def _add(found: dict[str, Any], line: dict[str, Any]) -> None:
    """Adds what a worker has printed: an input that is bad, or counts of the last inputs."""
    if "counts" not in line:
        found["bad"] = [*found["bad"], line][:50]
        found["bad_inputs"] += 1
        return
    found["peak_megabytes"] = max(found["peak_megabytes"], line["peak"])
    found["inputs"] = line["reached"]
    for name, row in line["counts"].items():
        total = found["readers"].setdefault(name, {})
        for kind, value in row.items():
            total[kind] = total.get(kind, 0) + value


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--dry", action="store_true", help="print the result instead of writing it")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        first, number, folder = arguments.work
        with contextlib.suppress(KeyboardInterrupt):
            work(int(first), int(number), Path(folder))
        return
    limits = {"seconds": SECONDS, "megabytes": MEGABYTES}
    result: dict[str, Any] = {"inputs": 0, "readers": {}, "crashes": 0, "peak_megabytes": 0}
    result |= {"limits": limits, "bad": [], "bad_inputs": 0, "seconds": 0}
    if not arguments.dry:  # goes on where it stopped
        result = record.read(RESULT) or result
    for found in run(arguments.inputs, result):
        print(
            f"{found['inputs']:,} inputs, {found['bad_inputs']} bad, {found['seconds']} s",
            flush=True,
        )
        if not arguments.dry:
            record.write(RESULT, {**found, **record.context()})
    if arguments.dry:
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
