"""The notebook runs as it stands in the repository, and finds what it shows."""

import re
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "scripts" / "tutorial.ipynb"


def outputs(notebook) -> list[dict]:
    """Return by kind what the cells show, but for the progress bars."""
    found = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [each for each in found if each.output_type in ("stream", "error")]
    return [each.data for each in found if "application/vnd.jupyter.widget-view+json" not in each.data]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Jupyter's own
def test_the_tutorial_shows_what_it_finds(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    stored = nbformat.read(TUTORIAL, as_version=4)
    shown = outputs(stored)
    client = NotebookClient(
        nbformat.read(TUTORIAL, as_version=4), timeout=500, resources={"metadata": {"path": str(tmp_path)}}
    )
    executed = client.execute()
    for before, after in zip(shown, outputs(executed), strict=True):
        assert before.keys() == after.keys()
        figures = [[float(x) for x in re.findall(r"\d+\.\d+", each["text/plain"])] for each in (before, after)]
        assert figures[0] == figures[1]
    bars = [output for cell in executed.cells for output in cell.get("outputs", []) if "data" in output]
    assert any("learning" in bar.data["text/plain"] for bar in bars if "widget" in " ".join(bar.data))
    assert len([*tmp_path.glob("outputs/*/*/report.html")]) == 7
    assert TUTORIAL.stat().st_size < 300_000
