"""The notebook, executed as Jupyter would."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from snpe_srgan.toolchains import qnn

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "photo_to_chip.ipynb"


@pytest.mark.skipif(qnn.available() is not None, reason=f"no emulator: {qnn.available()}")
def test_the_notebook_runs_and_ends_with_the_slider(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is missing: pip install nbclient ipykernel")
    pytest.importorskip("ipykernel", reason="ipykernel is missing: pip install ipykernel")
    import nbformat

    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells), "committed without outputs"
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    printed = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("mobile_w8a8.dlc" in text for text in printed)
    assert any("float" in text and "dB" in text for text in printed)
    assert (tmp_path / "notebook_out" / "compare.html").stat().st_size > 100_000
