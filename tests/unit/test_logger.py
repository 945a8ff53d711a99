"""The edge of a process: safe lines on console and in the log file, and an exit code."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from src.errors import DataError
from src.logger import job
from src.process import numbered, run_number

SECRET = "hush-hush/1"
FORGED = "two\nlines \x1b[31m"


@pytest.fixture(autouse=True)
def fixture_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret in the environment."""
    monkeypatch.setenv("DB_PASSWORD", SECRET)


def run(error: Exception) -> None:
    """A job that says something everywhere and fails."""
    with pytest.raises(SystemExit, match="1"), job("test"):
        logging.getLogger("src.some").warning("%s and %s", SECRET, FORGED)
        print(f"printed {SECRET}")
        sys.stderr.writelines([f"written {SECRET}\n"])
        raise error


def test_a_failure_that_a_user_can_fix_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    run(DataError(f"no {SECRET} in {FORGED}"))
    out, err = capsys.readouterr()
    assert out == "printed ***\n"
    assert r"WARNING src.some: *** and two\nlines \x1b[31m" in err
    assert "written ***\n" in err
    assert err.splitlines()[-1].endswith(r"ERROR   test: no *** in two\nlines \x1b[31m")
    assert "Traceback" not in err


def test_the_log_file_has_the_traceback_and_is_private(home: Path) -> None:
    run(DataError(f"no {SECRET} in {FORGED}"))
    (file,) = (home / "logs").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    *_, error, heading, first, _, _, _, _, last, forged = file.read_text("utf-8").splitlines()
    assert "ERROR   test: no ***" in error and heading.endswith("traceback:")
    assert first == "  Traceback (most recent call last):"
    assert last == "  src.errors.DataError: no *** in two"
    assert forged == r"  lines \x1b[31m"


def test_any_other_failure_shows_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise KeyError(f"the cause, {SECRET}")
    except KeyError as cause:
        error = RuntimeError("unknown")
        error.__cause__ = cause
    run(error)
    err = capsys.readouterr().err
    assert "test failed; see also " in err
    assert "  KeyError: 'the cause, ***'" in err and "  RuntimeError: unknown" in err
    assert SECRET not in err


def test_a_wrong_variable_is_one_line_without_its_value(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("DB_HOSTNAME", f"postgresql://user:{SECRET}@host")
    with pytest.raises(SystemExit, match="1"), job("test"):
        pytest.fail("it does not begin")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ERROR   test: DB_HOSTNAME is not " in line and "hush" not in line
    assert not (home / "logs").exists()


def test_handlers_of_libraries_get_safe_records(caplog: pytest.LogCaptureFixture) -> None:
    run(DataError(SECRET))
    assert "***" in caplog.text and SECRET not in caplog.text


def test_nothing_of_it_stays() -> None:
    before = sys.stdout, sys.stderr, logging.getLogRecordFactory(), logging.getLogger().handlers[:]
    run(DataError("no"))
    after = sys.stdout, sys.stderr, logging.getLogRecordFactory(), logging.getLogger().handlers[:]
    assert after == before


def json_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What is on the console, each line an object."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_json_has_one_object_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    with job("predict"):
        logging.getLogger("src.some").info(FORGED, extra={"counts": {"rows": 3}})
        with numbered(7):
            logging.getLogger("src.some").warning("%s", SECRET)
    outside, inside = json_lines(capsys)
    moment = datetime.fromisoformat(outside.pop("time"))
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)
    assert outside == {
        "level": "INFO",
        "pipeline": "predict",
        "logger": "src.some",
        "message": r"two\nlines \x1b[31m",
        "counts": {"rows": 3},
    }
    assert (inside["run"], inside["message"], inside["level"]) == (7, "***", "WARNING")
    (file,) = (home / "logs").iterdir()
    assert [json.loads(line)["pipeline"] for line in file.read_text("utf-8").splitlines()]


def test_json_has_the_traceback_of_an_unknown_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    with pytest.raises(SystemExit, match="1"), job("predict"):
        raise RuntimeError(f"unknown {SECRET}")
    (line,) = json_lines(capsys)
    assert "RuntimeError: unknown ***" in line["traceback"] and SECRET not in str(line)


def test_a_failed_run_is_not_numbered_after_its_end() -> None:
    with pytest.raises(KeyError), numbered(7):
        raise KeyError
    assert run_number() is None
