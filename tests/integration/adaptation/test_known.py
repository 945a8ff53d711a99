"""Which laboratory values count, and what becomes of predictions: on a real database and model."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from src import simulator
from src.cli.commands import main
from src.components.adaptation import known
from src.components.adaptation.replay import SHIFT, TARGET, State
from src.components.ingestion import laboratory
from src.components.ingestion.load import load_sensor_rows
from src.components.predictor.correction import VALUES
from src.components.predictor.scoring import Served
from src.components.registry.cache import fetch_production
from src.components.registry.versions import Registry
from src.pipelines.predict_pipeline import predict
from src.settings import Settings
from src.soft_sensor import SoftSensor

FIRST, LAST = 101, 120  # experiments, one a day until yesterday
CHANGED = "nichtionischentenside"  # of which the laboratory finds four times as much


def _run(*words: str) -> str:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def _execute(engine: Engine, statement: str, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), values)


@pytest.fixture(name="model")
def fixture_model(production: Path, spec: SoftSensor) -> Served:
    """Version 1, which is Production."""
    assert production.is_dir()
    return fetch_production(Registry(Settings(), spec.name))


@pytest.fixture(name="analysed")
def fixture_analysed(engine: Engine, spec: SoftSensor, home: Path, model: Served) -> Path:
    """Twenty predicted experiments, and the file of their laboratory values, which is loaded."""
    assert model.version == "1"
    folder = home / "month"
    simulator.simulate(folder, LAST - FIRST + 1, seconds=120, seed=3, first=FIRST)
    load_sensor_rows(engine, spec, folder / "sensors.csv")
    predict(Settings())
    # So that the test holds in any year.
    days = f"{LAST + 1} - experimentnummer"
    age = f"UPDATE archived_data SET last_timestamp = extract(epoch FROM now()) - 86400 * ({days})"
    _execute(engine, age)
    file = folder / "lab.csv"
    table = pd.read_csv(file, sep=";")
    table.loc[table[CHANGED] >= 0, CHANGED] *= 4
    table.to_csv(file, sep=";", index=False)
    laboratory.load(engine, spec, file, accept_outliers="me: another surfactant")
    return file


def _state(
    engine: Engine, model: Served, spec: SoftSensor, as_of: pd.Timestamp | None = None
) -> State:
    return known.state(engine, model, spec, as_of)


def _count(state: State) -> int:
    return int(state.evidence[VALUES].sum())


def _same_levels(state: State, other: State) -> bool:
    names = [SHIFT, VALUES]
    return bool((state.levels[names] == other.levels[names]).all(axis=None))


@pytest.mark.usefixtures("analysed")
def test_a_change_that_the_laboratory_sees_corrects_the_next_predictions(
    engine: Engine, spec: SoftSensor, home: Path
) -> None:
    simulator.simulate(home / "next", 2, seconds=120, seed=3, first=LAST + 1)
    load_sensor_rows(engine, spec, home / "next" / "sensors.csv")
    predict(Settings())
    with engine.connect() as connection:
        query = f"SELECT * FROM latest_predictions WHERE experimentnummer > {LAST}"
        rows = pd.read_sql(text(query), connection)
    assert len(rows) >= 3
    target = spec.target(CHANGED)
    assert (rows["adaptation"] == "on").all() and (rows[VALUES] >= 15).all()
    assert (rows[target.name] == rows[target.adapted]).all()
    assert (rows[target.name] > 1.5 * rows[target.alone]).any()
    for name in spec.target_names:
        ends = rows[[f"{name}_lower", name, f"{name}_upper"]]
        assert (ends.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    words = _run("why", str(LAST + 1))
    assert "adapted by the laboratory values of" in words
    assert "nonionic surfactant" in words and "by the model alone" in words
    assert "with the limits and shares that params.yaml has now" not in words
    assert "adaptation on: washing (" in _run("status")


@pytest.mark.usefixtures("analysed")
def test_in_shadow_nothing_changes_but_what_is_recorded(
    engine: Engine, spec: SoftSensor, home: Path, monkeypatch: pytest.MonkeyPatch, params: Path
) -> None:
    changed = params.read_text(encoding="utf-8").replace("adaptation: on", "adaptation: shadow")
    (home / "shadow.yaml").write_text(changed, encoding="utf-8")
    monkeypatch.setenv("IMPRESS_PARAMS", str(home / "shadow.yaml"))
    simulator.simulate(home / "next", 2, seconds=120, seed=3, first=LAST + 1)
    load_sensor_rows(engine, spec, home / "next" / "sensors.csv")
    predict(Settings())
    with engine.connect() as connection:
        query = f"SELECT * FROM latest_predictions WHERE experimentnummer > {LAST}"
        rows = pd.read_sql(text(query), connection)
    target = spec.target(CHANGED)
    assert (rows["adaptation"] == "shadow").all()
    assert (rows[target.name] == rows[target.alone]).all()
    assert (rows[target.adapted] > 1.5 * rows[target.alone]).any()
    assert "shadow by the laboratory values" in _run("why", str(LAST + 1))


@pytest.mark.usefixtures("analysed")
def test_values_that_fit_no_prediction_of_this_version_change_nothing(
    engine: Engine, spec: SoftSensor, model: Served
) -> None:
    before = _state(engine, model, spec)
    assert before.levels.loc[before.levels[TARGET] == CHANGED, SHIFT].max() > 1
    insert = f"INSERT INTO laboratory_data (experimentnummer, waschen, {CHANGED}) VALUES "
    _execute(engine, f"{insert} (101, 7, 900), (9999, 1, 900), (NULL, 1, 900), (102, NULL, 900)")
    assert _same_levels(before, _state(engine, model, spec))
    other = "UPDATE archived_data SET model_version = '0' WHERE experimentnummer < 111"
    _execute(engine, other)
    assert _count(_state(engine, model, spec)) < _count(before) - 15
    newer = Served(model.bundle, "2")
    assert _count(_state(engine, newer, spec)) == 0, "a new version begins at zero"


@pytest.mark.usefixtures("analysed")
def test_phases_of_the_future_and_of_doubtful_clocks_do_not_count(
    engine: Engine, spec: SoftSensor, model: Served
) -> None:
    count = _count(_state(engine, model, spec))
    own = "WHERE experimentnummer = 105 AND waschen = 1"
    for change in (
        "last_timestamp = extract(epoch FROM now()) + 86400",
        "last_timestamp = 1e300",
        "last_timestamp = 'NaN'",
        "last_timestamp = NULL",
        "last_timestamp = extract(epoch FROM now()) - 86400, flags = 'clock_jump'",
    ):
        _execute(engine, f"UPDATE archived_data SET {change} {own}")
        assert _count(_state(engine, model, spec)) == count - 1, change


def test_values_corrected_twice_count_as_they_are_now_and_then_as_they_were(
    engine: Engine, spec: SoftSensor, model: Served, analysed: Path
) -> None:
    first = _state(engine, model, spec)
    table = pd.read_csv(analysed, sep=";")
    moments = [first.as_of]
    for factor in (0.25, 4.0):
        table.loc[table[CHANGED] >= 0, CHANGED] *= factor
        table.to_csv(analysed, sep=";", index=False)
        laboratory.load(engine, spec, analysed, accept_outliers="me: another surfactant")
        moments.append(_state(engine, model, spec).as_of)
    again = [_state(engine, model, spec, moment) for moment in moments]
    assert _same_levels(again[0], first)
    shifts = [each.levels.loc[each.levels[TARGET] == CHANGED, SHIFT].max() for each in again]
    assert shifts[0] > 1 > shifts[1] and shifts[2] == pytest.approx(shifts[0], abs=0.05)


@pytest.mark.usefixtures("analysed")
def test_withdrawn_values_count_no_longer(engine: Engine, spec: SoftSensor, model: Served) -> None:
    count = _count(_state(engine, model, spec))
    _execute(engine, "INSERT INTO laboratory_data (experimentnummer, waschen) VALUES (105, 1)")
    assert _count(_state(engine, model, spec)) == count - 1
    _execute(engine, "DELETE FROM laboratory_data WHERE experimentnummer > 105")
    assert 0 < _count(_state(engine, model, spec)) <= 10
    _execute(engine, "DELETE FROM laboratory_data")
    assert _count(_state(engine, model, spec)) == 0


@pytest.mark.usefixtures("analysed")
def test_phases_whose_sensor_was_at_fault_do_not_count_since_monitor_has_found_it(
    engine: Engine, spec: SoftSensor, model: Served
) -> None:
    before = _state(engine, model, spec)
    details: dict[str, object] = {"asked_for": False, "since": None, "onsets": {}}
    details |= {"until": "2999-01-01T00:00:00Z", "sensors": ["ph"]}
    run = (
        "INSERT INTO runs (pipeline, started_at, ended_at, outcome, details) VALUES "
        "('monitor', clock_timestamp(), clock_timestamp(), 'alarm', CAST(:details AS jsonb))"
    )
    _execute(engine, run, details=json.dumps(details))
    assert _count(_state(engine, model, spec)) == 0
    assert _same_levels(before, _state(engine, model, spec, before.as_of))


@pytest.mark.usefixtures("analysed")
def test_phases_that_the_model_was_trained_on_show_nothing(
    engine: Engine, spec: SoftSensor, model: Served
) -> None:
    count = _count(_state(engine, model, spec))
    trained = model.bundle.reference[spec.columns.experiment].iloc[0]
    for table in ("archived_data", "laboratory_data"):
        rename = f"UPDATE {table} SET experimentnummer = :trained WHERE experimentnummer = 105"
        _execute(engine, rename, trained=int(trained))
    assert _count(_state(engine, model, spec)) == count - 2


@pytest.mark.usefixtures("analysed")
def test_a_year_later_the_model_is_alone(engine: Engine, spec: SoftSensor, model: Served) -> None:
    later = pd.Timestamp.now("UTC") + pd.Timedelta(days=400)
    assert _count(_state(engine, model, spec, later)) == 0


@pytest.mark.usefixtures("analysed")
def test_the_commands_show_state_history_and_need() -> None:
    words = _run("adapt")
    assert "adaptation is on: it corrects predictions" in words
    assert "nonionic surfactant washing x" in words
    assert "no laboratory value since version 1" in _run("adapt", "--as-of", "2020-01-01")
    # Nothing was known when all were predicted at once; with a delay it would have been.
    history = _run("adapt", "--backtest", "--delay", "1d")
    assert "verdicts, the model alone: of" in history and "verdicts, adapted: of" in history
    alone, adapted = history.split("nonionic surfactant [mg/L]")[1].split()[:2]
    assert float(adapted) < float(alone)
    assert "verdicts, adapted" in _run("adapt", "--backtest")
    assert "the next month needs" in _run("next-sample")
    assert CliRunner().invoke(main, ["adapt", "--delay", "1d"]).exit_code == 2


@pytest.mark.usefixtures("production")
def test_without_a_value_the_commands_say_so(engine: Engine) -> None:
    assert engine
    assert "has predicted no phase that was analysed since" in _run("adapt", "--backtest")
    assert "no laboratory value since version 1" in _run("adapt")
    assert "nothing was predicted with it yet" in _run("status")
