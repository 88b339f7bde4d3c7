"""Every notebook runs from top to bottom with less training, and is kept with its full outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def figures(notebook):
    return [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]


@pytest.mark.filterwarnings("default")  # of Jupyter's own machinery
@every_notebook
def test_notebook_runs(path, monkeypatch, tmp_path):
    monkeypatch.setenv("METAJAX_NOTEBOOK_STEPS", "12")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    assert figures(notebook), f"{path.name} shows no figure"


@every_notebook
def test_outputs_of_a_full_run_are_kept(path):
    # Cells assert their claims after full training, so these outputs passed them.
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), f"{path.name} has cells that were not run"
    assert not any(o.output_type == "error" for cell in code for o in cell.outputs)
    assert all(
        cell.outputs for cell in code if "print(" in cell.source or "plt.show" in cell.source
    )
    assert figures(notebook)
