"""`impress check` on real servers: what is in place, what is not, and what to do about it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from src.cli.check import Finding, Grade, look
from src.cli.commands import main
from src.components.database import schema
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.conftest import ROOT

NOWHERE = Path("nowhere")


def about(subject: str, found: list[Finding]) -> dict[str, Grade]:
    """Words and grades of one subject."""
    return {each.words: each.grade for each in found if each.subject == subject}


def only(subject: str, found: list[Finding]) -> tuple[Grade, str]:
    """The only finding about a subject."""
    ((words, grade),) = about(subject, found).items()
    return grade, words


def change(engine: Engine, *statements: str) -> None:
    """What an administrator does."""
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_before_the_first_week_it_says_what_to_do_and_makes_nothing(tmp_path: Path) -> None:
    settings = Settings(impress_home=tmp_path / "home")
    found = look(settings, NOWHERE)
    assert "impress init" in only("database", found)[1]
    assert "impress promote" in only("registry", found)[1]
    assert "SMTP_HOST" in only("mail", found)[1]
    assert {each.grade for each in found} == {Grade.OK, Grade.WARNING}
    assert not (tmp_path / "home" / "artifacts" / "pgdata").exists()


def test_a_complete_installation_is_in_order(
    engine: Engine, trained_home: Path, small_dataset: Path, smtp: Path, tmp_path: Path
) -> None:
    assert engine.url.database
    home = Path(shutil.copytree(trained_home, tmp_path / "home"))
    archive = tmp_path / "raw"
    settings = Settings(impress_home=home, raw_archive=str(archive))
    found = look(settings, small_dataset)
    words = "\n".join(each.words for each in found)
    assert "all tables fit; 0 rows in the inbox, 0 predictions" in words
    assert "version 1 of laundry is Production and fits params.yaml" in words
    assert "analysed phases of 24 groups" in words
    assert only("mail", found)[0] == only("raw archive", found)[0] == Grade.OK
    assert not [each for each in found if each.grade == Grade.FAULT]
    assert not list(archive.iterdir())
    assert not smtp.exists() or not list(smtp.iterdir())


def test_a_column_of_another_type_is_named_with_the_statement_that_repairs_it(
    engine: Engine, spec: SoftSensor
) -> None:
    change(
        engine,
        'ALTER TABLE online_data ALTER COLUMN ph TYPE text, ALTER COLUMN "timestamp" TYPE real',
        "ALTER TABLE online_data ALTER COLUMN experimentnummer TYPE text",
        "ALTER TABLE online_data ALTER COLUMN druck1 TYPE numeric(8, 3), "
        "ALTER COLUMN fluss1 TYPE integer",
    )
    faults = schema.misfits(engine, spec)
    named = [fault.partition(" is ")[0] for fault in faults]
    assert named == ["online_data.experimentnummer", "online_data.timestamp", "online_data.ph"]
    grades = about("database", look(Settings(), NOWHERE))
    assert all(grades[fault] == Grade.FAULT for fault in faults)
    for fault in faults:
        change(engine, fault.partition(": ")[2])
    assert not schema.misfits(engine, spec)


def test_a_view_and_what_init_would_add_are_named(engine: Engine, spec: SoftSensor) -> None:
    change(
        engine,
        "ALTER TABLE online_data RENAME TO measured",
        "CREATE VIEW online_data AS SELECT * FROM measured",
        "ALTER TABLE archived_data DROP COLUMN flags CASCADE",
        "DROP TABLE laboratory_data",
    )
    (fault,) = schema.misfits(engine, spec)
    assert fault.startswith("online_data is a view")
    assert {"archived_data.flags", "laboratory_data"} <= set(schema.missing(engine, spec))


def test_a_wrong_login_at_the_mail_server_is_named_and_no_mail_is_sent(
    smtp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMAIL_PASS", "an0ther-w0rd")
    grade, words = only("mail", look(Settings(), NOWHERE))
    assert grade == Grade.FAULT
    assert "EMAIL_PASS" in words and "an0ther-w0rd" not in words
    assert not smtp.exists() or not list(smtp.iterdir())


def test_an_archive_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file", encoding="utf-8")
    settings = Settings(raw_archive=str(tmp_path / "raw"))
    grade, words = only("raw archive", look(settings, NOWHERE))
    assert grade == Grade.FAULT and "RAW_ARCHIVE" in words


def test_a_fault_ends_with_code_1_and_everything_else_is_still_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text("name: [", encoding="utf-8")
    monkeypatch.setenv("IMPRESS_PARAMS", str(tmp_path / "params.yaml"))
    monkeypatch.setenv("IMPRESS_HOME", str(tmp_path))
    result = CliRunner().invoke(main, ["check"])
    assert result.exit_code == 1
    assert "fault    params: " in result.stdout and "line 1" in result.stdout
    assert "mail: " in result.stdout and "raw archive: " in result.stdout


def test_too_few_groups_for_intervals_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from src import simulator

    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    wide = params.replace("coverage: 0.9 ", "coverage: 0.95 ")  # which needs 19 groups
    (tmp_path / "params.yaml").write_text(wide, encoding="utf-8")
    monkeypatch.setenv("IMPRESS_PARAMS", str(tmp_path / "params.yaml"))
    simulator.simulate(tmp_path / "Dataset", experiments=12, seconds=60, seed=3)
    grades = about("data set", look(Settings(), tmp_path / "Dataset"))
    warned = [words for words, grade in grades.items() if grade == Grade.WARNING]
    assert any("12 groups are too few for intervals that cover 95%" in w for w in warned), grades
