"""Names that would act on a terminal, or forge lines of a log, are shown instead."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from src.cli.commands import main
from src.safe_text import visible
from src.soft_sensor import load_soft_sensor
from tests.integration.workbench import Workbench

Impress = Callable[..., subprocess.CompletedProcess[str]]
NAMES = [
    "\x1b[31mred\x1b[0m",
    "title\x1b]0;owned\x07",
    "\x9b31mred",
    "lab\u202e7\u2066",
    "two\nlines",
    "lot 7\r2026-01-01 00:00:00,000 ERROR   predict: forged",
    "1\n2026-01-01 00:00:00,000 ERROR   predict: forged",
    "[bold red]x[/bold red]",
    "[/] :warning: [link=https://example.org]x[/link]",
]
# A line of ours, or one of MLflow's.
RECORD = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}|\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) "
    r"(INFO|WARNING|ERROR) +\w[\w.]*: \S"
)


@pytest.fixture(autouse=True)
def fixture_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A console on which no cell of a table is cut off."""
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture(name="named")
def fixture_named(engine: Engine, home: Path, impress: Impress) -> Workbench:
    """A rig whose experiments have names, and whose titles are hostile, too."""
    params = home / "params.yaml"
    content = params.read_text(encoding="utf-8")
    for old, new in (
        ("experiment_type: integer", "experiment_type: text"),
        ("title: {en: turbidity, de: Trübung}", r'title: "\e[31mturb\u202eidity [bold]"'),
        (
            "title: {en: surface tension, de: Oberflächenspannung}",
            r'title: "surface\a tension\n[/]"',
        ),
    ):
        assert old in content
        content = content.replace(old, new)
    params.write_text(content, encoding="utf-8")
    bench = Workbench(engine, load_soft_sensor(params))
    for prefix in ("", "test_"):
        for table in ("online_data", "archived_data", "rejected_data", "laboratory_data"):
            bench.execute(f"DROP TABLE {prefix}{table} CASCADE")
    bench.execute("DROP TABLE runs")
    assert impress("init").returncode == 0
    return bench


def fail(*words: str) -> Result:
    """Run a command that fails, in this process."""
    failed = CliRunner().invoke(main, list(words))
    assert failed.exit_code == 1, failed.output
    return failed


def assert_shown(done: Result | subprocess.CompletedProcess[str], *names: str) -> None:
    """Every name can be read, nothing else acts, and each line of a log is a record of ours."""
    lines = [*done.stdout.split("\n"), *done.stderr.split("\n")]
    for log in Path("logs").glob("*.log"):
        lines += log.read_text(encoding="utf-8").split("\n")
    assert not [line for line in lines if not line.isprintable()]
    for name in names:
        assert visible(name) in done.stdout + done.stderr
    logs = [log.read_text(encoding="utf-8") for log in Path("logs").glob("*.log")]
    for text in (done.stderr, *logs):
        for line in text.splitlines():
            assert not line or line.startswith("  ") or RECORD.match(line), line
            assert not line.endswith("forged") or "\\" in line


def write(file: Path, experiment: str, reading: str = "1") -> None:
    """A sensor file with one row of an experiment; `reading` is what a sensor gave."""
    row = {"experimentnummer": experiment, "timestamp": 1.7e9, "waschen": 1, "vorschlagsnummer": 1}
    sensors = dict.fromkeys(("truebung", "druck1", "fluss1", "ph", "leitfaehigkeit"), reading)
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, [*row, *sensors], delimiter=";")
        writer.writeheader()
        writer.writerow(row | sensors)


@pytest.mark.usefixtures("named")
def test_a_name_in_a_file_or_an_argument_is_shown(home: Path) -> None:
    for name in NAMES:
        write(home / "rows.csv", "1", reading=name)
        assert_shown(fail("load", "rows.csv"), f"column truebung: '{name[:60]}' is not a number")
        header, *_ = (home / "rows.csv").read_text(encoding="utf-8").splitlines()
        (home / "rows.csv").write_text(f'{header};"{name}"\n1\n', encoding="utf-8")
        assert_shown(fail("load", "rows.csv"))
        assert_shown(fail("load", name), f"{Path(name)} not found")
        assert_shown(fail("why", name), f"nothing was predicted for experiment {name}:")


@pytest.mark.parametrize(
    "words",
    [
        "status --max-age",
        "rejected replay --reason",
        "predict --from",
        "simulate x --fault",
        "simulate x --seed",
        "predict",
    ],
)
def test_a_wrong_argument_does_not_act(words: str) -> None:
    for name in NAMES:
        wrong = CliRunner().invoke(main, [*words.split(), name])
        assert wrong.exit_code == 2
        assert not [line for line in wrong.output.split("\n") if not line.isprintable()]


def test_a_wrong_command_is_shown() -> None:
    for name in NAMES:
        wrong = CliRunner().invoke(main, [name])
        # Without the frame and its line breaks.
        message = re.sub(r"[│\s]+", "", wrong.output)
        assert re.sub(r"\s+", "", visible(name)) in message


@pytest.mark.parametrize("colour", [False, True])
def test_names_in_the_database_are_shown(
    named: Workbench, colour: bool, impress: Impress, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        named.add(name, 9, 3)
    predicted = impress("predict")
    assert predicted.returncode == 3, predicted.stderr
    for name in NAMES:
        named.add(name, 1, 100, age=-86400)
        named.execute(
            "INSERT INTO archived_data (experimentnummer, waschen, ph_mean, model_version) "
            "VALUES (:name, 0, 7.5, :name)",
            name=name,
        )
    if colour:
        monkeypatch.setenv("FORCE_COLOR", "1")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        done = impress(*words)
        assert done.returncode == 0, done.stderr
        assert ("\x1b[" in done.stdout) == colour
        done.stdout = re.sub(r"\x1b\[[\d;]*m", "", done.stdout)
        return done

    assert_shown(run("rejected"), *NAMES)
    assert_shown(run("status"), *NAMES)
    titles = ("\x1b[31mturb\u202eidity [bold]", "surface\a tension\n[/]")
    assert_shown(run("why", NAMES[0]), NAMES[0], *titles)


def test_what_others_wrote_into_the_registry_is_shown(
    engine: Engine, trained_home: Path, home: Path, impress: Impress
) -> None:
    assert engine.url.database
    (home / "artifacts").mkdir()
    client = MlflowClient(
        f"sqlite:///{shutil.copy(trained_home / 'artifacts' / 'mlflow.db', home / 'artifacts')}"
    )
    for place, name in enumerate(NAMES):
        entry = {
            "at": "2026-01-01T00:00:00Z",
            "event": name,
            "version": name,
            "by": name,
            "why": name,
        }
        client.set_registered_model_tag("laundry", f"production.{place}", json.dumps(entry))
    client.set_model_version_tag("laundry", "1", "data_version", NAMES[0])
    client.set_model_version_tag("laundry", "1", "code_version", NAMES[-1])
    models = impress("models")
    assert models.returncode == 0, models.stderr
    assert_shown(models, *NAMES)
