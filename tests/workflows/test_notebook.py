"""The notebook of the documentation runs as it stands, from scans to the report."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.support.places import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "from-scans-to-report.ipynb"


def test_the_notebook_leads_from_scans_to_a_report(tmp_path: Path):
    """Run from top to bottom in an empty folder, it ends with the report of the study; it is kept without outputs."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count is None and cell.outputs == [] for cell in cells)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    report = tmp_path / "from-scans-to-report" / "report" / "report.html"
    assert "simulated" in report.read_text(encoding="utf-8")
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
    assert "intact" in cells[-1].outputs[-1]["text"]
