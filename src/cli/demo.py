"""The whole loop on one machine: each step is a command that a user would type.

It runs in artifacts/demo, on embedded parts only: a configured database, registry or mail server is
not touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

from src.cli.console import show_heading, show_line, show_rule, show_table
from src.components.database.connection import connect
from src.components.database.tables import tables
from src.settings import Settings, variables
from src.soft_sensor import SoftSensor, load_soft_sensor

TRIALS = 12  # enough for a demonstration
MONTHS = ["month1", "month2"]
STEPS = {
    "Make a data set and train on it, as stages of DVC": [
        "dvc init --no-scm --quiet",
        "dvc remote add --quiet --default store store",
        "dvc repro",
        "dvc push",
    ],
    "Promote the model, so that it predicts from now on": ["impress promote", "impress models"],
    "A healthy month: sensor rows arrive, are predicted, and monitored": [
        "impress init",
        "impress simulate month1 --experiments 100 --first 51",
        "impress load month1/sensors.csv",
        "impress predict",
        "impress load month1/lab.csv --laboratory",
        "impress monitor",
        "impress monitor --accept",
    ],
    "A month with a failing conductivity probe": [
        "impress simulate month2 --experiments 100 --first 151 --fault gain:leitfaehigkeit",
        "impress load month2/sensors.csv",
        "impress predict",
        "impress monitor",
    ],
    "The state at the end": ["impress check", "impress status", "impress next-sample --count 3"],
}


def run(settings: Settings) -> None:
    """Run all steps and compare the predictions with the simulator's truth.

    Raises:
        subprocess.CalledProcessError: when a step fails; it has printed why.
    """
    folder = settings.artifacts / "demo"
    _prepare(folder, settings.impress_params.resolve())
    environment = _environment()
    for title, commands in STEPS.items():
        show_rule(title)
        for command in commands:
            show_heading(f"$ {command}")
            subprocess.run(command.split(), cwd=folder, env=environment, check=True)
    demo = settings.model_copy(update={"impress_home": folder, "db_hostname": None})
    _show_truth(demo, load_soft_sensor(folder / "params.yaml"))
    impress = Path(sys.executable).with_name("impress")
    show_line("The same state at any time:")
    show_line(f"cd {folder} && {impress} status")


def _prepare(folder: Path, params: Path) -> None:
    """An empty folder with a copy of params.yaml that asks for a short search."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(params.parent / "dvc.yaml", folder)
    text = params.read_text(encoding="utf-8")
    short_search = text.replace("trials: 100 ", f"trials: {TRIALS} ")
    (folder / "params.yaml").write_text(short_search, encoding="utf-8")


def _environment() -> dict[str, str]:
    """The environment of the steps, in which nothing is configured."""
    ours = set(variables())
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    programs = Path(sys.executable).parent
    environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
    return environment


def _show_truth(settings: Settings, spec: SoftSensor) -> None:
    """Compare the archived predictions with what was simulated."""
    with connect(settings) as engine, engine.connect() as connection:
        predicted = pd.read_sql(tables(spec).archived.select(), connection)
    errors = {}
    for month in MONTHS:
        file = settings.impress_home / month / "truth.csv"
        truth = pd.read_csv(file, sep=spec.files.separator)
        both = predicted.merge(truth, on=spec.columns.keys, suffixes=("", "_true"))
        for name in spec.target_names:
            errors[name, month] = (both[name] - both[f"{name}_true"]).abs().mean()
    rows = []
    for target in spec.targets:
        cells = [f"{errors[target.name, month]:.2f}" for month in MONTHS]
        rows.append([target.title, target.unit, *cells])
    title = "mean absolute error of the predictions against the simulator's truth"
    show_table(title, ["target", "unit", *MONTHS], rows)
