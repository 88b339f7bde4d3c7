"""What is written about the library holds: docstrings, pages, generated tables, lengths, versions."""

import ast
import inspect
import re
import tomllib
from pathlib import Path
from types import ModuleType

import matrix
import pytest
import tables

import metajax as mj

CHECKOUT = Path(__file__).parents[1]
PACKAGE = CHECKOUT / "metajax"
MODULES = {
    "mj": mj,
    "mj.tasks": mj.tasks,
    "mj.tasks.families": mj.tasks.families,
    "mj.optimizers": mj.optimizers,
    "mj.problems": mj.problems,
    "mj.ops": mj.ops,
    "mj.boxes": mj.boxes,
    "mj.losses": mj.losses,
    "mj.text": mj.text,
}
PAGES = [CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *sorted(CHECKOUT.glob("docs/**/*.md"))]
FAR = re.compile(r"^[a-z]+:")


def public(module: ModuleType) -> dict[str, object]:
    """Functions and classes of metajax under a module's name, without type aliases."""
    names = (name for name in vars(module) if not name.startswith("_"))
    things = {name: getattr(module, name) for name in names}
    return {
        name: thing
        for name, thing in things.items()
        if (inspect.isfunction(thing) or inspect.isclass(thing))
        and thing.__module__.startswith("metajax")
    }


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_public_names_have_a_docstring_with_a_summary(module):
    found = public(module)
    assert found
    for name, thing in found.items():
        own = thing.__doc__ or ""
        # A NamedTuple without a docstring is given its signature.
        assert own and not own.startswith(f"{name}("), f"{name} has no docstring"
        summary = inspect.cleandoc(own).split("\n\n")[0].split("\nArgs:")[0]
        assert summary[0].isupper() or summary[0] in "`(", f"{name}: {summary!r}"
        assert summary.rstrip()[-1] in ".:`", f"{name}: {summary!r}"


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def test_length_counts_neither_docstrings_nor_blank_surroundings():
    (function,) = ast.parse('def f(x):\n    """One.\n\n    Two.\n    """\n    return x\n').body
    assert isinstance(function, ast.FunctionDef)
    assert length(function) == 2


def test_no_function_is_longer_than_60_lines():
    long = {
        f"{path.relative_to(CHECKOUT)}:{node.lineno} {node.name}": length(node)
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > 60
    }
    assert not long


ELSEWHERE = {
    "in_context": "a part of the learners that read, each of which has a row",
    "pretrained": "trained by another objective: tests/learners/test_gradient.py",
    "relabelled": "permutes labels at random: tests/learners/test_gradient.py",
    "in_batches": "shuffles the support set: tests/learners/test_in_batches.py",
    "linear_gaussian_optimum": "learns nothing: the closed form in tests/contract/test_sources.py",
    "conditioned": "its targets are boxes: tests/learners/test_conditioned.py",
    "gaussian_process_optimum": "learns nothing: the closed form in tests/contract/test_sources.py",
}
"""Learners without a row of their own, with the reason and the tests that they have."""


def test_every_learner_has_a_row_of_the_contract():
    source = (CHECKOUT / "tests" / "contract" / "tables.py").read_text()
    (rows,) = (
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LEARNERS"
    )
    called = {node.attr for node in ast.walk(rows) if isinstance(node, ast.Attribute)}
    learners = {
        name
        for name, thing in public(mj).items()
        if inspect.isfunction(thing)
        and thing.__module__.startswith("metajax.learners")
        and inspect.signature(thing).return_annotation is mj.Learner
    }
    assert "maml" in learners
    assert learners - called == set(ELSEWHERE)


def test_the_front_page_is_short():
    assert len((CHECKOUT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(CHECKOUT)) for page in PAGES])
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if FAR.match(target):
            continue
        file, _, heading = target.partition("#")
        path = page.parent / file if file else page
        assert path.exists(), f"{page.name}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", t).lower().replace(" ", "-") for t in titles}
            assert heading in anchors, f"{page.name}: {target}"


def test_pages_of_results_are_those_of_the_result_files(tmp_path):
    tables.write(tmp_path, pictures=False)
    kept = CHECKOUT / "docs" / "results"
    assert {path.name for path in tmp_path.iterdir()} == {p.name for p in kept.glob("*.md")}
    for path in tmp_path.iterdir():
        assert path.read_text() == (kept / path.name).read_text(), (
            f"docs/results/{path.name} differs: run `python benchmarks/tables.py`"
        )
    for page, parts in tables.WITH_TABLES.items():
        text = page.read_text()
        assert tables.with_tables(text, parts) == text


def test_every_result_file_is_in_a_row():
    from accuracy import ROWS

    results = {path.stem for path in (CHECKOUT / "benchmarks" / "results").glob("*-*.json")}
    of_rows = {name for name in results if name.rpartition("-")[0] in ROWS}
    optimizers = {name for name in results if name.startswith("optimizers_")}
    assert results == of_rows | optimizers


def test_versions_agree():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert f"version: {project['version']}\n" in (CHECKOUT / "CITATION.cff").read_text()
    assert f"version = {{{project['version']}}}" in (CHECKOUT / "README.md").read_text()
    assert f"## {project['version']}" in (CHECKOUT / "CHANGELOG.md").read_text()
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", mj.__version__)


def test_every_dependency_has_a_lower_bound_that_the_matrix_installs():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    bounds = [f"{name}>={version}" for name, version in matrix.bounds().items()]
    assert bounds == project["dependencies"]
    for paths in matrix.TESTS.values():
        for path in paths:
            assert (CHECKOUT / path).exists(), path
