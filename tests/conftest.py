"""Strict settings for every test, and fixtures that many of them share."""

import dataclasses
import fnmatch
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import jax
import matplotlib
import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `prepare_cpu` sets it, and why
# Compiling is most of the time of a test. The older way to compile fusions takes half of it, and programs
# that are not split for many cores a seventh less. A flag that a release does not know ends the process.
if version("jaxlib").startswith("0.10."):
    flags = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")
    os.environ.setdefault("XLA_FLAGS", " ".join(flags))

jax.config.update("jax_num_cpu_devices", 2)  # so that spreading over devices is tested on two
jax.config.update("jax_numpy_rank_promotion", "raise")
matplotlib.use("agg")


CHECKOUT = Path(__file__).parents[1]
SLOW = (
    "tests/contract/",
    "tests/ops/",
    "tests/nn/",
    "tests/recipes/",
    "tests/optimizers/",
    "tests/cli/test_cli.py",
    "tests/cli/test_evaluate.py",
    "tests/data/test_cifar.py",
    "tests/language/test_recipe.py",
    "tests/recommendation/test_serving.py",
    "tests/recommendation/test_recipe.py",
    "tests/language/test_summaries.py",
    "tests/language/test_translation",
    "tests/data/test_omniglot.py",
    "tests/estimators/test_truncations.py",
    "tests/learners/",
    "tests/tasks/test_sources.py",
    "tests/tasks/test_varied_and_mixture.py",
    "tests/tasks/test_synthetic.py",
    "tests/train/test_training.py",
    "tests/train/test_guard.py",
    "tests/train/test_hosts.py",
    "tests/train/test_replay.py",
    "tests/test_fuzz.py",
    "tests/test_benchmark_networks.py",
    "tests/test_notebooks.py",
    "tests/test_speed_nets.py::test_torch",
    "docs/examples.md",
    "metajax/learners/",
    "metajax/recipes/",
    "metajax/optimizers/",
)
"""Patterns of the tests that `-m "not slow"` leaves out: files, or files and names."""


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items):
    for item in items:
        if any(fnmatch.fnmatch(item.nodeid, f"*{pattern}*") for pattern in SLOW):
            item.add_marker(pytest.mark.slow)


class _FewPrograms:
    """Forgets compiled programs before they take too many memory maps.

    Linux gives a process 65,530; without any left, XLA ends in a segmentation fault. A plugin instead of a
    fixture, so that it serves the doctests of metajax/ too.
    """

    maps = Path("/proc/self/maps")
    most = 12_000  # of 2 GB or so

    def pytest_runtest_logfinish(self):
        if self.maps.exists() and self.maps.read_bytes().count(b"\n") > self.most:
            jax.clear_caches()


def _of_all_processes(**options):
    """Sets options of JAX here and in processes that tests start."""
    for name, value in options.items():
        os.environ[name.upper()] = str(value)
        jax.config.update(name, value)


# Most of the time would go into optimising thousands of tiny programs.
_of_all_processes(
    jax_disable_most_optimizations=True,
    jax_persistent_cache_min_compile_time_secs=0.0,
    jax_persistent_cache_min_entry_size_bytes=-1,
)
_PROGRAMS = "METAJAX_TEST_PROGRAMS"


def pytest_configure(config):
    if os.environ.get("METAJAX_TEST_INSTALLED") == "1":
        import metajax

        where = Path(metajax.__file__)
        assert not where.is_relative_to(CHECKOUT), f"{where} is tested, not the installed wheel"
    config.pluginmanager.register(_FewPrograms())
    # Programs that were forgotten, or compiled by another process, are read again: a fifth of the time.
    if _PROGRAMS not in os.environ:  # workers inherit it
        folder = tempfile.TemporaryDirectory(prefix="metajax-programs-")
        os.environ[_PROGRAMS] = folder.name
        config.add_cleanup(folder.cleanup)
    _of_all_processes(jax_compilation_cache_dir=os.environ[_PROGRAMS])


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture
def optimised():
    """Compiles as users do: for laws about memory, bits and the forms of operations."""
    _of_all_processes(jax_disable_most_optimizations=False)
    yield
    _of_all_processes(jax_disable_most_optimizations=True)


@pytest.fixture
def few_test_tasks(monkeypatch):
    """Recipes are tested on 200 tasks, where their scores do not matter."""
    from metajax import recipes

    whole = recipes.build
    monkeypatch.setattr(
        recipes, "build", lambda settings: dataclasses.replace(whole(settings), test_tasks=200)
    )


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def omniglot_data(tmp_path_factory):
    """The folder named by METAJAX_DATA, with its zips; decoded once into a cache of this session."""
    named = os.environ.get("METAJAX_DATA")
    if not named:
        pytest.skip("METAJAX_DATA is not set; it names a folder that holds omniglot/")
    folder = Path(named).absolute()
    assert (folder / "omniglot" / "images_background.zip").is_file(), (
        f"METAJAX_DATA={named} is set and there is no omniglot/images_background.zip in it"
    )
    return folder


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Tests neither read nor write the user's cache."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before
