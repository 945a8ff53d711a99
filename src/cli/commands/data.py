"""Commands that bring data in: tables, files and data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from src.cli.commands.app import (
    ACCEPT_OUTLIERS,
    DryRun,
    Json,
    command,
    contract,
    main,
    signed,
)
from src.errors import DataError


@main.command()
def init() -> None:
    """Create the tables in the database, or add columns that they lack.

    Exit code 1 if a table cannot be used as it is.
    """
    from src.cli.console import show_line
    from src.components.database.connection import connect
    from src.components.database.schema import initialise, misfits

    with command("init") as settings, connect(settings, create=True) as engine:
        spec = contract(settings)
        changes, faults = initialise(engine, spec), misfits(engine, spec)
        for line in changes:
            show_line(line)
        if faults:
            raise DataError("; ".join(faults))
        if not changes:
            show_line("nothing to do: all tables are there")


@main.command()
def check(
    dataset: Annotated[Path, typer.Option(help="data set folder")] = Path("Dataset"),
    as_json: Json = False,
) -> None:
    """Look at params file, database, registry, mail, raw archive and data set; change nothing.

    Exit code 1 if there is a fault.
    """
    with command("check") as settings:
        from src.cli import console
        from src.cli.check import Grade, look

        found = look(settings, dataset)
        if as_json:
            console.show_json(found)
        else:
            console.show_findings(found)
    if any(finding.grade == Grade.FAULT for finding in found):
        raise typer.Exit(1)


@main.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="folder for the three files")],
    experiments: Annotated[int, typer.Option(min=1, help="number of experiments")] = 50,
    seconds: Annotated[int, typer.Option(min=10, help="approximate length of a phase")] = 1500,
    seed: Annotated[int, typer.Option(min=0, help="of the random numbers")] = 1,
    first: Annotated[int, typer.Option(min=1, help="number of the first experiment")] = 1,
    fault: Annotated[
        str | None, typer.Option(help="sensor fault to simulate, NAME or NAME:SENSOR, e.g. ramp:ph")
    ] = None,
) -> None:
    """Simulate experiments: write sensors.csv, lab.csv and truth.csv."""
    from src import simulator
    from src.cli.console import show_line

    try:
        simulator.simulate(folder, experiments, seconds, seed, first, fault)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--fault") from error
    show_line(f"{experiments} experiments, numbered from {first}, are in {folder}")


@main.command()
def load(
    file: Annotated[Path, typer.Argument(help="sensor rows, CSV or Parquet")],
    laboratory: Annotated[
        bool, typer.Option("--laboratory", help="the file holds laboratory values")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="load sensor rows although this file was loaded before")
    ] = False,
    accept_outliers: Annotated[
        str | None, typer.Option(metavar="WHY", help=ACCEPT_OUTLIERS)
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Load a file of sensor rows into online_data, all of them or none; or laboratory values."""
    from src.cli.console import show_line
    from src.components.database.connection import connect
    from src.components.ingestion.laboratory import load as load_values
    from src.components.ingestion.load import load_sensor_rows

    if again and laboratory:
        raise typer.BadParameter("--laboratory adds what is new only, so it excludes --again")
    if accept_outliers is not None and not laboratory:
        raise typer.BadParameter("--accept-outliers needs --laboratory")
    with command("load") as settings, connect(settings) as engine:
        spec = contract(settings)
        if laboratory:
            load_values(engine, spec, file, signed(accept_outliers), dry_run)
        else:
            load_sensor_rows(engine, spec, file, again=again, dry_run=dry_run)
        if dry_run:
            show_line("nothing was loaded: --dry-run")


@main.command("pull-data")
def pull_data() -> None:
    """Fetch the data set of this commit from the DVC remote."""
    from src.components.ingestion import dvc_data

    with command("pull-data") as settings:
        dvc_data.pull(settings, Path("."))
