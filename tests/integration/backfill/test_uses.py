"""What a scored history is good for."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pandas as pd
import pytest
from pyarrow import parquet
from sqlalchemy import Engine, text

from src.components.backfill.ledger import Ledger
from src.components.backfill.results import Results
from src.components.backfill.training import DataSet, opened
from src.components.backfill.units import Share
from src.components.drift_reporter.evidence import Period
from src.components.drift_reporter.gather import archived
from src.components.predictor.scoring import Scored
from src.components.registry.versions import Registry
from src.errors import DataError
from src.pipelines.monitor_history_pipeline import monitor_history
from src.pipelines.train_pipeline import prepare, version_of
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.integration.backfill.conftest import UNIT_ROWS, Command, Score, content, phases


def _upload(folder: Path, address: str) -> None:
    name, _, prefix = address.removeprefix("s3://").partition("/")
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            key = f"{prefix}/{file.relative_to(folder)}"
            boto3.client("s3").upload_file(str(file), name, key)


def test_from_s3_to_s3_is_as_from_folder_to_folder(
    score: Score, history: Path, spec: SoftSensor, bucket: str, tmp_path: Path
) -> None:
    score()
    _upload(history, f"{bucket}/history")
    out = f"{bucket}/Spülgänge #1"  # no part of it means anything in an address
    options: dict[str, Any] = {"source": f"{bucket}/history", "out": out}
    for share in (Share(2, 2), Share(1, 2)):
        summary = score(**options, share=share)
    assert not summary.missing
    assert score(**options).counts.rows == 0
    found = Results(out).phases().sort_values(spec.columns.keys, ignore_index=True)
    pd.testing.assert_frame_equal(found, phases(tmp_path / "out", spec), check_exact=True)


def test_into_the_ledger_each_phase_comes_once(
    score: Score, engine: Engine, spec: SoftSensor, tmp_path: Path
) -> None:
    score()
    first = score(out=None, share=Share(1, 2))
    second = score(out=None)
    third = score(out=None)
    assert first.missing and not second.missing
    assert third.counts.rows == 0
    with engine.connect() as connection:
        ledger = pd.read_sql(text("SELECT * FROM archived_data"), connection)
        runs = pd.read_sql(text("SELECT * FROM runs ORDER BY id"), connection)
    expected = phases(tmp_path / "out", spec)
    found = ledger.sort_values(spec.columns.keys).reset_index(drop=True)
    pd.testing.assert_frame_equal(found[expected.columns], expected, check_exact=True)
    assert set(runs["pipeline"]) == {"backfill"} and len(runs) == second.units
    assert set(runs["outcome"]) == {"done", "partial"}


def test_a_phase_that_the_weekly_task_has_predicted_is_not_added(
    score: Score, engine: Engine
) -> None:
    score(out=None)
    with engine.begin() as connection:
        before = connection.scalar(text("SELECT count(*) FROM archived_data"))
        connection.execute(text("UPDATE archived_data SET run_id = 0"))
        connection.execute(text("DELETE FROM runs"))
    assert score(out=None).counts.phases == before
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM archived_data")) == before


def test_late_rows_of_a_phase_stay_late_when_it_is_predicted_again_from_a_history(
    score: Score, engine: Engine
) -> None:
    score(out=None)
    with engine.begin() as connection:  # as if another model had predicted it, and rows were purged
        connection.execute(text("UPDATE archived_data SET purged_at = now(), model_version = '0'"))
        connection.execute(text("DELETE FROM runs"))
    added = score(out=None).counts.phases
    with engine.connect() as connection:
        query = "SELECT count(purged_at) FROM archived_data WHERE model_version = '1'"
        assert connection.scalar(text(query)) == added > 0


def test_two_workers_that_do_the_same_unit_add_it_once(
    score: Score, engine: Engine, spec: SoftSensor, tmp_path: Path
) -> None:
    score()
    ledger = phases(tmp_path / "out", spec)
    scored = Scored("1", ledger, ledger.head(0))
    facts = {"code_version": "unknown"}

    def work(unit: str) -> None:
        Ledger(engine, spec).write(unit, scored, ledger.head(0), facts)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, ["one", "one", "of other rows", "one"]))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM archived_data")) == len(ledger)
        assert connection.scalar(text("SELECT count(*) FROM runs")) == 2


def test_what_was_backfilled_is_not_of_the_month(
    score: Score, engine: Engine, spec: SoftSensor
) -> None:
    score(out=None)
    now = pd.Timestamp.now("UTC") + pd.Timedelta(days=1)
    with pytest.raises(DataError, match="nothing was archived"):
        archived(engine, spec, Period(None, now))


def test_a_window_of_a_history_is_compared_with_the_reference(
    score: Score, engine: Engine, spec: SoftSensor, tmp_path: Path
) -> None:
    score()
    out = str(tmp_path / "out")
    report = monitor_history(Settings(), out, "2025-12-31", "2026-01-02")
    assert report.page.is_file()
    assert "Evaluated" in report.summary.text("")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM runs")) == 0
    with pytest.raises(DataError, match="no phase of .* ended in this time"):
        monitor_history(Settings(), out, "2030-01-01", "2030-02-01")
    assert spec.name


def test_results_that_are_not_complete_are_not_used(
    score: Score, engine: Engine, tmp_path: Path
) -> None:
    assert engine
    score(share=Share(1, 2))
    with pytest.raises(DataError, match="holds no complete results"):
        monitor_history(Settings(), str(tmp_path / "out"), "2026-01-01", "2026-01-02")


def test_two_versions_are_compared(
    command: Command,
    score: Score,
    history: Path,
    small_production: Path,
    spec: SoftSensor,
    tmp_path: Path,
) -> None:
    assert small_production
    score(out=str(tmp_path / "old"))
    record = tmp_path / "old" / "manifest.json"
    manifest = json.loads(record.read_text(encoding="utf-8"))
    manifest["model_version"] = "0"
    record.write_text(json.dumps(manifest), encoding="utf-8")
    changed = _another_verdict(tmp_path / "old", spec)
    arguments = [str(history), str(tmp_path / "out"), "--unit-rows", str(UNIT_ROWS)]
    done = command("backfill", *arguments, "--against", str(tmp_path / "old"), "--version", "1")
    assert done.exit_code == 0, done.stderr
    assert f"version 0 (rows) and version 1 (columns): {changed} changed" in done.stdout
    as_json = command("backfill", *arguments, "--against", str(tmp_path / "old"), "--json")
    figures = json.loads(as_json.stdout)
    assert figures["comparison"]["changed"] == changed and figures["missing"] == 0


def test_shares_are_compared_when_all_are_there(
    command: Command, score: Score, history: Path, tmp_path: Path
) -> None:
    score(out=str(tmp_path / "old"))
    arguments = [str(history), str(tmp_path / "out"), "--unit-rows", str(UNIT_ROWS)]
    arguments += ["--against", str(tmp_path / "old")]
    for share, compared in (("1/2", False), ("2/2", True)):
        done = command("backfill", *arguments, "--share", share)
        assert done.exit_code == 0, done.stderr
        assert ("0 changed" in done.stdout) is compared
        assert ("not compared with" in done.stdout) is not compared


def _another_verdict(folder: Path, spec: SoftSensor) -> int:
    """Change the verdicts of one file; how many."""
    judged = [phase.value for phase in spec.phases if phase.judged]
    for file in sorted(folder.rglob("month=*/*.parquet")):
        frame = parquet.ParquetFile(file).read().to_pandas()
        rows = frame[spec.columns.phase].isin(judged)
        if rows.any():
            frame.loc[rows, "verdict"] = "another"
            frame.to_parquet(file, index=False)
            return int(rows.sum())
    raise AssertionError("no judged phase")


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_training_from_a_history_is_training_from_a_file(
    spec: SoftSensor,
    small_dataset: Path,
    tmp_path: Path,
    where: str,
    request: pytest.FixtureRequest,
) -> None:
    by_file, _ = prepare(DataSet(small_dataset), spec)
    folder = tmp_path / "Dataset"
    rows = pd.read_csv(small_dataset / spec.files.sensors, sep=spec.files.separator)
    for number, part in rows.groupby(rows["experimentnummer"] // 5):
        file = folder / "sensors" / f"{number}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        part.to_parquet(file, index=False)
    laboratory = (small_dataset / spec.files.laboratory).read_text(encoding="utf-8")
    (folder / spec.files.laboratory).write_text(laboratory, encoding="utf-8")
    files = spec.files.model_copy(update={"sensors": "sensors"})
    spec = spec.model_copy(update={"files": files})
    address = str(folder)
    if where == "bucket":
        address = request.getfixturevalue("bucket")
        _upload(folder, address)
    with opened(address, spec, tmp_path / "converted") as data:
        table, account = prepare(data, spec)
        version = version_of(data)
    pd.testing.assert_frame_equal(table, by_file, rtol=1e-9)
    assert "+" in version
    assert any("rows of experiments with laboratory values" in line for line in account.lines())


def test_a_data_set_without_laboratory_values_is_named(bucket: str, spec: SoftSensor) -> None:
    with pytest.raises(DataError, match="has no lab.csv: is it a data set"):
        with opened(bucket, spec, Path("converted")):
            pass


def test_missing_credentials_are_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    done = command("backfill", "s3://plant/history", "out")
    assert done.exit_code == 1
    assert "check the address, and the credentials and region of AWS" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name either OUT or --into database"),
        (["out", "--into", "database"], "name either OUT or --into database"),
        (["out", "--engine", "spark"], "need each other"),
        (["out", "--share", "0/4"], "is not a share such as 3/16"),
        (["out", "--share", "5/4"], "is not a share such as 3/16"),
        (["--into", "database", "--against", "old"], "--against needs OUT"),
        (
            ["out", "--engine", "spark", "--master", "local", "--spark", "x"],
            "is not a setting such",
        ),
        (["gs://bucket/out"], "is neither a folder nor s3://"),
        (["out", "--against", "gs://bucket/out"], "is neither a folder nor s3://"),
    ],
)
def test_wrong_use_is_explained(command: Command, arguments: list[str], words: str) -> None:
    done = command("backfill", "history", *arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())


def test_the_version_can_be_chosen(score: Score, spec: SoftSensor, tmp_path: Path) -> None:
    assert Registry(Settings(), spec.name).versions()
    assert score(version="1").counts.phases
    assert content(tmp_path / "out")
