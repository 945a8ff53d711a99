"""A year of a plant through the commands themselves, with a pH probe that begins to drift in July.

`python -m benchmarks.year [FOLDER]` trains a small model, then lives through twelve months of 60
experiments: `impress load`, `predict` and `monitor`. Every month without an alarm is accepted as
healthy. From the first day of the seventh month on the probe reads more and more: DRIFT pH a month.
The report of the last month, with its picture of the whole year, is copied to FOLDER.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from sqlalchemy import text

from src.components.database.connection import connect
from src.components.drift_reporter.status import Status
from src.settings import Settings

EXPERIMENTS, SECONDS, MONTHS, FIRST_BAD = 60, 300, 12, 7
DRIFT = 0.15  # pH a month
MONTH = 30 * 86_400  # s


def impress(command: str) -> str:
    """Run a command as a user does and return what it printed."""
    words = [str(Path(sys.executable).with_name("impress")), *command.split()]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def month_of_rows(number: int) -> Path:
    """Sensor rows of one month, spread over it, with the drift in them."""
    folder = Path(f"month{number}")
    impress(
        f"simulate {folder} --experiments {EXPERIMENTS} --seconds {SECONDS} "
        f"--first {1000 + EXPERIMENTS * number}"
    )
    file = folder / "sensors.csv"
    rows = pd.read_csv(file, sep=";")
    begin = rows["timestamp"].min()
    place = rows.groupby("experimentnummer")["timestamp"].transform("min") - begin
    share = place / place.max()
    rows["timestamp"] += (number * MONTH + share * (MONTH - place.max()) - (begin - START)).astype(
        int
    )
    rows["ph"] += DRIFT * (number - FIRST_BAD + share).clip(lower=0)
    rows.to_csv(file, sep=";", index=False)
    return file


START = int(pd.Timestamp("2025-01-01").timestamp())


def newest_report() -> tuple[str, str]:
    """The verdict of the newest report, and what it found."""
    with connect(Settings()) as engine, engine.connect() as connection:
        run, outcome = connection.execute(
            text("SELECT id, outcome FROM runs ORDER BY id DESC LIMIT 1")
        ).one()
        found = connection.execute(
            text(
                "SELECT DISTINCT status, part, indicator FROM monitoring_tests "
                "WHERE run_id = :run AND status <> 'no drift' ORDER BY 1, 2, 3"
            ),
            {"run": run},
        )
        return outcome, ", ".join(" ".join(row) for row in found)


def let_a_month_pass() -> None:
    """Date everything in the database a month earlier."""
    with connect(Settings()) as engine, engine.begin() as connection:
        for table, columns in {
            "online_data": ["arrived_at"],
            "archived_data": ["predicted_at"],
            "runs": ["started_at", "ended_at"],
        }.items():
            for column in columns:
                connection.execute(
                    text(f"UPDATE {table} SET {column} = {column} - interval '30 d'")
                )
        for end in ("since", "until"):
            moved = f"to_jsonb((details->>'{end}')::timestamptz - interval '30 d')"
            connection.execute(
                text(
                    f"UPDATE runs SET details = jsonb_set(details, '{{{end}}}', {moved}) "
                    f"WHERE details->>'{end}' IS NOT NULL"
                )
            )


def main(folder: str | None = None) -> None:
    """Live through the year and say what was found when."""
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)  # for root PostgreSQL runs as another user
        shutil.copy(home / "params.yaml", place)
        os.chdir(place)
        impress(f"simulate Dataset --experiments 60 --seconds {SECONDS}")
        impress("train --trials 1")
        impress("promote")
        impress("init")
        for number in range(1, MONTHS + 1):
            impress(f"load {month_of_rows(number)}")
            impress("predict")
            impress("monitor")
            outcome, words = newest_report()
            off = max(0.0, DRIFT * (number - FIRST_BAD + 1))
            print(f"month {number:2}: pH off by up to {off:.2f}: {outcome} ({words})", flush=True)
            if outcome != Status.ALARM:
                impress("monitor --accept")
            if number < MONTHS:
                let_a_month_pass()
        if folder:
            newest = sorted(Path("artifacts/reports").iterdir())[-1]
            shutil.copytree(newest, home / folder / "year", dirs_exist_ok=True)
        os.chdir(home)


if __name__ == "__main__":
    main(*sys.argv[1:2])
