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

from src.cli.console import console, show_table
from src.components.database.connection import connect
from src.components.database.tables import tables
from src.settings import Settings, variables
from src.soft_sensor import SoftSensor, load_soft_sensor

TRIALS = 12  # a demonstration, not a search
STEPS = {
    "Make a data set and train on it, as stages of DVC": [
        "dvc init --no-scm --quiet",
        "dvc remote add --quiet --default store store",
        "dvc repro",
        "dvc push",
    ],
    "Let the model predict from now on": ["impress promote", "impress models"],
    "A healthy month: sensor rows arrive, are predicted, and watched": [
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
    "Where things stand": ["impress status", "impress next-sample --count 3"],
}


def run(settings: Settings) -> None:
    """Run all steps and compare the predictions with the simulator's truth.

    Raises:
        subprocess.CalledProcessError: when a step fails; it has said why.
    """
    folder = settings.artifacts / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    root = settings.impress_params.resolve().parent
    shutil.copy(root / "dvc.yaml", folder)
    params = settings.impress_params.read_text(encoding="utf-8")
    quick = params.replace("trials: 100 ", f"trials: {TRIALS} ")
    (folder / "params.yaml").write_text(quick, encoding="utf-8")
    _enter(folder)
    for title, commands in STEPS.items():
        console.rule(f"[bold]{title}")
        for command in commands:
            console.print(f"[bold]$ {command}")
            subprocess.run(command.split(), check=True)
    spec = load_soft_sensor(Path("params.yaml"))
    _show_truth(spec, ["month1", "month2"])
    impress = Path(sys.executable).with_name("impress")
    console.print(f"The same state at any time:\ncd {folder} && {impress} status", soft_wrap=True)


def _enter(folder: Path) -> None:
    """Work in `folder` as on a machine where nothing is configured."""
    for name in variables():
        os.environ.pop(name, None)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.chdir(folder)


def _show_truth(spec: SoftSensor, months: list[str]) -> None:
    """Compare the archived predictions with what was simulated."""
    keys = spec.columns.keys
    with connect(Settings()) as engine, engine.connect() as connection:
        predicted = pd.read_sql(tables(spec).archived.select(), connection)
    errors = []
    for month in months:
        truth = pd.read_csv(Path(month) / "truth.csv", sep=spec.files.separator)
        both = predicted.merge(truth, on=keys, suffixes=("", "_true"))
        errors.append(
            [f"{(both[t] - both[f'{t}_true']).abs().mean():.2f}" for t in spec.target_names]
        )
    rows = [[target.title, target.unit, *cells] for target, *cells in zip(spec.targets, *errors)]
    title = "mean absolute error of the predictions against the simulator's truth"
    show_table(title, ["target", "unit", *months], rows)
