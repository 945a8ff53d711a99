"""Every prediction is looked at by one report, whenever it was committed."""

from __future__ import annotations

import threading

import pandas as pd
from sqlalchemy import Engine

from src.components import database, windows
from src.components.drift_tests import OK, TOO_FEW
from src.components.monitoring_log import PIPELINE, MonitoringLog
from src.components.verdict import Verdict
from src.soft_sensor import SoftSensor
from tests.conftest import TEST_DATA
from tests.integration.workbench import Workbench


def _report(engine: Engine, sensor: SoftSensor, outcome: str) -> int:
    """Look at what is new and note it, as the pipeline does. Returns how many phases were new."""
    log = MonitoringLog(engine, sensor)
    window = log.window()
    month = windows.read(engine, sensor, window)
    with log.journal.run(PIPELINE, "commit") as run_id:
        verdict = Verdict(outcome, [], pd.DataFrame(), {}, 0.5, {}, [])
        log.complete(run_id, window, "1", verdict, {})
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


def test_a_window_that_somebody_asks_for_leaves_the_schedule_as_it_is(
    engine: Engine, sensor: SoftSensor
) -> None:
    database.load(engine, sensor, TEST_DATA / "synthetic_online.csv")
    Workbench(engine, sensor).score(lambda features: _fifties(features, sensor))
    log = MonitoringLog(engine, sensor)
    asked = log.window(since="2020-01-01")
    assert asked.asked_for and asked.since == pd.Timestamp("2020-01-01", tz="UTC")
    with log.journal.run(PIPELINE, "commit") as run_id:
        log.complete(run_id, asked, "1", Verdict(OK, [], pd.DataFrame(), {}, 0.5, {}, []), {})
    assert log.window().since is None
    assert len(windows.read(engine, sensor, log.window())) > 20


def test_two_reports_at_once_are_one(engine: Engine, sensor: SoftSensor) -> None:
    first, second = MonitoringLog(engine, sensor), MonitoringLog(engine, sensor)
    with first.alone() as alone, second.alone() as also_alone:
        assert alone and not also_alone
    with second.alone() as alone:
        assert alone
