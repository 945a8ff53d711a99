"""The command line: each command is a few lines over a pipeline or a component.

Exit codes: 0 done or nothing to do, 1 failed, 2 wrong use, 3 done in part (rows were rejected).
"""

from __future__ import annotations

import atexit
import gc
import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from src.errors import InboxHeld
from src.logger import job
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor

main = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

PARTIAL = 3


@contextmanager
def command(name: str) -> Iterator[Settings]:
    """A command as a job with a log file of its own; yields the settings that it hands on."""
    settings = Settings()
    with job(name, settings.logs):
        yield settings


def contract(settings: Settings) -> SoftSensor:
    """The soft sensor that the settings name."""
    return load_soft_sensor(settings.impress_params)


def _seconds(moment: datetime | None, otherwise: float) -> float:
    if moment is None:
        return otherwise
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _duration(words: str) -> timedelta:
    """A length of time such as 8d, 36h or 90m."""
    units = {"d": "days", "h": "hours", "m": "minutes"}
    if not (found := re.fullmatch(r"(\d+)([dhm])", words)):
        raise typer.BadParameter(f"{words!r} is no length of time such as 8d, 36h or 90m")
    return timedelta(**{units[found[2]]: int(found[1])})


@main.callback()
def about() -> None:
    """IMPRESS: a soft sensor for washing and rinsing water, and its batch life."""


@main.command()
def init() -> None:
    """Create the tables in the database, or add the columns that they lack."""
    from src.components.database.connection import connect
    from src.components.database.schema import initialise

    with command("init") as settings, connect(settings) as engine:
        done = initialise(engine, contract(settings))
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
def load(
    file: Annotated[Path, typer.Argument(help="sensor rows, CSV or Parquet")],
    laboratory: Annotated[
        bool, typer.Option("--laboratory", help="laboratory values instead, CSV")
    ] = False,
) -> None:
    """Put a sensor file into online_data, all of its rows or none; or laboratory values."""
    from src.components.database.connection import connect
    from src.components.ingestion.load import load_sensor_rows

    with command("load") as settings, connect(settings) as engine:
        if not laboratory:
            load_sensor_rows(engine, contract(settings), file)
            return
        from src.components.ingestion.laboratory import load as load_values

        counts = load_values(engine, contract(settings), file)
        print(", ".join(f"{count} {what}" for what, count in counts.items()) + " phases")


@main.command("pull-data")
def pull_data() -> None:
    """Fetch the data set of this commit from the DVC remote."""
    from src.components.ingestion import dvc_data

    with command("pull-data") as settings:
        dvc_data.pull(settings, Path("."))


@main.command()
def train(
    dataset: Annotated[Path, typer.Option(help="data set folder")] = Path("Dataset"),
    trials: Annotated[int | None, typer.Option(min=1, help="instead of params.yaml's")] = None,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="with the hyperparameters of Production, no search")
    ] = False,
    cold: Annotated[
        bool, typer.Option("--cold", help="do not begin the search with those of Production")
    ] = False,
) -> None:
    """Tune, fit and evaluate a model and register it."""
    if retrain and (trials or cold):
        raise typer.BadParameter("--retrain does not search: no --trials, no --cold")
    with command("train") as settings:
        from src.pipelines.train_pipeline import train as pipeline

        pipeline(settings, str(dataset), trials, retrain, cold)


@main.command()
def study(
    dataset: Annotated[Path, typer.Option(help="data set folder")] = Path("Dataset"),
    repeats: Annotated[int, typer.Option(min=1, help="cross-validations of each set")] = 3,
) -> None:
    """Compare sets of sensors: error against price."""
    with command("study") as settings:
        from src.cli import console
        from src.pipelines.study_pipeline import study as pipeline

        console.show_study(pipeline(settings, str(dataset), repeats))


@main.command()
def collect(
    dataset: Annotated[Path, typer.Option(help="data set folder")] = Path("Dataset"),
) -> None:
    """Give laboratory values of archived phases their features, for the next training."""
    from src.components.database.connection import connect
    from src.components.ingestion.late_labels import collect as collect_features
    from src.components.registry.versions import Registry

    with command("collect") as settings, connect(settings) as engine:
        definitions = Registry(settings, contract(settings).name).definitions()
        found = collect_features(engine, definitions, dataset, contract(settings))
        print(f"{len(found)} analysed phases without sensor rows have their features in {dataset}")


