"""What is left in a folder of results when others work there, too, or were killed there."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from src.components.backfill.results import Results, open_results, read_results
from src.components.backfill.source import Source, find
from src.components.predictor.scoring import Scored
from src.components.transformation.features import feature_definition
from src.errors import DataError
from src.soft_sensor import SoftSensor

FACTS: dict[str, Any] = {
    **dict.fromkeys(("rows", "scored_rows", "refused_rows", "unread_rows", "phases"), 1),
    "damaged": [],
}
NOTHING = pd.DataFrame()


@pytest.fixture(name="results")
def fixture_results(tmp_path: Path) -> Results:
    """An empty folder."""
    return Results(str(tmp_path / "out"))


def _write(results: Results, name: str, **facts: Any) -> None:
    ledger = pd.DataFrame({"experimentnummer": [1], "first_timestamp": 1767225600.0})
    results.write(name, Scored("1", ledger, NOTHING), NOTHING, {**FACTS, **facts})


def _phases(results: Results) -> set[str]:
    return {file.stem for file in Path(results.root).rglob("phases/*/*.parquet")}


def test_what_no_longer_counts_goes_and_so_does_what_a_kill_has_left(results: Results) -> None:
    root = Path(results.root)
    for name in ("old", "killed", "at work", "new"):
        _write(results, name)
    for name in ("killed", "at work"):
        (root / "units" / f"{name}.json").unlink()
    (killed,) = root.rglob("killed.parquet")
    os.utime(killed, (1, 1))
    results.close(["new"], {"model_version": "7"})
    assert results.units == {"new"} and _phases(results) == {"new", "at work"}
    assert len(results.phases()) == 1


def test_what_a_kill_has_left_to_remove_goes_at_the_next_start(results: Results) -> None:
    _write(results, "old")
    _write(results, "new")
    record = (Path(results.root) / "units" / "old.json").read_bytes()
    (phases,) = Path(results.root).rglob("old.parquet")
    content = phases.read_bytes()
    results.close(["new"], {})
    for file, its in ((phases, content), (Path(results.root) / "units" / "old.json", record)):
        file.write_bytes(its)
        os.utime(file, (1, 1))
    results.note_failure("other", {})
    results.close(["new"], {})
    assert results.units == _phases(results) == {"new"}
    assert not list((Path(results.root) / "failed").iterdir())


def test_a_straggler_of_the_old_model_leaves_what_the_new_one_has_done(results: Results) -> None:
    _write(results, "of 6")
    results.close(["of 6"], {"model_version": "6"})
    _write(results, "of 7")
    results.close(["of 6"], {"model_version": "6"})
    assert results.units == {"of 6", "of 7"} == _phases(results)


def test_files_that_were_skipped_are_in_the_manifest(results: Results) -> None:
    for name, damaged in (("a", ["2.parquet: cut"]), ("b", ["2.parquet: cut", "1.parquet: cut"])):
        _write(results, name, damaged=damaged)
    results.close(["a", "b"], {})
    assert results.manifest()["damaged"] == ["1.parquet: cut", "2.parquet: cut"]


def test_results_with_other_features_are_not_read(results: Results, spec: SoftSensor) -> None:
    _write(results, "unit", features=feature_definition(spec))
    results.close(["unit"], {})
    assert read_results(results.root, spec) == results
    fewer = spec.model_copy(update={"sensors": spec.sensors[1:]})
    with pytest.raises(DataError, match="was scored with other features than params.yaml names"):
        read_results(results.root, fewer)


@pytest.fixture(name="source")
def fixture_source(tmp_path: Path) -> Source:
    """A history of one file."""
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "1.parquet").touch()
    return find(str(tmp_path / "history"))


def test_results_do_not_lie_in_their_history(source: Source, spec: SoftSensor) -> None:
    with pytest.raises(DataError, match="is part of the history"):
        open_results(f"{source.address}/out", source, spec)
    pattern = replace(source, address=str(Path(source.address).parent / "*"))
    with pytest.raises(DataError, match="is part of the history"):
        open_results(f"{source.address} out", pattern, spec)
    assert open_results(f"{source.address} out", source, spec).units == set()


def test_a_folder_that_somebody_else_has_marked_is_refused(
    source: Source, spec: SoftSensor, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "history.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="name another folder"):
        open_results(str(tmp_path / "out"), source, spec)
