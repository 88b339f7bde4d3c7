"""Tests the oldest supported and the newest versions of what metajax computes with.

python benchmarks/matrix.py                       both, in fresh environments, about 20 minutes on two cores
python benchmarks/matrix.py --only oldest --fast  a few of the tests, in a minute or two
python benchmarks/matrix.py --python 3.13=/usr/bin/python3.13 --keep environments

The oldest versions are the lower bounds of pyproject.toml, all at once. A warning of a deprecation ends a test:
any in the newest, and those that metajax causes in the oldest, whose packages read each other's
deprecated names. docs/security.md has the table.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import record

RESULT = "matrix"
CHECKOUT = record.HERE.parent
TOOLS = ("pytest", "pytest-xdist", "chex")
MORE_TOOLS = ("hypothesis", "dm-haiku", "equinox", "grain", "tensorboardX")
"""What all tests need, and what those that are not fast do."""
SHOWN = ("jax", "jaxlib", "optax", "flax", "numpy")
FAST = (
    "tests/test_inner.py",
    "tests/test_objectives.py",
    "tests/test_masks.py",
    "tests/train/test_checkpoint.py",
    "tests/train/test_run_dir.py",
)
TESTS = {
    "basics": FAST,
    "training": (
        "tests/test_evaluation.py",
        "tests/train/test_training.py",
        "tests/train/test_guard.py",
        "tests/train/test_saved.py",
        "tests/train/test_feed.py",
        "tests/train/test_sweep.py",
        "tests/cli/test_sweep.py",
    ),
    "operations": ("tests/ops", "tests/nn/test_adaptors.py"),
    "rewriting": ("tests/rewriting",),
    "learners": ("tests/contract/test_hypergradients.py", "tests/contract/test_learners.py"),
}
"""The two loops and their files; training; operations and adaptors; models that are rewritten; what every
learner and adjoint keeps."""


class Environment(NamedTuple):
    """A set of versions.

    python: The version of Python that it takes.
    pinned: Whether all dependencies have their lower bounds.
    filters: Of warnings, each with its reason beside it.
    """

    python: str
    pinned: bool
    filters: tuple[str, ...]


ENVIRONMENTS = {
    "oldest": Environment(
        "3.11",
        True,
        (
            "error",
            # They read names of JAX and pyparsing that newer versions of these have deprecated.
            "ignore::DeprecationWarning:flax",
            "ignore::DeprecationWarning:matplotlib",
            "ignore::pyparsing.warnings.PyparsingDeprecationWarning",
        ),
    ),
    "newest": Environment("3.13", False, ("error",)),
}


def bounds() -> dict[str, str]:
    """The lower bound of each dependency."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    pairs = [re.fullmatch(r"([\w-]+)>=([\w.]+)", line) for line in project["dependencies"]]
    return {match[1]: match[2] for match in pairs if match}


def make(place: Path, environment: Environment, python: str, tools: tuple[str, ...]) -> Path:
    """Makes an environment with metajax and tools in it, and returns its Python."""
    own = place / "bin" / "python"
    if not own.exists():
        subprocess.run([python, "-m", "venv", place], check=True)
    pins = [f"{name}=={version}" for name, version in bounds().items()]
    pins += [f"jaxlib=={bounds()['jax']}"]
    constraints = place / "constraints.txt"
    constraints.write_text("\n".join(pins if environment.pinned else []))
    words = [own, "-m", "pip", "install", "-q", "-c", constraints, CHECKOUT, *tools]
    subprocess.run(words, check=True)
    return own


def test(own: Path, environment: Environment, tests: tuple[str, ...]) -> dict[str, Any]:
    """Runs tests against the installed metajax from outside of the checkout, and returns how they ended."""
    filters = "filterwarnings=" + "\n".join(environment.filters)
    words = [own, "-m", "pytest", "-c", CHECKOUT / "pyproject.toml", "--rootdir", CHECKOUT]
    words += ["-o", filters, "-p", "no:cacheprovider", *(CHECKOUT / path for path in tests)]
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            [str(word) for word in words],
            capture_output=True,
            text=True,
            cwd=elsewhere,
            env={**os.environ, "METAJAX_TEST_INSTALLED": "1", "PYTHONPATH": ""},
        )
    said = done.stdout + done.stderr
    found = re.findall(r"(\d+) (passed|failed|skipped|error)", said)
    if done.returncode:
        print(said[-8_000:], flush=True)
    return {
        "status": done.returncode,
        "counts": {kind: int(number) for number, kind in found},
        "failed": sorted(set(re.findall(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE))),
        "seconds": round(time.perf_counter() - begun),
    }


def versions(own: Path) -> dict[str, str]:
    """The versions in an environment."""
    words = [own, "-m", "pip", "list", "--format", "json"]
    listed = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    found = {package["name"]: package["version"] for package in listed}
    named = {name: found[name] for name in dict.fromkeys((*SHOWN, *bounds()))}
    asked = subprocess.run([own, "--version"], capture_output=True, text=True, check=True)
    return {"python": asked.stdout.split()[1], **named}


def keep(
    name: str, group: str, found: dict[str, Any], of: dict[str, str], context: dict[str, Any]
) -> None:
    """Puts the result of a group of tests into the file of results."""
    before = record.read(RESULT) or {}
    rows = before.get("environments", {})
    same = rows.get(name, {}).get("versions") == of
    groups = rows.get(name, {}).get("groups", {}) if same else {}
    rows[name] = {
        "versions": of,
        "filters": list(ENVIRONMENTS[name].filters),
        "groups": {**groups, group: found},
    }
    record.write(RESULT, {"environments": rows, "tests": TESTS, **context})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=ENVIRONMENTS)
    parser.add_argument("--groups", nargs="*", choices=TESTS, default=list(TESTS))
    parser.add_argument("--fast", action="store_true", help="a few tests, and nothing is written")
    parser.add_argument("--keep", type=Path, help="a folder of environments, which are made once")
    parser.add_argument("--python", nargs="*", default=[], help="interpreters, as VERSION=PATH")
    arguments = parser.parse_args()
    context = {} if arguments.fast else record.context()
    given, bad = dict(pair.split("=", 1) for pair in arguments.python), False
    for name, environment in ENVIRONMENTS.items():
        if arguments.only not in (None, name):
            continue
        version = environment.python
        python = given.get(version) or shutil.which(f"python{version}")
        if python is None:
            raise SystemExit(f"matrix: there is no python{version}; name one by --python.")
        with tempfile.TemporaryDirectory() as passing:
            place = (arguments.keep or Path(passing)).absolute() / name
            own = make(place, environment, python, TOOLS if arguments.fast else TOOLS + MORE_TOOLS)
            of = versions(own)
            print(name, json.dumps(of), flush=True)
            for group in ["basics"] if arguments.fast else arguments.groups:
                found = test(own, environment, TESTS[group])
                print(name, group, json.dumps(found), flush=True)
                bad |= found["status"] != 0
                if not arguments.fast:
                    keep(name, group, found, of, context)
    sys.exit(int(bad))


if __name__ == "__main__":
    main()
