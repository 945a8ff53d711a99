"""The weekly letter on real servers: what it says, and that it comes once a week."""

from __future__ import annotations

import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from src import simulator
from src.components.database.journal import Journal
from src.components.emailer.letter import compose, message_id
from src.components.ingestion.load import load_sensor_rows
from src.components.page.source import Source
from src.components.weekly.content import Content, content
from src.components.weekly.letter import send_weekly, weekly_letter
from src.components.weekly.log import LetterLog
from src.pipelines.predict_pipeline import predict
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor
from tests.mail_html import read_mail

EXPERIMENTS = 12
# The model of the tests has seen too few experiments to be certain of anything.
VERDICTS = """
    UPDATE archived_data SET verdict = CASE experimentnummer % 4
      WHEN 0 THEN 'not clean' WHEN 1 THEN 'uncertain: take a laboratory sample' ELSE 'clean' END
    WHERE waschen = 0"""
NOT_CLEAN, UNCERTAIN = ("304", "308", "312"), ("301", "305", "309")

pytestmark = pytest.mark.usefixtures("production")


def _load(engine: Engine, spec: SoftSensor, home: Path, first: int) -> None:
    folder = home / f"rows{first}"
    simulator.simulate(folder, experiments=EXPERIMENTS, seconds=100, seed=first, first=first)
    load_sensor_rows(engine, spec, folder / "sensors.csv")


def _mail(mailbox: Path) -> list[EmailMessage]:
    files = sorted(mailbox.iterdir()) if mailbox.exists() else []
    return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]


def _part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def _last_run(engine: Engine, spec: SoftSensor) -> int:
    return int(Journal(engine, spec).newest("predict", 1)[0]["id"])


@pytest.fixture(name="scored")
def fixture_scored(
    engine: Engine, spec: SoftSensor, home: Path, monkeypatch: pytest.MonkeyPatch
) -> int:
    """Results of each verdict without a letter about them; the run that scored them."""
    with monkeypatch.context() as patch:
        patch.setenv("EMAIL_WEEKLY", "false")
        _load(engine, spec, home, first=301)
        predict(Settings())
    with engine.begin() as connection:
        connection.execute(text(VERDICTS))
    return _last_run(engine, spec)


def _content(engine: Engine, spec: SoftSensor) -> Content:
    said = content(Source(engine, Settings(), spec), None)
    assert said is not None
    return said


