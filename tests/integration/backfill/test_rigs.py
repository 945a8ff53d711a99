"""Several rigs in one history: each counts its own experiments, and each is judged by itself."""

from __future__ import annotations

import json
from email import policy
from email.parser import BytesParser
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, text

from src.soft_sensor import SoftSensor, load_soft_sensor, rig_of
from tests.builders.history import BEGIN, LENGTH, PAUSE, Rows, write
from tests.integration.backfill.conftest import Command, phases

RIGS = ("north", "south")
EXPERIMENTS, BEFORE = 26, 16  # so many are before the window
WINDOW = pd.Timestamp(BEGIN + 2 * BEFORE * (LENGTH + PAUSE) - PAUSE / 2, unit="s", tz="UTC")


@pytest.fixture(name="of_rigs")
def fixture_of_rigs(
    small_production: Path, params: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SoftSensor:
    """The soft sensor of several rigs, whose model is in production."""
    assert small_production
    content = params.read_text(encoding="utf-8")
    content = content.replace("experiment_type: integer", "experiment_type: text")
    file = tmp_path / "rigs.yaml"
    file.write_text(
        content.replace("columns:\n", "columns:\n  rig: maschine\n", 1), encoding="utf-8"
    )
    monkeypatch.setenv("IMPRESS_PARAMS", str(file))
    return load_soft_sensor(file)


def _rows(rig: str, spec: SoftSensor) -> pd.DataFrame:
    """Experiments from 1 on; in the window the probe of the southern rig reads wrongly."""
    rows = Rows(spec, seed=RIGS.index(rig))
    for experiment in range(1, EXPERIMENTS + 1):
        is_off = rig == "south" and experiment > BEFORE
        for phase in (1, 0):
            rows.add(experiment, phase)["ph"] += 0.1 * (experiment % 7) + 3.0 * is_off
    return rows.frame().assign(maschine=rig)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_two_rigs_are_scored_and_judged_each_by_itself(
    command: Command, of_rigs: SoftSensor, tmp_path: Path, kind: str
) -> None:
    source = tmp_path / "machines"
    source.mkdir()
    for rig in RIGS:
        rows = _rows(rig, of_rigs)
        if kind == "csv":
            rows.to_csv(source / f"{rig}.csv", sep=of_rigs.files.separator, index=False)
        else:
            write(rows, source / f"{rig}.parquet")
    out = str(tmp_path / "scored")
    done = command("backfill", str(source), out)
    assert done.exit_code == 0, done.stderr
    scored = phases(tmp_path / "scored", of_rigs)
    counts = scored[of_rigs.columns.experiment].map(rig_of).value_counts()
    assert counts.to_dict() == dict.fromkeys(RIGS, 2 * EXPERIMENTS)

    window = ["monitor", "--history", out, "--since", f"{WINDOW:%Y-%m-%dT%H:%M:%S}"]
    window += ["--until", "2026-03-01"]
    listed = command(*window, "--json")
    assert listed.exit_code == 0, listed.stderr
    worst, other = json.loads(listed.stdout)["rigs"]
    assert (worst["rig"], worst["status"], worst["sensors"]) == ("south", "alarm", ["pH"])
    assert other["status"] != "alarm"
    page = command(*window)
    assert "1 of 2 rigs needs somebody" in page.stdout
    assert list(tmp_path.rglob("rigs.html"))

    own = command(*window, "--rig", "south", "--json")
    assert own.exit_code == 0, own.stderr
    assert json.loads(own.stdout)["titles"] == ["pH"]
    nobody = command(*window, "--rig", "west")
    assert nobody.exit_code == 1 and "no phase of rig west ended in this time" in nobody.stderr


def test_an_alarm_of_one_rig_is_one_of_the_month(
    command: Command, of_rigs: SoftSensor, engine: Engine, tmp_path: Path
) -> None:
    with engine.begin() as connection:  # experiments are numbered in the tables of all tests
        connection.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
    assert command("init").exit_code == 0
    for rig in RIGS:
        (tmp_path / "machines").mkdir(exist_ok=True)
        write(_rows(rig, of_rigs), tmp_path / "machines" / f"{rig}.parquet")
    done = command("backfill", str(tmp_path / "machines"), "--into", "database")
    assert done.exit_code == 0, done.stderr
    with engine.begin() as connection:  # as if the weekly task had predicted them in time
        weekly = "UPDATE archived_data SET run_id = NULL, predicted_at = to_timestamp({time})"
        connection.execute(text(weekly.format(time="last_timestamp")))
    reported = command(
        *("monitor", "--since", f"{WINDOW:%Y-%m-%dT%H:%M:%S}", "--until", "2026-03-01"),
        "--always-mail",
    )
    assert reported.exit_code == 0, reported.stderr
    assert [file.name for file in tmp_path.rglob("rigs.html")] == ["rigs.html"]
    (mail,) = tmp_path.rglob("*.eml")
    letter = BytesParser(policy=policy.default).parsebytes(mail.read_bytes())
    body = letter.get_body(preferencelist=("plain",))
    assert body is not None
    assert "1 of 2 rigs needs somebody; south: alarm: pH" in " ".join(body.get_content().split())
    assert ": alarm" in letter["Subject"]


def test_a_name_that_is_not_clear_is_refused_before_anything_is_computed(
    command: Command, of_rigs: SoftSensor, tmp_path: Path
) -> None:
    source = tmp_path / "machines"
    source.mkdir()
    write(_rows("north", of_rigs).assign(maschine="site 1/north"), source / "rows.parquet")
    refused = command("backfill", str(source), str(tmp_path / "scored"))
    assert refused.exit_code == 1
    assert "'site 1/north/1' is not maschine/experimentnummer" in refused.stderr
