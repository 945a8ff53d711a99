"""Every prediction is in one report, whenever it was committed."""

from __future__ import annotations

import threading
from dataclasses import replace

import pandas as pd
import pytest
from sqlalchemy import Engine

from src.components.database.locks import LOCK
from src.components.drift_reporter import gather
from src.components.drift_reporter.evidence import Period
from src.components.drift_reporter.log import PIPELINE, MonitoringLog
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.verdict import Verdict
from src.components.ingestion.load import load_sensor_rows
from src.errors import DataError
from src.soft_sensor import SoftSensor
from tests.builders.months import compared
from tests.conftest import TEST_DATA
from tests.integration.workbench import Workbench
from tests.postgres import somebody_waits
from tests.processes import DEADLINE, wait_for


def _report(engine: Engine, spec: SoftSensor, status: Status) -> int:
    """Report on what is new, as the pipeline does. Returns how many phases were new."""
    log = MonitoringLog(engine, spec)
    period = log.period()
    try:
        month = gather.archived(engine, spec, period)
    except DataError:
        return 0
    _complete(log, period, month, status)
    return len(month)


def _complete(log: MonitoringLog, period: Period, month: pd.DataFrame, status: Status) -> None:
    evidence = replace(compared(month, month, log.spec), period=period)
    verdict = Verdict(status, [], pd.DataFrame(), {}, 0.5, {}, [])
    with log.journal.run(PIPELINE, "commit") as run_id:
        log.complete(run_id, evidence, verdict, {}, findings=[])


def _fifties(features: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """What a bundle returns, with 50 for every number."""
    numbers = [name for each in spec.targets for name in (each.name, each.lower, each.upper)]
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
    report = threading.Thread(
        target=lambda: seen.append(_report(engine, spec, Status.NO_DRIFT)), daemon=True
    )
    report.start()
    what = "a report that waits for the prediction"
    wait_for(lambda: somebody_waits(engine, LOCK), what, report.is_alive)
    release.set()
    run.join()
    report.join()
    assert seen[0] > 20
    assert _report(engine, spec, Status.NO_DRIFT) == 0


def test_too_few_rows_are_in_the_next_report_again(engine: Engine, spec: SoftSensor) -> None:
    load_sensor_rows(engine, spec, TEST_DATA / "synthetic_online.csv")

    Workbench(engine, spec).score(lambda features: _fifties(features, spec))
    first = _report(engine, spec, Status.TOO_FEW)
    assert first > 20
    assert _report(engine, spec, Status.NO_DRIFT) == first
    assert _report(engine, spec, Status.NO_DRIFT) == 0


def test_too_few_rows_that_a_person_accepts_are_a_report(engine: Engine, spec: SoftSensor) -> None:
    load_sensor_rows(engine, spec, TEST_DATA / "synthetic_online.csv")
    Workbench(engine, spec).score(lambda features: _fifties(features, spec))
    assert _report(engine, spec, Status.TOO_FEW) > 20
    log = MonitoringLog(engine, spec)
    assert "(not enough rows)" in log.accept(None, healthy=True)
    assert _report(engine, spec, Status.NO_DRIFT) == 0
    period = log.period()
    assert len(log.earlier(period, "1").accepted) == 1
    log.accept(None, healthy=False)
    assert log.period().since is None


def test_an_accepted_alarm_is_known_as_one(engine: Engine, spec: SoftSensor) -> None:
    load_sensor_rows(engine, spec, TEST_DATA / "synthetic_online.csv")
    Workbench(engine, spec).score(lambda features: _fifties(features, spec))
    _report(engine, spec, Status.ALARM)
    log = MonitoringLog(engine, spec)
    log.accept(None, healthy=True)
    earlier = log.earlier(log.period(), "1")
    assert earlier.alarms == earlier.accepted and len(earlier.alarms) == 1


def test_a_period_that_a_user_requests_leaves_the_schedule_as_it_is(
    engine: Engine, spec: SoftSensor
) -> None:
    load_sensor_rows(engine, spec, TEST_DATA / "synthetic_online.csv")
    Workbench(engine, spec).score(lambda features: _fifties(features, spec))
    log = MonitoringLog(engine, spec)
    requested = log.period(since="2020-01-01")
    assert requested.requested and requested.since == pd.Timestamp("2020-01-01", tz="UTC")
    month = gather.archived(engine, spec, requested)
    _complete(log, requested, month, Status.NO_DRIFT)
    assert log.period().since is None
    assert len(gather.archived(engine, spec, log.period())) > 20


def test_two_reports_at_once_are_one(engine: Engine, spec: SoftSensor) -> None:
    first, second = MonitoringLog(engine, spec), MonitoringLog(engine, spec)
    with first.alone() as alone, second.alone() as also_alone:
        assert alone and not also_alone
    with second.alone() as alone:
        assert alone


@pytest.mark.parametrize(
    "details",
    [
        "[]",
        "null",
        '"text"',
        "{}",
        '{"until": "soon", "asked_for": false}',
        '{"until": 5, "asked_for": false}',
        '{"until": "2026-02-30T00:00:00Z", "asked_for": false}',
        '{"until": "2026-02-01T00:00:00Z", "since": ["2026-01-01"], "asked_for": false}',
        '{"until": "9999-01-01T00:00:00Z", "asked_for": false}',
    ],
)
def test_details_that_another_writer_has_spoilt_are_not_a_report(
    engine: Engine, spec: SoftSensor, bench: Workbench, details: str
) -> None:
    load_sensor_rows(engine, spec, TEST_DATA / "synthetic_online.csv")
    bench.score(lambda features: _fifties(features, spec))
    log = MonitoringLog(engine, spec)
    assert _report(engine, spec, Status.ALARM) > 20
    before = log.period().since
    assert before is not None
    bench.execute(
        "INSERT INTO runs (pipeline, started_at, ended_at, outcome, details) "
        "VALUES ('monitor', 'infinity', 'infinity', 'no drift', CAST(:details AS jsonb))",
        details=details,
    )
    period = log.period()
    assert period.since == before
    assert not log.earlier(period, "1").accepted
    assert [run["outcome"] for run in log.journal.newest("monitor")] == ["no drift", "alarm"]
    age = log.journal.age_of_last_good("monitor")
    assert age is not None and age < pd.Timedelta(minutes=5)
