"""Laboratory values that come when the raw rows are gone still teach the next model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from src import simulator
from src.cli.commands import main
from src.components.backfill.training import DataSet
from src.components.ingestion.load import load_sensor_rows
from src.errors import DataError
from src.pipelines.predict_pipeline import predict
from src.pipelines.train_pipeline import prepare
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor

NEW = range(25, 31)


def _run(*words: str) -> str:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(name="dataset")
def fixture_dataset(
    engine: Engine, mlflow: Path, small_dataset: Path, home: Path, spec: SoftSensor
) -> Path:
    """A data set whose laboratory file names six experiments more, of which the ledger knows.

    They were predicted, and their raw rows are removed. Of the first there are few rows only.
    """
    assert mlflow.is_dir()
    simulator.simulate(home / "week", experiments=6, seconds=120, seed=3, first=25)
    load_sensor_rows(engine, spec, home / "week" / "sensors.csv")
    with engine.begin() as connection:
        first = "SELECT max(timestamp) - 20 FROM online_data WHERE experimentnummer = 25"
        few = f"DELETE FROM online_data WHERE experimentnummer = 25 AND timestamp < ({first})"
        connection.execute(text(few))
    assert predict(Settings())
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE online_data"))
    folder = home / "Dataset"
    folder.mkdir()
    (folder / "sensors.csv").symlink_to(small_dataset / "sensors.csv")
    added = (home / "week" / "lab.csv").read_text(encoding="utf-8").split("\n", maxsplit=1)[1]
    known = (small_dataset / "lab.csv").read_text(encoding="utf-8")
    (folder / "lab.csv").write_text(known + added, encoding="utf-8")
    return folder


def test_archived_features_and_new_labels_join_the_training_table(
    dataset: Path, engine: Engine, spec: SoftSensor
) -> None:
    before, _ = prepare(DataSet(dataset), spec)
    assert not set(NEW) & set(before["experimentnummer"])
    said = _run("collect")
    after, _ = prepare(DataSet(dataset), spec)
    joined = after[after["experimentnummer"].isin(NEW)]
    assert set(joined["experimentnummer"]) == set(NEW) - {25}
    assert f"{len(joined)} analysed phases" in said
    with engine.connect() as connection:
        ledger = pd.read_sql(text("SELECT * FROM latest_predictions"), connection)
    both = joined.merge(ledger, on=spec.columns.keys, suffixes=("", "_archived"))
    assert len(both) == len(joined)
    archived = both[[f"{name}_archived" for name in spec.features]]
    pd.testing.assert_frame_equal(
        both[spec.features], archived.set_axis(spec.features, axis=1), check_exact=True
    )
    assert joined[spec.target_names].notna().to_numpy().mean() > 0.8
    same = after[~after["experimentnummer"].isin(NEW)].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, before)


def test_collecting_again_changes_nothing_also_when_the_ledger_is_lost(
    dataset: Path, engine: Engine
) -> None:
    _run("collect")
    collected = (dataset / "archived.csv").read_bytes()
    _run("collect")
    assert (dataset / "archived.csv").read_bytes() == collected
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE archived_data"))
    _run("collect")
    assert (dataset / "archived.csv").read_bytes() == collected


def _report(engine: Engine, **details: Any) -> None:
    """What a report leaves in the journal."""
    usual: dict[str, Any] = {
        "asked_for": False,
        "since": None,
        "until": "2999-01-01T00:00:00Z",
        "onsets": {},
    }
    run = "INSERT INTO runs (pipeline, started_at, ended_at, outcome, details) VALUES "
    run += "('monitor', now(), now(), 'alarm', CAST(:details AS jsonb))"
    with engine.begin() as connection:
        connection.execute(text(run), {"details": json.dumps(usual | details)})


def test_phases_in_which_a_sensor_was_at_fault_are_left_out_unless_a_person_says_otherwise(
    dataset: Path, engine: Engine
) -> None:
    _report(engine, sensors=["ph"])
    said = _run("collect")
    assert said.splitlines()[-1].startswith("0 analysed phases")
    assert not (dataset / "archived.csv").exists()
    assert not _run("collect", "--with-faulty").splitlines()[-1].startswith("0 analysed phases")


@pytest.mark.parametrize(
    ("details", "left"),
    [
        pytest.param({"sensors": []}, 5, id="an alarm that accuses no sensor"),
        pytest.param({"sensors": ["ph"], "accepted_at": "2026-02-01"}, 5, id="accepted"),
        pytest.param({"sensors": ["ph"], "asked_for": True}, 5, id="requested"),
        pytest.param({"sensors": ["ph"], "since": "2999-01-01T00:00:00Z"}, 5, id="later"),
        pytest.param({"sensors": ["ph"], "since": "soon"}, 5, id="spoilt"),
        pytest.param({"sensors": ["ph"], "onsets": {"ph": "FIFTH"}}, 3, id="since an onset"),
        pytest.param(
            {"sensors": ["ph", "druck1"], "onsets": {"ph": "FIFTH"}}, 0, id="one since before"
        ),
    ],
)
def test_a_fault_counts_from_its_beginning_until_it_is_repaired(
    dataset: Path, engine: Engine, details: dict[str, Any], left: int
) -> None:
    with engine.connect() as connection:
        begin = connection.scalar(
            text("SELECT min(first_timestamp) FROM archived_data WHERE experimentnummer = 29")
        )
    fifth = pd.Timestamp(begin, unit="s", tz="UTC").isoformat()
    onsets = {name: fifth for name in details.get("onsets", {})}
    _report(engine, **details | {"onsets": onsets})
    _run("collect")
    file = dataset / "archived.csv"
    collected = set(pd.read_csv(file, sep=";")["experimentnummer"]) if file.exists() else set()
    assert collected == set([*NEW][1 : left + 1])


def test_after_a_report_without_the_fault_it_has_passed(dataset: Path, engine: Engine) -> None:
    _report(engine, sensors=["ph"], until="2020-01-01T00:00:00Z")
    assert _run("collect").splitlines()[-1].startswith("0 analysed phases"), "it lasts"
    _report(engine, sensors=[], since="2020-01-01T00:00:00Z")
    assert not _run("collect").splitlines()[-1].startswith("0 analysed phases")
    assert (dataset / "archived.csv").exists()


def test_features_of_another_definition_are_not_mixed_in(dataset: Path, home: Path) -> None:
    _run("collect")
    params = home / "params.yaml"
    content = params.read_text(encoding="utf-8")
    params.write_text(content.replace("high: 14,", "high: 13,"), encoding="utf-8")
    with pytest.raises(DataError, match="archived.csv.*has since redefined"):
        prepare(DataSet(dataset), load_soft_sensor(params))
    (dataset / "archived.csv").unlink()
    said = _run("collect")
    assert said.splitlines()[-1].startswith("0 analysed phases")
    assert not (dataset / "archived.csv").exists()


def test_the_laboratory_is_sent_for_what_it_has_not_analysed(dataset: Path, home: Path) -> None:
    listed = _run("next-sample", "--dataset", str(home / "nothing"))
    assert "of 6 experiments" in listed.replace("\n", " ")
    assert any(str(number) in listed for number in NEW)
    assert "of 0 experiments" in _run("next-sample", "--dataset", str(dataset)).replace("\n", " ")