@main.command("next-sample")
def next_sample(
    count: Annotated[int, typer.Option(min=1, help="how many experiments")] = 5,
    dataset: Annotated[Path, typer.Option(help="whose laboratory file is known")] = Path("Dataset"),
    since: Annotated[
        datetime | None, typer.Option("--from", help="phases that ended then or later, UTC")
    ] = None,
) -> None:
    """List the experiments whose laboratory analysis would teach the model most."""
    from src.cli import console
    from src.components.database.connection import connect
    from src.components.registry.cache import fetch_production
    from src.components.registry.versions import Registry
    from src.components.trainer.next_sample import not_analysed, worth_analysing

    with command("next-sample") as settings, connect(settings) as engine:
        spec = contract(settings)
        model = fetch_production(Registry(settings, spec.name))
        model.bundle.check_contract(spec)
        earliest = _seconds(since, -math.inf)
        waiting = not_analysed(engine, model.bundle, dataset, earliest, spec)
        ranked = worth_analysing(waiting, model.bundle, spec, count)
        experiments = waiting[spec.columns.experiment].nunique()
        console.show_next_samples(ranked, experiments, model.version, spec)


@main.command()
def models() -> None:
    """List the registered versions, and what was Production when."""
    from src.cli import console
    from src.components.registry.versions import Registry

    with command("models") as settings:
        console.show_models(Registry(settings, contract(settings).name))


@main.command()
def promote(
    version: Annotated[str | None, typer.Argument(help="the newest by default")] = None,
    force: Annotated[
        str | None, typer.Option(metavar="WHY", help="even if it is worse; why is kept")
    ] = None,
) -> None:
    """Make a version Production, unless it is worse; the next prediction uses it."""
    with command("promote") as settings:
        from src.cli import console
        from src.pipelines.promote_pipeline import promote as pipeline

        decision = pipeline(settings, version, force)
        if decision.comparison:
            console.show_comparison(decision, contract(settings))
        decision.require_promoted()
        print(f"Production is now version {decision.version}")


@main.command()
def rollback() -> None:
    """Make the version before the present one Production again."""
    from src.components.registry import production
    from src.components.registry.versions import Registry

    with command("rollback") as settings:
        version = production.rollback(Registry(settings, contract(settings).name))
        print(f"Production is now version {version}")


@main.command()
def fetch() -> None:
    """Fetch the Production bundle into ml_downloads/, to serve when the registry is down."""
    from src.components.registry.cache import fetch_production
    from src.components.registry.versions import Registry

    with command("fetch") as settings:
        model = fetch_production(Registry(settings, contract(settings).name))
        print(f"version {model.version} is in {settings.ml_downloads}")


@main.command()
def predict(
    twins: Annotated[bool, typer.Option(help="work on the test_ tables")] = False,
    rescore: Annotated[
        bool, typer.Option("--rescore", help="score again what was scored, where rows are there")
    ] = False,
    since: Annotated[
        datetime | None, typer.Option("--from", help="phases that ended then or later, UTC")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", help="phases that ended before, UTC")
    ] = None,
) -> None:
    """Score what is due in online_data into archived_data."""
    from src.components.inbox.states import Window

    if not rescore and (since or until):
        raise typer.BadParameter("--from and --to belong to --rescore")
    window = Window(_seconds(since, -math.inf), _seconds(until, math.inf)) if rescore else None
    with command("predict") as settings:
        from src.pipelines.predict_pipeline import predict as pipeline

        outcome = pipeline(settings, twins, window)
    if outcome and outcome.rejected:
        raise typer.Exit(PARTIAL)


