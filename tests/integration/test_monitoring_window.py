"""Every prediction is looked at by one report, whenever it was committed."""

from __future__ import annotations

import threading

import pandas as pd
from sqlalchemy import Engine

from src.components import database, drift_reporter
from src.components.drift_reporter import OK, TOO_FEW
from src.components.journal import Journal
from src.soft_sensor import SoftSensor
from tests.conftest import TEST_DATA
from tests.integration.workbench import Workbench


def _report(engine: Engine, sensor: SoftSensor, outcome: str) -> int:
    """Look at what is new and note it, as the pipeline does. Returns how many phases were new."""
    since = drift_reporter.last_report(engine, sensor)
    month, until = drift_reporter.read_window(engine, sensor, since)
    journal = Journal(engine, sensor)
    with journal.run("monitor", "commit") as run_id, engine.begin() as connection:
        details = {"until": until.isoformat()}
        journal.complete(connection, run_id, outcome=outcome, details=details)
    return len(month)


def _fifties(features: pd.DataFrame, sensor: SoftSensor) -> pd.DataFrame:
    """What a bundle returns, with 50 for every number."""
    numbers = [f"{t}{end}" for t in sensor.target_names for end in ("", "_lower", "_upper")]
    return pd.DataFrame(50.0, features.index, numbers).assign(flags="", verdict="")


def test_a_report_waits_for_a_prediction_that_is_under_way(
    engine: Engine, sensor: SoftSensor
) -> None:
    database.load(engine, sensor, TEST_DATA / "synthetic_online.csv")
    inside, release = threading.Event(), threading.Event()

    def predict(features: pd.DataFrame) -> pd.DataFrame:
        inside.set()
        assert release.wait(30)
        return _fifties(features, sensor)

    run = threading.Thread(target=Workbench(engine, sensor).score, args=(predict,))
    run.start()
    assert inside.wait(30)
    seen: list[int] = []
    report = threading.Thread(target=lambda: seen.append(_report(engine, sensor, OK)))
    report.start()
    report.join(timeout=1)
    assert report.is_alive(), "the report must not overtake the prediction"
    release.set()
    run.join()
    report.join()
    assert seen[0] > 20
    assert _report(engine, sensor, OK) == 0


def test_too_few_rows_are_looked_at_again(engine: Engine, sensor: SoftSensor) -> None:
    database.load(engine, sensor, TEST_DATA / "synthetic_online.csv")

    Workbench(engine, sensor).score(lambda features: _fifties(features, sensor))
    first = _report(engine, sensor, TOO_FEW)
    assert first > 20
    assert _report(engine, sensor, OK) == first
    assert _report(engine, sensor, OK) == 0