def test_the_letter_says_what_is_not_clean_and_what_to_sample(
    engine: Engine,
    spec: SoftSensor,
    smtp: Path,
    scored: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PAGE_URL", "https://impress.example.org/wash?a=1&b=2")
    send_weekly(engine, scored, spec, Settings())
    (message,) = _mail(smtp)
    subject = str(message["Subject"])
    assert subject.startswith("laundry, week ")
    assert subject.endswith(": 3 not clean, 3 uncertain, 6 clean")
    words, page = _part(message, "plain"), _part(message, "html")
    first_lines = words[: words.index("Can it be believed?")]
    assert re.search(r"^○ Sample next: \d+", words.split("✗ Not clean", maxsplit=1)[0], re.M)
    for experiment in (*NOT_CLEAN, *UNCERTAIN):
        assert experiment in first_lines
    assert first_lines.index("Not clean") < first_lines.index("Take laboratory samples")
    assert "No sensor to check" in first_lines
    mail = read_mail(page)
    assert not mail.faults
    assert set(NOT_CLEAN) <= set(mail.texts)
    assert any(UNCERTAIN[0] in part for part in mail.texts)
    assert mail.links == ["https://impress.example.org/wash?a=1&b=2"]
    assert len(message.as_bytes()) < 300_000
    # As it is on the page: the number of each verdict on each day.
    days = _content(engine, spec).days
    counts = [count for _, bars in days for _, count, _ in bars]
    assert sum(counts) == EXPERIMENTS


def test_the_letter_comes_once_a_week_and_only_after_new_results(
    engine: Engine, spec: SoftSensor, home: Path, smtp: Path
) -> None:
    predict(Settings())
    assert not _mail(smtp), "nothing was scored"
    _load(engine, spec, home, first=401)
    predict(Settings())
    (message,) = _mail(smtp)
    assert " uncertain, " in message["Subject"]
    sent, *_ = Journal(engine, spec).newest("predict", 1)
    assert sent["details"]["letter"]["to"].startswith("laboratory@localhost")
    _load(engine, spec, home, first=501)
    predict(Settings())
    assert len(_mail(smtp)) == 1


def test_the_letter_can_be_switched_off_and_needs_a_mail_server_by_default(
    engine: Engine, spec: SoftSensor, home: Path, smtp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMAIL_WEEKLY", "false")
    _load(engine, spec, home, first=401)
    predict(Settings())
    assert not _mail(smtp)
    monkeypatch.delenv("EMAIL_WEEKLY")
    monkeypatch.delenv("SMTP_HOST")
    assert not Settings().weekly_letter
    monkeypatch.setenv("EMAIL_WEEKLY", "true")
    assert Settings().weekly_letter


def test_two_runs_at_once_send_one_letter(
    engine: Engine, spec: SoftSensor, smtp: Path, scored: int
) -> None:
    settings = Settings()
    journal = Journal(engine, spec)
    with journal.run("predict", "test") as other:
        with ThreadPoolExecutor(2) as pool:
            for result in [
                pool.submit(send_weekly, engine, run, spec, settings) for run in (scored, other)
            ]:
                result.result()
    assert len(_mail(smtp)) == 1


def test_a_letter_that_was_not_taken_does_not_fail_the_run_and_is_sent_once_later(
    engine: Engine,
    spec: SoftSensor,
    home: Path,
    smtp: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    right = Settings().smtp_port
    monkeypatch.setattr("src.components.emailer.outbox.WAITS", (0.0,))
    monkeypatch.setenv("SMTP_PORT", "1")
    _load(engine, spec, home, first=401)
    with caplog.at_level(logging.WARNING):
        outcome = predict(Settings())
    assert outcome is not None and outcome.scored
    assert "the weekly letter was not sent" in caplog.text
    assert Journal(engine, spec).newest("predict", 1)[0]["outcome"] == "done"
    unsent = home / "artifacts/outbox/unsent"
    assert len(list(unsent.glob("*.eml"))) == 1
    monkeypatch.setenv("SMTP_PORT", str(right))
    for first in (501, 601):
        _load(engine, spec, home, first=first)
        predict(Settings())
    assert len(_mail(smtp)) == 1
    assert not list(unsent.glob("*.eml"))


def test_a_run_that_was_killed_before_it_sent_keeps_its_week_and_loses_no_result(
    engine: Engine, spec: SoftSensor, smtp: Path, scored: int
) -> None:
    settings = Settings()
    source = Source(engine, settings, spec)
    week = f"{source.now:%G-W%V}"
    letter = weekly_letter(_content(engine, spec), week, source)
    log = LetterLog(Journal(engine, spec))
    assert log.claim(scored, week, message_id(letter.key))
    with log.journal.run("predict", "test") as later:
        send_weekly(engine, later, spec, settings)
    assert not _mail(smtp), "a letter comes once or not at all"
    assert log.last_sent() is None, "the next one still knows what is new"
    log.release(scored)
    send_weekly(engine, scored, spec, settings)
    assert len(_mail(smtp)) == 1 and log.last_sent() is not None


def test_a_result_that_is_older_than_the_week_and_new_is_listed(
    engine: Engine, spec: SoftSensor, scored: int
) -> None:
    with engine.begin() as connection:
        days = "SELECT (max(last_timestamp) - min(last_timestamp)) / 86400 FROM archived_data"
        assert connection.scalar(text(days)) < 7
        move = "UPDATE archived_data SET last_timestamp = last_timestamp - 2e6 WHERE run_id = :run"
        connection.execute(text(f"{move} AND experimentnummer = 304"), {"run": scored})
    source = Source(engine, Settings(), spec)
    said = content(source, source.now - timedelta(hours=1))
    assert said is not None and said.older == "304"
    assert "304" not in [experiment for experiment, *_ in said.bad]
    told = content(source, source.now)
    assert told is not None and not told.older


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_letter_is_in_the_language_of_params(
    engine: Engine, spec: SoftSensor, home: Path, scored: int, language: str
) -> None:
    file = home / "params.yaml"
    params = file.read_text(encoding="utf-8")
    file.write_text(params.replace("language: en", f"language: {language}"), encoding="utf-8")
    own = load_soft_sensor(file)
    source = Source(engine, Settings(), own)
    letter = weekly_letter(_content(engine, own), "2026-W48", source)
    assert scored and spec.features == own.features
    counts = {
        "en": ": 3 not clean, 3 uncertain, 6 clean",
        "de": ": 3 nicht sauber, 3 unsicher, 6 sauber",
    }
    assert letter.subject.endswith(counts[language])
    assert letter.html is not None
    mail = read_mail(letter.html)
    assert not mail.faults
    if language == "de":
        assert "KW" in letter.subject
        words = f" {' '.join(mail.texts)} {letter.text} ".lower()
        for english in (" the ", " of ", " and ", " not ", " week"):
            assert english not in words


def test_names_from_the_plant_do_no_harm(engine: Engine, spec: SoftSensor, scored: int) -> None:
    evil = '<b onclick="x()">&\n\x1b\u202e'
    targets = tuple(
        target.model_copy(update={"title": evil, "unit": evil}) for target in spec.targets
    )
    sensor = spec.sensors[0].model_copy(update={"title": evil})
    named = spec.model_copy(update={"targets": targets, "sensors": (sensor, *spec.sensors[1:])})
    finding = {"status": "alarm", "what": evil, "advice": evil}
    details = {"until": "2026-11-27T00:00:00Z", "sensors": [sensor.name], "findings": [finding]}
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO runs (pipeline, started_at, ended_at, outcome, details) "
                "VALUES ('monitor', now(), now(), 'alarm', CAST(:details AS jsonb))"
            ),
            {"details": json.dumps(details | {"sensors": [sensor.name]}).replace("\\u0000", "")},
        )
    source = Source(engine, Settings(), named)
    letter = weekly_letter(_content(engine, named), "2026-W48", source)
    subject = str(compose(letter, Settings())["Subject"])
    assert "; check <b" in subject and subject.isprintable()
    assert scored and letter.html is not None
    assert "<b onclick" not in letter.html and "&lt;b onclick" in letter.html
    assert not read_mail(letter.html).faults
    assert "\x1b" not in letter.text and "\u202e" not in letter.text


def test_a_rig_without_verdicts_has_a_letter_too(
    engine: Engine, spec: SoftSensor, scored: int
) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE archived_data SET verdict = ''"))
    phases = tuple(phase.model_copy(update={"judged": False}) for phase in spec.phases)
    unjudged = spec.model_copy(update={"phases": phases})
    source = Source(engine, Settings(), unjudged)
    letter = weekly_letter(_content(engine, unjudged), "2026-W48", source)
    assert scored and letter.html is not None
    assert letter.subject.endswith(f": {2 * EXPERIMENTS} results")
    assert not read_mail(letter.html).faults
    assert "Not clean" not in letter.text


def test_more_than_can_be_listed_are_counted(
    engine: Engine, spec: SoftSensor, scored: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.components.weekly.content.ROWS", 1)
    monkeypatch.setattr("src.components.weekly.content.KEYS", 1)
    said = _content(engine, spec)
    assert scored and len(said.bad) == 1
    assert said.also_bad.endswith(" and 1 more")
    assert said.uncertain == f"{UNCERTAIN[0]} and 2 more"
    assert replace(said, bad=[]) != said
