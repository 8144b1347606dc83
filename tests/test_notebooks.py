"""The notebooks are stored with outputs, and executed again they show the same numbers."""

import re

import pytest
from helpers.pages import ROOT

FOUND = [*ROOT.glob("docs/*/*.ipynb"), *ROOT.glob("scripts/*.ipynb")]
WIDGET = "application/vnd.jupyter.widget-view+json"
all_notebooks = pytest.mark.parametrize("path", sorted(FOUND), ids=lambda path: path.stem)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown_by(cell) -> tuple[set[str], list[float]]:
    """Return the kinds of a cell's outputs, and the decimals and percentages in their text; not of progress bars."""
    outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    text = "".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)
    kinds = {kind for output in outputs for kind in output.get("data", {output.get("name", output.output_type): ""})}
    return kinds, [float(number) for number in re.findall(r"\d+\.\d+|\d+(?=%)", text)]


@all_notebooks
def test_a_notebook_is_stored_with_outputs_and_without_errors(path):
    nbformat = pytest.importorskip("nbformat")
    assert path.stat().st_size < 400_000
    cells = code_cells(nbformat.read(path, as_version=4))
    assert all(cell.execution_count for cell in cells), "a cell was not executed"
    shown = [shown_by(cell) for cell in cells]
    kinds, numbers = set().union(*(kinds for kinds, _ in shown)), [n for _, found in shown for n in found]
    assert "image/png" in kinds and len(numbers) > 2 and not kinds & {"error", "stderr"}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Jupyter warns
@all_notebooks
def test_a_notebook_shows_the_stored_numbers_when_it_is_executed(path, tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(path, as_version=4)
    stored = [shown_by(cell) for cell in code_cells(notebook)]
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for cell, before in zip(code_cells(notebook), stored, strict=True):
        assert shown_by(cell) == before, cell.source
    bars = [output.data["text/plain"] for cell in code_cells(notebook) for output in cell.outputs if "data" in output]
    assert path.stem != "tutorial" or any("learning" in bar for bar in bars), "progress is shown"
