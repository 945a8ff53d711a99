"""The monthly task on real servers: who gets which message, how often, and what is kept."""

from __future__ import annotations

import re
import subprocess
import sys
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from src import simulator
from src.cli.commands import main
from src.components.drift_reporter import gather
from src.components.drift_reporter.evidence import Period
from src.components.drift_reporter.log import MonitoringLog, moment
from src.components.ingestion import laboratory
from src.components.ingestion.analysed import analysed
from src.components.ingestion.load import load_sensor_rows
from src.components.registry.production import production
from src.components.registry.versions import Registry
from src.pipelines.predict_pipeline import predict
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.mail_html import read_mail
from tests.postgres import somebody_waits
from tests.processes import running, wait_for

WAITING = 4712  # an advisory lock that makes a run wait where it is to be killed


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(name="no_weekly_letter", autouse=True)
def fixture_no_weekly_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mail of the month only."""
    monkeypatch.setenv("EMAIL_WEEKLY", "false")


def _archive(
    engine: Engine, spec: SoftSensor, folder: Path, first: int, fault: str | None = None
) -> Path:
    """Thirty experiments, simulated, loaded and predicted. Returns their laboratory file."""
    month = folder / f"month{first}"
    simulator.simulate(month, experiments=30, seconds=120, seed=3, first=first, fault=fault)
    load_sensor_rows(engine, spec, month / "sensors.csv")
    predict(Settings())
    return month / "lab.csv"


def _mail(mailbox: Path) -> list[EmailMessage]:
    return [
        message_from_bytes(file.read_bytes(), policy=policy.default)
        for file in sorted(mailbox.iterdir())
    ]


def _runs(engine: Engine) -> pd.DataFrame:
    with engine.connect() as connection:
        query = text("SELECT * FROM runs WHERE pipeline = 'monitor' ORDER BY id")
        return pd.read_sql(query, connection)


def _tests(engine: Engine, run_id: int) -> pd.DataFrame:
    with engine.connect() as connection:
        query = text(
            "SELECT * FROM monitoring_tests WHERE run_id = :id ORDER BY kind, part, indicator"
        )
        table = pd.read_sql(query, connection, params={"id": run_id})
    return table.drop(columns="run_id")


@pytest.mark.usefixtures("production")
def test_a_healthy_month_is_reported_but_not_mailed(
    engine: Engine, spec: SoftSensor, home: Path, smtp: Path
) -> None:
    _archive(engine, spec, home, first=101)
    assert _run("monitor").exit_code == 0
    runs = _runs(engine)
    assert runs["outcome"].tolist() in (["no drift"], ["watch"])
    page = Path(runs["details"][0]["report"])
    assert page.is_file() and page.with_name("evidently.html").stat().st_size > 100_000
    assert not smtp.exists() or not _mail(smtp)
    again = _run("monitor", "--since", "2020-01-01", "--always-mail")
    assert again.exit_code == 0, again.output
    (message,) = _mail(smtp)
    assert str(runs["outcome"][0]) in message["Subject"]


@pytest.mark.usefixtures("production")
def test_a_failing_probe_is_named_in_one_message_and_the_window_can_be_looked_at_again(
    engine: Engine, spec: SoftSensor, home: Path, smtp: Path
) -> None:
    values = _archive(engine, spec, home, first=201, fault="gain:leitfaehigkeit")
    assert len(laboratory.load(engine, spec, values).new) > 50
    assert _run("monitor").exit_code == 0
    (message,) = _mail(smtp)
    assert re.fullmatch(r"laundry, \w+ \d{4}: alarm: conductivity", message["Subject"])
    assert len(message.as_bytes()) < 300_000
    assert not list(message.iter_attachments()), "Evidently's page stays where it is"
    page = message.get_body(("html",))
    assert page is not None
    mail = read_mail(page.get_content())
    assert not mail.faults
    assert "conductivity reads wrongly" in mail.texts
    body = message.get_body(("plain",))
    assert body is not None
    words = body.get_content()
    for part in (
        "conductivity: ",
        "rinsing: +",
        "washing: +",
        "What to do: ",
        "How certain: ",
        "surface tension",
    ):
        assert part in words
    (run,) = _runs(engine).to_dict("records")
    assert run["outcome"] == "alarm" and run["details"]["sensors"] == ["leitfaehigkeit"]

    second = f"{moment(run['details']['until']).ceil('s'):%Y-%m-%dT%H:%M:%S}"
    assert _run("monitor", "--until", second).exit_code == 0
    first, *_, last = _runs(engine)["id"]
    pd.testing.assert_frame_equal(_tests(engine, first), _tests(engine, last))
    assert len(_mail(smtp)) == 1
    assert "nothing was archived" in _run("monitor").stderr


@pytest.mark.usefixtures("production")
def test_a_message_that_was_not_taken_is_sent_once_by_the_next_run(
    engine: Engine,
    spec: SoftSensor,
    home: Path,
    smtp: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _archive(engine, spec, home, first=301, fault="offset:ph")
    right = Settings().smtp_port
    monkeypatch.setattr("src.components.emailer.outbox.WAITS", (0.0,))
    monkeypatch.setenv("SMTP_PORT", "1")
    failed = _run("monitor")
    assert failed.exit_code == 1 and "did not accept the message" in failed.stderr
    assert len(list((home / "artifacts/outbox/unsent").glob("*.eml"))) == 1
    assert "until" not in _runs(engine)["details"][0], "the window must stay due"
    monkeypatch.setenv("SMTP_PORT", str(right))
    assert _run("monitor").exit_code == 0
    assert len(_mail(smtp)) == 1
    assert not list((home / "artifacts/outbox/unsent").glob("*.eml"))
    last = _runs(engine).iloc[-1]
    assert last["outcome"] == "alarm" and last["details"]["mail"] == "sent by an earlier run"


@pytest.mark.usefixtures("production")
def test_a_run_that_is_killed_after_its_message_was_taken_repeats_the_work_and_not_the_message(
    engine: Engine, spec: SoftSensor, home: Path, smtp: Path
) -> None:
    _archive(engine, spec, home, first=401, fault="offset:ph")
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                f"PERFORM pg_advisory_xact_lock_shared({WAITING}); RETURN NULL; END $$"
            )
        )
        connection.execute(
            text(
                "CREATE TRIGGER pause BEFORE INSERT ON monitoring_tests "
                "FOR EACH STATEMENT EXECUTE FUNCTION pause()"
            )
        )
    with engine.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_lock({WAITING})"))
        connection.commit()
        command = [sys.executable, "-m", "src.cli", "monitor"]
        with running(command, stderr=subprocess.DEVNULL) as process:
            wait_for(
                lambda: somebody_waits(engine, WAITING),
                "a run that waits to write its tests",
                alive=lambda: process.poll() is None,
            )
            process.kill()
            process.wait()
        connection.commit()
    assert len(_mail(smtp)) == 1
    assert _run("monitor").exit_code == 0
    assert _runs(engine)["outcome"].tolist() == ["died", "alarm"]
    assert len(_mail(smtp)) == 1


@pytest.mark.usefixtures("production")
def test_a_month_that_a_person_found_healthy_is_part_of_the_reference(
    engine: Engine, spec: SoftSensor, home: Path
) -> None:
    _archive(engine, spec, home, first=101)
    assert _run("monitor").exit_code == 0
    accepted = _run("monitor", "--accept")
    assert "counts as healthy from now on" in accepted.stdout
    _archive(engine, spec, home, first=131)
    log = MonitoringLog(engine, spec)
    period = log.period()
    (healthy,) = log.earlier(period, "1").accepted
    assert healthy.since is None and healthy.until == period.since
    assert not log.earlier(period, "2").accepted, "a new version brings a reference of its own"
    first = log.period(until=_runs(engine)["details"][0]["until"])
    assert not log.earlier(first, "1").accepted, "a month is not compared with itself"
    report = _run("monitor")
    assert "1 report accepted as healthy" in report.stderr
    accepted_run = str(_runs(engine)["id"][0])
    no_longer = _run("monitor", "--no-accept", "--report", accepted_run)
    assert "no longer counts as healthy" in no_longer.stdout
    assert not log.earlier(period, "1").accepted
    refused = _run("monitor", "--accept", "--report", "77")
    assert refused.exit_code == 1 and "there is no report 77" in refused.stderr


@pytest.mark.usefixtures("production")
def test_laboratory_values_come_once_and_can_be_corrected(
    engine: Engine, spec: SoftSensor, home: Path
) -> None:
    file = _archive(engine, spec, home, first=101)
    assert len(laboratory.load(engine, spec, file).new) > 50
    assert laboratory.load(engine, spec, file).samples.empty
    early = pd.Timestamp.now("UTC")
    table = pd.read_csv(file, sep=";")
    own = table["bemerkungen"].eq("W1") & table["experimentnummer"].eq(105)
    table.loc[own, "oberflaechenspannung"] = 44.0
    table = pd.concat([table, table[own].assign(experimentnummer=9999)])
    table.to_csv(file, sep=";", index=False)
    change = laboratory.load(engine, spec, file)
    assert change.new["experimentnummer"].tolist() == [9999]
    assert len(change.corrected) == own.sum()
    phase = "experimentnummer == 105 and waschen == 1"
    late = pd.Timestamp.now("UTC")
    with engine.connect() as connection:
        corrected = analysed(connection, spec, late).query(phase)
        original = analysed(connection, spec, early).query(phase)
        newest, unmatched = gather.arrivals(connection, spec, late)
    assert corrected["oberflaechenspannung_measured"].tolist() == [44.0]
    assert original["oberflaechenspannung_measured"].tolist() != [44.0]
    first_arrivals = (corrected["loaded_at"].tolist(), original["loaded_at"].tolist())
    assert first_arrivals[0] == first_arrivals[1], "when it came first"
    assert newest is not None and early < newest < late
    assert unmatched == 1


@pytest.mark.usefixtures("production")
def test_a_model_that_became_worse_is_found_by_laboratory_values_alone(
    engine: Engine, spec: SoftSensor, home: Path, smtp: Path
) -> None:
    file = _archive(engine, spec, home, first=101)
    table = pd.read_csv(file, sep=";")
    measured = table["nichtionischentenside"] >= 0
    table.loc[measured, "nichtionischentenside"] *= 4
    table.to_csv(file, sep=";", index=False)
    laboratory.load(engine, spec, file, accept_outliers="me: another surfactant")
    assert _run("monitor").exit_code == 0
    (message,) = _mail(smtp)
    assert message["Subject"] == "laundry, January 2026: alarm"
    body = message.get_body(("plain",))
    assert body is not None
    assert "impress train --retrain" in body.get_content()
    assert "nonionic surfactant: " in body.get_content()
    version = production(Registry(Settings(), spec.name))
    assert version and version.number == "1", "nothing promotes itself"


@pytest.mark.parametrize(
    "words, moments",
    [("2026-03-01", "2026-03-01T00:00Z"), ("2026-03-01T01:00+01:00", "2026-03-01T00:00Z")],
)
def test_moments_without_a_zone_are_utc(words: str, moments: str) -> None:
    assert moment(words) == pd.Timestamp(moments)


@pytest.mark.usefixtures("production")
def test_one_phase_only_is_not_called_healthy(engine: Engine, spec: SoftSensor, home: Path) -> None:
    _archive(engine, spec, home, first=101)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM archived_data WHERE waschen = 0"))
    output = _run("monitor").stderr
    assert "There are 0 rinsing phases in the month" in output
    assert "no drift" not in output
    assert _runs(engine)["outcome"][0] != "no drift"


@pytest.mark.usefixtures("production")
def test_whole_numbers_are_exact_beside_rows_without_one(
    engine: Engine, spec: SoftSensor, home: Path
) -> None:
    month = home / "month"
    simulator.simulate(month, experiments=3, seconds=120, seed=3, first=1)
    load_sensor_rows(engine, spec, month / "sensors.csv")
    numbers = {-(2**53) - 1, 2**53 + 1, 2**63 - 1}
    with engine.begin() as connection:
        for place, number in enumerate(sorted(numbers)):
            connection.execute(
                text(
                    "UPDATE online_data SET experimentnummer = :new WHERE experimentnummer = :old"
                ),
                {"new": number, "old": place + 1},
            )
            connection.execute(
                text(
                    "INSERT INTO laboratory_data (experimentnummer, waschen, oberflaechenspannung) "
                    "VALUES (:number, 0, 50), (NULL, 0, 50), (:number, NULL, 50)"
                ),
                {"number": number},
            )
    predict(Settings())
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO archived_data (experimentnummer, waschen, predicted_at, run_id) "
                "VALUES (NULL, 0, now(), NULL), (1, NULL, now(), NULL), (NULL, NULL, now(), NULL)"
            )
        )
    assert set(gather.archived(engine, spec, Period(None, _now()))["experimentnummer"]) == numbers
    with engine.connect() as connection:
        assert set(analysed(connection, spec, _now())["experimentnummer"]) == numbers
    for number in numbers:
        traced = _run("why", "--", str(number))
        assert traced.exit_code == 0, traced.output
        assert f"experiment {number}, rinsing" in traced.stdout
    assert _run("why", "--", str(2**53)).exit_code == 1


def _now() -> pd.Timestamp:
    return pd.Timestamp.now("UTC")


@pytest.mark.usefixtures("production")
def test_rows_of_the_ledger_that_are_not_possible_are_left_out_and_counted(
    engine: Engine, spec: SoftSensor, home: Path
) -> None:
    _archive(engine, spec, home, first=101)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO archived_data (experimentnummer, waschen, predicted_at, ph_median, "
                "last_timestamp) SELECT n, 0, now(), CASE n % 3 WHEN 0 THEN 'Infinity' "
                "WHEN 1 THEN 1e308 ELSE -20 END, 'NaN' FROM generate_series(1001, 1010) n"
            )
        )
    output = _run("monitor").stderr
    assert "of 30 experiments. 10 predictions were left out" in output
    with engine.begin() as connection:
        connection.execute(text("UPDATE archived_data SET ph_mean = 'Infinity'"))
        connection.execute(text("UPDATE archived_data SET predicted_at = now()"))
    failed = _run("monitor")
    assert failed.exit_code == 1
    assert "none of the 70 predictions archived" in failed.stderr
