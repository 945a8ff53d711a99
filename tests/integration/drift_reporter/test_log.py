"""Every prediction is looked at by one report, whenever it was committed."""

from __future__ import annotations

import threading

import pandas as pd
from sqlalchemy import Engine

from src.components.database.locks import LOCK
from src.components.drift_reporter import evidence
from src.components.drift_reporter.drift_tests import OK, TOO_FEW
from src.components.drift_reporter.log import PIPELINE, MonitoringLog
from src.components.drift_reporter.verdict import Verdict
from src.components.ingestion.load import load_sensor_rows
from src.soft_sensor import SoftSensor
from tests.conftest import TEST_DATA
from tests.integration.workbench import Workbench
from tests.postgres import somebody_waits
from tests.processes import DEADLINE, wait_for


def _report(engine: Engine, spec: SoftSensor, outcome: str) -> int:
    """Look at what is new and note it, as the pipeline does. Returns how many phases were new."""
    log = MonitoringLog(engine, spec)
    window = log.window()
    month = evidence.read(engine, spec, window)
    with log.journal.run(PIPELINE, "commit") as run_id:
        verdict = Verdict(outcome, [], pd.DataFrame(), {}, 0.5, {}, [])
        log.complete(run_id, window, "1", verdict, {})
    return len(month)


def _fifties(features: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """What a bundle returns, with 50 for every number."""
    numbers = [f"{t}{end}" for t in spec.target_names for end in ("", "_lower", "_upper")]
    return pd.DataFrame(50.0, features.index, numbers).assign(flags="", verdict="")


def test_a_report_waits_for_a_prediction_that_is_under_way(
    engine: Engine, spec: SoftSensor
) -> None:
    load_sensor_rows(engine, spec, TEST_DATA / "synthetic_online.csv")
    inside, release = threading.Event(), threading.Event()

    def predict(features: pd.DataFrame) -> pd.DataFrame:
        inside.set()
        assert release.wait(DEADLINE)
        return _fifties(features, spec)

    run = threading.Thread(target=Workbench(engine, spec).score, args=(predict,), daemon=True)
    run.start()
    wait_for(inside.is_set, "a prediction", run.is_alive)
    seen: list[int] = []
    report = threading.Thread(target=lambda: seen.append(_report(engine, spec, OK)), daemon=True)
    report.start()
    what = "a report that waits for the prediction"
    wait_for(lambda: somebody_waits(engine, LOCK), what, report.is_alive)
    release.set()
    run.join()
    report.join()
    assert seen[0] > 20
    assert _report(engine, spec, OK) == 0


def test_too_few_rows_are_looked_at_again(engine: Engine, spec: SoftSensor) -> None:
    load_sensor_rows(engine, spec, TEST_DATA / "synthetic_online.csv")

    Workbench(engine, spec).score(lambda features: _fifties(features, spec))
    first = _report(engine, spec, TOO_FEW)
    assert first > 20
    assert _report(engine, spec, OK) == first
    assert _report(engine, spec, OK) == 0


def test_a_window_that_somebody_asks_for_leaves_the_schedule_as_it_is(
    engine: Engine, spec: SoftSensor
) -> None:
    load_sensor_rows(engine, spec, TEST_DATA / "synthetic_online.csv")
    Workbench(engine, spec).score(lambda features: _fifties(features, spec))
    log = MonitoringLog(engine, spec)
    asked = log.window(since="2020-01-01")
    assert asked.asked_for and asked.since == pd.Timestamp("2020-01-01", tz="UTC")
    with log.journal.run(PIPELINE, "commit") as run_id:
        log.complete(run_id, asked, "1", Verdict(OK, [], pd.DataFrame(), {}, 0.5, {}, []), {})
    assert log.window().since is None
    assert len(evidence.read(engine, spec, log.window())) > 20


def test_two_reports_at_once_are_one(engine: Engine, spec: SoftSensor) -> None:
    first, second = MonitoringLog(engine, spec), MonitoringLog(engine, spec)
    with first.alone() as alone, second.alone() as also_alone:
        assert alone and not also_alone
    with second.alone() as alone:
        assert alone