@main.command()
def monitor(
    since: Annotated[
        datetime | None, typer.Option(help="look at what was archived later, UTC")
    ] = None,
    until: Annotated[datetime | None, typer.Option(help="and by then, UTC")] = None,
    always_mail: Annotated[
        bool, typer.Option("--always-mail", help="send a message whatever the verdict")
    ] = False,
    accept: Annotated[
        bool | None,
        typer.Option("--accept/--no-accept", help="no report: let the last one count as healthy"),
    ] = None,
    report: Annotated[
        int | None, typer.Option(help="run of the report that --accept is about")
    ] = None,
) -> None:
    """Report drift and performance since the last report; send a message when something is wrong.

    A window of your own (--since, --until) is looked at again and leaves the schedule as it is. The
    month of a report that is accepted is part of what later months are compared with.
    """
    from src.components.database.connection import connect
    from src.components.drift_reporter.log import MonitoringLog

    if report is not None and accept is None:
        raise typer.BadParameter("--report belongs to --accept or --no-accept")
    with command("monitor") as settings:
        if accept is not None:
            with connect(settings) as engine:
                print(MonitoringLog(engine, contract(settings)).accept(report, accept))
            return
        from src.pipelines.monitor_pipeline import monitor as pipeline

        start, end = (moment.isoformat() if moment else None for moment in (since, until))
        pipeline(settings, start, end, always_mail)


@main.command()
def status(
    max_age: Annotated[
        str | None, typer.Option(help="only say, by exit code 1, that no run was good for e.g. 8d")
    ] = None,
    pipeline: Annotated[
        Literal["predict", "monitor"], typer.Option(help="whose runs --max-age is about")
    ] = "predict",
) -> None:
    """Show inbox, model, last runs, and where reports and mail are."""
    from src.cli import console
    from src.components.database.connection import connect
    from src.components.database.journal import Journal

    limit = _duration(max_age) if max_age else None
    with command("status") as settings, connect(settings) as engine:
        if limit is None:
            console.show_status(engine, settings, contract(settings))
            return
        journal = Journal(engine, contract(settings))
        print(console.last_good(journal, pipeline))
        age = journal.age_of_last_good(pipeline)
    if age is None or age > limit:
        raise typer.Exit(1)


@main.command()
def why(experiment: Annotated[str, typer.Argument(help="its number or name")]) -> None:
    """Trace the predictions of an experiment back to rows, features, votes, model, data, code."""
    from src.cli.why import show_why
    from src.components.database.connection import connect

    with command("why") as settings, connect(settings) as engine:
        show_why(engine, settings, contract(settings), experiment)


rejected_commands = typer.Typer(invoke_without_command=True)
main.add_typer(rejected_commands, name="rejected")


@rejected_commands.callback()
def rejected(context: typer.Context) -> None:
    """List the rows that could not be scored, and why."""
    from src.cli import console
    from src.components.database.connection import connect
    from src.components.inbox.rejected import summary
    from src.components.inbox.states import Inbox

    if context.invoked_subcommand:
        return
    with command("rejected") as settings, connect(settings) as engine:
        with engine.connect() as connection:
            console.show_rejected(
                summary(Inbox(connection, contract(settings))), contract(settings)
            )


@rejected_commands.command()
def replay(
    reason: Annotated[str | None, typer.Option(help="only rows rejected for this")] = None,
    experiment: Annotated[str | None, typer.Option(help="only rows of this experiment")] = None,
    reopen: Annotated[
        bool, typer.Option("--reopen", help="score phases anew whose removed rows are back")
    ] = False,
) -> None:
    """Give rejected rows another chance: the next prediction looks at them again."""
    from src.components.database.connection import connect
    from src.components.inbox.hold import hold
    from src.components.inbox.rejected import replay as move_back
    from src.components.inbox.states import Inbox
    from src.components.predictor.reasons import Reason

    if reason and reason not in list(Reason):
        raise typer.BadParameter(f"{reason!r} is not one of {', '.join(Reason)}")
    with command("replay") as settings, connect(settings) as engine:
        with hold(engine) as connection:
            if connection is None:
                raise InboxHeld("another run holds the inbox: try again when it has ended")
            spec = contract(settings)
            key = spec.experiment_key(experiment) if experiment else None
            print(f"{move_back(Inbox(connection, spec), reason, key, reopen)} rows are back")


@main.command()
def demo() -> None:
    """Run the whole loop on simulated data and embedded parts, in artifacts/demo."""
    from src.cli.demo import run

    with command("demo") as settings:
        run(settings)


def process() -> None:
    """The command line as a process of its own."""
    if sys.argv[1:2] == ["predict"]:
        # Most of what it allocates are the modules that it imports, which stay: the collector need
        # not look through them so often, nor again when the process ends. (Not for all commands:
        # DuckDB complains about objects that nobody collects.)
        gc.set_threshold(100_000)
        atexit.register(gc.freeze)
    main()
