"""The exploratory notebook runs anywhere, and what is committed of it is clean."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import black
import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from src.soft_sensor import SoftSensor
from tests.processes import DEADLINE

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "src" / "notebooks" / "exploration.ipynb"
MOST_BYTES = 400_000
FIGURES = 5


@pytest.fixture(name="notebook")
def fixture_notebook() -> NotebookNode:
    """What is committed."""
    found: NotebookNode = nbformat.read(NOTEBOOK, 4)  # type: ignore[no-untyped-call]  # theirs
    return found


@pytest.fixture(name="kernel_home")
def fixture_kernel_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Where Jupyter, IPython and their like write and look for settings: an empty folder."""
    folder = tmp_path_factory.mktemp("kernel")
    for name in ("DATA_DIR", "CONFIG_DIR", "RUNTIME_DIR"):
        monkeypatch.setenv(f"JUPYTER_{name}", str(folder))
    for name in ("HOME", "IPYTHONDIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(folder))
    return folder


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in _code(notebook) for output in cell.outputs]


def _figures(notebook: NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for output in _outputs(notebook))


def _words(notebook: NotebookNode) -> str:
    """All that the outputs say, without the figures."""
    texts = [output.get("text", "") for output in _outputs(notebook)]
    for output in _outputs(notebook):
        data = output.get("data", {})
        texts += [text for kind, text in data.items() if kind.startswith("text/")]
    return "\n".join(texts)


def _run(notebook: NotebookNode, folder: Path) -> None:
    """Execute in place, by this interpreter and without what it said before."""
    for cell in _code(notebook):
        cell.outputs, cell.execution_count = [], None
    where = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, kernel_name="python3", timeout=DEADLINE, resources=where)
    client.execute()


@pytest.mark.usefixtures("kernel_home")
def test_the_notebook_runs_on_a_data_set_folder(
    notebook: NotebookNode, home: Path, small_dataset: Path
) -> None:
    shutil.copytree(small_dataset, home / "Dataset")
    _run(notebook, home)
    assert _figures(notebook) == FIGURES
    assert [o for o in _outputs(notebook) if o.get("name") == "stderr"] == []
    assert sorted(file.name for file in home.iterdir()) == ["Dataset", "params.yaml"]


@pytest.mark.usefixtures("kernel_home")
def test_without_a_data_set_it_simulates_one_for_itself(
    notebook: NotebookNode, home: Path, spec: SoftSensor
) -> None:
    below = home / "src" / "notebooks"
    below.mkdir(parents=True)
    place = next(n for n, cell in enumerate(notebook.cells) if cell.id == "contents")
    notebook.cells = notebook.cells[: place + 1]
    _run(notebook, below)
    assert "100 phases have features and labels" in _words(notebook)
    for target in spec.targets:
        assert target.title in _words(notebook)
    assert sorted(file.name for file in home.iterdir()) == ["params.yaml", "src"]
    assert not list(below.iterdir())


def test_what_is_committed_was_executed_from_top_to_bottom(notebook: NotebookNode) -> None:
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in _code(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert _figures(notebook) == FIGURES
    assert {output.output_type for output in _outputs(notebook)} <= {"stream", "display_data"}
    assert [o for o in _outputs(notebook) if o.get("name") == "stderr"] == []


def test_what_is_committed_is_small_and_tells_nothing_of_a_machine(notebook: NotebookNode) -> None:
    assert NOTEBOOK.stat().st_size < MOST_BYTES
    absolute = r"(?<![\w.<])/\w+/|\b[A-Za-z]:\\|\\Users\\"
    assert re.findall(absolute, _words(notebook)) == []
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert "version" not in notebook.metadata.language_info
    assert [cell.id for cell in notebook.cells if cell.metadata] == []


def test_its_cells_are_formatted_like_the_rest(notebook: NotebookNode) -> None:
    for cell in _code(notebook):
        mode = black.Mode(line_length=100)
        assert black.format_str(cell.source, mode=mode) == f"{cell.source}\n", cell.id
