"""The command line: each command is a few lines over a pipeline or a component.

Exit codes: 0 done or nothing to do, 1 failed, 2 wrong use, 3 done in part (rows were rejected).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from src.logger import job
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor

main = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

PARTIAL = 3


def _sensor() -> SoftSensor:
    return load_soft_sensor(Settings().impress_params)


@main.callback()
def about() -> None:
    """IMPRESS: a soft sensor for washing and rinsing water, and its batch life."""


@main.command()
def init() -> None:
    """Create the tables in the database, or add the columns that they lack."""
    from src.components import database

    with job("init", Settings().logs), database.connect(Settings()) as engine:
        done = database.initialise(engine, _sensor())
        print("\n".join(done) or "nothing to do: all tables are there")


@main.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="where the three files go")],
    experiments: Annotated[int, typer.Option(min=1)] = 50,
    seconds: Annotated[int, typer.Option(min=10, help="about how long a phase lasts")] = 1500,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    first: Annotated[int, typer.Option(min=1, help="number of the first experiment")] = 1,
    fault: Annotated[str | None, typer.Option(help="NAME or NAME:SENSOR, e.g. ramp:ph")] = None,
) -> None:
    """Make sensors.csv, lab.csv and truth.csv of simulated experiments."""
    from src import simulator

    try:
        simulator.simulate(folder, experiments, seconds, seed, first, fault)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--fault") from error
    print(f"{experiments} experiments from number {first} on are in {folder}")


@main.command()
def load(file: Annotated[Path, typer.Argument(help="sensor CSV")]) -> None:
    """Put a sensor file into online_data, all of its rows or none."""
    from src.components import database

    with job("load", Settings().logs), database.connect(Settings()) as engine:
        database.load(engine, _sensor(), file)


@main.command("pull-data")
def pull_data() -> None:
    """Fetch the data set of this commit from the DVC remote."""
    from src.components import dataset

    with job("pull-data", Settings().logs):
        dataset.pull(Settings(), Path("."))


@main.command()
def train(
    dataset: Annotated[Path, typer.Option(help="data set folder")] = Path("Dataset"),
    trials: Annotated[int | None, typer.Option(min=1, help="instead of params.yaml's")] = None,
) -> None:
    """Tune, fit and evaluate a model and register it."""
    with job("train", Settings().logs):
        from src.pipelines.train_pipeline import train as pipeline

        pipeline(str(dataset), trials)


@main.command()
def models() -> None:
    """List the registered versions, newest first."""
    from src import overview
    from src.components.registry import Registry

    with job("models", Settings().logs):
        overview.show_models(Registry(Settings(), _sensor().name))


@main.command()
def promote(
    version: Annotated[str | None, typer.Argument(help="the newest by default")] = None,
) -> None:
    """Make a version Production; the next prediction uses it."""
    from src.components.registry import Registry

    with job("promote", Settings().logs):
        print(f"Production is now version {Registry(Settings(), _sensor().name).promote(version)}")


@main.command()
def rollback() -> None:
    """Make the version before the present one Production again."""
    from src.components.registry import Registry

    with job("rollback", Settings().logs):
        print(f"Production is now version {Registry(Settings(), _sensor().name).rollback()}")


@main.command()
def predict(
    twins: Annotated[bool, typer.Option(help="work on the test_ tables")] = False,
) -> None:
    """Score what is due in online_data into archived_data."""
    with job("predict", Settings().logs):
        from src.pipelines.predict_pipeline import predict as pipeline

        outcome = pipeline(twins)
    if outcome and outcome.rejected:
        raise typer.Exit(PARTIAL)


@main.command()
def monitor() -> None:
    """Report the drift since the last report, by file and e-mail."""
    with job("monitor", Settings().logs):
        from src.pipelines.monitor_pipeline import monitor as pipeline

        pipeline()


@main.command()
def status() -> None:
    """Show inbox, model, last runs, and where reports and mail are."""
    from src import overview
    from src.components import database

    with job("status", Settings().logs), database.connect(Settings()) as engine:
        overview.show_status(engine, Settings(), _sensor())


@main.command()
def demo() -> None:
    """Run the whole loop on simulated data and embedded parts, in artifacts/demo."""
    from src.demo import run

    with job("demo", Settings().logs):
        run(Settings())


if __name__ == "__main__":
    main()
