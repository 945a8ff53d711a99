"""The command line: each command is a few lines over a pipeline or a component.

Exit codes: 0 done or nothing to do, 1 failed, 2 wrong use, 3 partly done (rows were rejected).
"""

from __future__ import annotations

import atexit
import gc
import math
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from src.errors import DataError, InboxHeld, InvalidKey, VersionLost
from src.logger import job
from src.metrics import publish_figures
from src.progress import watched
from src.safe_text import safe
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor


class _Commands(TyperGroup):
    """The commands. A message about wrong use, which repeats what a user typed, is safe."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parse what precedes the command."""
        with _safe_message():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Parse the rest and run the command."""
        with _safe_message():
            return super().invoke(ctx)


@contextmanager
def _safe_message() -> Iterator[None]:
    try:
        yield
    except typer.TyperException as error:
        error.message = safe(error.message)
        raise


main = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

PARTIAL = 3
WEEK = 7 * 86400  # s
ACCEPT_OUTLIERS = "take laboratory values outside the range of their target; WHY is kept"
Json = Annotated[bool, typer.Option("--json", help="print JSON, for other programs")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would happen; change nothing")]


@contextmanager
def command(name: str) -> Iterator[Settings]:
    """Run a job, see `logger.job`; on a terminal its long steps have a bar."""
    with job(name) as settings, ExitStack() as watching:
        if sys.stderr.isatty():
            from src.cli.console import progress_bar

            watching.enter_context(watched(progress_bar))
        yield settings


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from src.cli.console import show_line
        from src.components.lineage import code_version

        show_line(f"impress {version('impress')}, code {code_version(Settings())}")
        raise typer.Exit


def contract(settings: Settings) -> SoftSensor:
    """The soft sensor that the settings name."""
    return load_soft_sensor(settings.impress_params)


def _seconds(moment: datetime | None, default: float) -> float:
    """Unix seconds of a moment, which is in UTC unless it names a time zone."""
    if moment is None:
        return default
    in_utc = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return in_utc.timestamp()


def _duration(text: str) -> timedelta:
    """A duration such as 8d, 36h or 90m."""
    units = {"d": "days", "h": "hours", "m": "minutes"}
    match = re.fullmatch(r"(?P<count>\d+)(?P<unit>[dhm])", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration such as 8d, 36h or 90m")
    return timedelta(**{units[match["unit"]]: int(match["count"])})


def _signed(reason: str | None) -> str | None:
    """A reason with the name of who gave it."""
    from src.components.lineage import user

    return None if reason is None else f"{user()}: {reason}"


@main.callback()
def about(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="show the version"),
    ] = False,
) -> None:
    """IMPRESS: a soft sensor for wash and rinse water, with jobs that train, run and monitor it.

    Exit codes: 0 done or nothing to do, 1 failed, 2 wrong use, 3 partly done (rows were rejected).
    """


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
            load_values(engine, spec, file, _signed(accept_outliers), dry_run)
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


@main.command()
def train(
    dataset: Annotated[str, typer.Option(help="data set folder, local or s3://")] = "Dataset",
    trials: Annotated[
        int | None, typer.Option(min=1, help="tuning trials per member, instead of params.yaml's")
    ] = None,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="use the hyperparameters of Production, do not search")
    ] = False,
    cold: Annotated[
        bool, typer.Option("--cold", help="start the search without those of Production")
    ] = False,
    accept_outliers: Annotated[
        str | None, typer.Option(metavar="WHY", help=ACCEPT_OUTLIERS)
    ] = None,
) -> None:
    """Tune, fit, evaluate and register a model."""
    if retrain and (trials or cold):
        raise typer.BadParameter("--retrain does not search, so it excludes --trials and --cold")
    with command("train") as settings:
        from src.pipelines.train_pipeline import train as pipeline

        pipeline(settings, dataset, trials, retrain, cold, _signed(accept_outliers))


@main.command()
def study(
    dataset: Annotated[Path, typer.Option(help="data set folder")] = Path("Dataset"),
    repeats: Annotated[int, typer.Option(min=1, help="cross-validations per set")] = 3,
) -> None:
    """Compare sets of sensors: error against price."""
    with command("study") as settings:
        from src.cli import console
        from src.pipelines.study_pipeline import study as pipeline

        console.show_study(pipeline(settings, str(dataset), repeats))


@main.command()
def collect(
    dataset: Annotated[Path, typer.Option(help="data set folder")] = Path("Dataset"),
    with_faulty: Annotated[
        bool,
        typer.Option("--with-faulty", help="also phases in which monitor found a sensor at fault"),
    ] = False,
) -> None:
    """Add archived features of phases with late laboratory values to a data set, for training."""
    from src.cli.console import show_line
    from src.components.database.connection import connect
    from src.components.database.schema import require_fit
    from src.components.database.tables import tables
    from src.components.ingestion.late_labels import collect as collect_features
    from src.components.registry.versions import Registry

    with command("collect") as settings, connect(settings) as engine:
        spec = contract(settings)
        with engine.connect() as connection:
            require_fit(connection, [tables(spec).archived, tables(spec).runs])
        definitions = Registry(settings, spec.name).definitions()
        phases = collect_features(engine, definitions, dataset, spec, with_faulty)
        show_line(
            f"{len(phases)} analysed phases without sensor rows have their features in {dataset}"
        )


@main.command("next-sample")
def next_sample(
    count: Annotated[int, typer.Option(min=1, help="how many experiments to list")] = 5,
    dataset: Annotated[
        Path, typer.Option(help="data set folder; its laboratory file names what is analysed")
    ] = Path("Dataset"),
    since: Annotated[
        datetime | None, typer.Option("--from", help="only phases that ended then or later, UTC")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the experiments whose laboratory analysis would help the model most.

    And say how many analyses the next month needs, so that a change is found and corrected.
    """
    from src.cli import console
    from src.components.adaptation import known, need
    from src.components.database.connection import connect
    from src.components.registry.cache import fetch_production
    from src.components.registry.versions import Registry
    from src.components.trainer.next_sample import not_analysed, worth_analysing

    with command("next-sample") as settings, connect(settings) as engine:
        spec = contract(settings)
        model = fetch_production(Registry(settings, spec.name))
        model.bundle.check_contract(spec)
        earliest = _seconds(since, default=-math.inf)
        phases = not_analysed(engine, model.bundle, dataset, earliest, spec)
        state = known.state(engine, model, spec)
        correction = state.correction(spec) if spec.adaptation == "on" else None
        ranked = worth_analysing(phases, model.bundle, spec, count, correction=correction)
        if as_json:
            console.show_json(ranked)
            return
        experiments = phases[spec.columns.experiment].nunique()
        console.show_next_samples(ranked, experiments, model.version, spec)
        if spec.adaptation != "off":
            console.show_need(need.prospects(state))


@main.command()
def models(as_json: Json = False) -> None:
    """List the registered versions, and which was Production when."""
    from src.cli import console
    from src.components.registry import production
    from src.components.registry.versions import Registry

    with command("models") as settings:
        registry = Registry(settings, contract(settings).name)
        present, trouble = None, None
        try:
            present = production.production(registry)
        except VersionLost as lost:
            trouble = str(lost)
        versions, changes = registry.versions(), production.history(registry)
        if as_json:
            found = {"production": present, "trouble": trouble}
            console.show_json({**found, "versions": versions, "history": changes})
            return
        if trouble:
            console.show_line(trouble)
        console.show_versions(registry.name, versions, present)
        console.show_history(changes)


@main.command()
def keys(
    folder: Annotated[Path, typer.Argument(help="where the two files go")] = Path("."),
) -> None:
    """Make a pair of keys, so that only models that were signed with it predict.

    MODEL_SIGNING_KEY belongs where models are trained, MODEL_TRUSTED_KEYS where they predict.
    """
    from src.cli.console import show_line
    from src.components.registry import signing
    from src.files import write_whole

    with command("keys"):
        private, public = signing.make_pair()
        files = folder / "signing.key", folder / "signing.pub"
        for file, key in zip(files, (private, public)):
            if file.exists():
                raise InvalidKey(f"{file} is there already: what it has signed would be lost")
            write_whole(file, f"{key}\n".encode(), private=file.suffix == ".key")
        show_line(f"MODEL_SIGNING_KEY={files[0]}  (secret: anybody who has it can sign)")
        show_line(f"MODEL_TRUSTED_KEYS={public}")


@main.command()
def promote(
    version: Annotated[str | None, typer.Argument(help="by default the newest")] = None,
    force: Annotated[
        str | None, typer.Option(metavar="WHY", help="promote it against the gate; WHY is kept")
    ] = None,
) -> None:
    """Make a version Production if it is not worse than the present one."""
    with command("promote") as settings:
        from src.cli import console
        from src.pipelines.promote_pipeline import promote as pipeline

        decision = pipeline(settings, version, force)
        console.show_comparison(decision, contract(settings))
        decision.require_promoted()
        console.show_line(f"Production is now version {decision.version}")


@main.command()
def rollback() -> None:
    """Make the previous version Production again."""
    from src.cli.console import show_line
    from src.components.registry import production
    from src.components.registry.versions import Registry

    with command("rollback") as settings:
        version = production.rollback(Registry(settings, contract(settings).name))
        show_line(f"Production is now version {version}")


@main.command()
def fetch() -> None:
    """Fetch the Production bundle into ml_downloads/, for when the registry is down."""
    from src.cli.console import show_line
    from src.components.registry.cache import fetch_production
    from src.components.registry.versions import Registry

    with command("fetch") as settings:
        model = fetch_production(Registry(settings, contract(settings).name))
        show_line(f"version {model.version} is in {settings.ml_downloads}")


@main.command()
def predict(
    twins: Annotated[bool, typer.Option(help="work on the test_ tables")] = False,
    rescore: Annotated[
        bool, typer.Option("--rescore", help="score scored phases again, if their rows are there")
    ] = False,
    since: Annotated[
        datetime | None, typer.Option("--from", help="rescore phases that ended then or later, UTC")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", help="rescore phases that ended before, UTC")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Score the phases that are due in online_data, and write them into archived_data."""
    from src.components.inbox.states import Inbox, Window

    if not rescore and (since or until):
        raise typer.BadParameter("--from and --to need --rescore")
    start, end = _seconds(since, default=-math.inf), _seconds(until, default=math.inf)
    window = Window(start, end) if rescore else None
    if dry_run:
        from src.cli import console
        from src.components.database.connection import connect

        with command("predict") as settings, connect(settings) as engine:
            with engine.connect() as connection:
                inbox = Inbox(connection, contract(settings), "test_" if twins else "")
                counts = inbox.counts(window)
            show = console.show_json if as_json else console.show_plan
            show(counts)
        return
    with command("predict") as settings:
        from src.pipelines.predict_pipeline import predict as pipeline

        outcome = pipeline(settings, twins, window)
        if as_json:
            from src.cli.console import show_json

            show_json(outcome)
    if outcome and outcome.rejected:
        raise typer.Exit(PARTIAL)


@main.command()
def backfill(  # pylint: disable=too-many-arguments,too-many-positional-arguments  # all options
    source: Annotated[
        str, typer.Argument(help="Parquet or CSV: a folder, a pattern or a file; local or s3://")
    ],
    out: Annotated[
        str | None, typer.Argument(help="folder for the results, local or s3://")
    ] = None,
    into: Annotated[
        Literal["database"] | None, typer.Option(help="add the results to archived_data instead")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="of the model; default: the one in production")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="OLD", help="compare with these results of another model")
    ] = None,
    share: Annotated[
        str, typer.Option(metavar="I/N", help="do each N-th unit only, from the I-th on")
    ] = "1/1",
    engine: Annotated[
        Literal["duckdb", "spark"], typer.Option(help="what computes the features")
    ] = "duckdb",
    master: Annotated[
        str | None, typer.Option(help="of Spark: sc://host:port, spark://..., local[*], yarn, ...")
    ] = None,
    spark: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="a setting of Spark; repeatable")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="units at a time; default: one for each core")
    ] = None,
    unit_rows: Annotated[
        int, typer.Option(min=1, help="about how many rows are scored at a time by each job")
    ] = 5_000_000,
    skip_unreadable: Annotated[
        bool,
        typer.Option(
            "--skip-unreadable", help="also score phases that an unreadable file may have rows of"
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Score years of history from files, unit by unit; what is there already is not done again.

    Exit code 3 if a file could not be read or a unit could not be done.
    """
    from src.cli import console, history
    from src.components.backfill.order import Order
    from src.process import cores

    if (out is None) == (into is None):
        raise typer.BadParameter("name either OUT or --into database")
    if (engine == "spark") != (master is not None):
        raise typer.BadParameter("--engine spark and --master need each other")
    if against is not None and out is None:
        raise typer.BadParameter("--against needs OUT")
    order = Order(
        source=source,
        out=None if out is None else history.address(out),
        version=version,
        master=master,
        spark=history.spark_settings(spark or []),
        unit_rows=unit_rows,
        jobs=jobs or cores(),
        share=history.share(share),
        skip_unreadable=skip_unreadable,
    )
    with command("backfill") as settings:
        from src.pipelines.backfill_pipeline import backfill as pipeline

        summary = pipeline(settings, order)
        comparison = history.compared(against, order.out, contract(settings))
        if as_json:
            console.show_json(history.figures(summary, comparison))
        else:
            history.show(summary, comparison)
    if summary.is_partial:
        raise typer.Exit(PARTIAL)


@main.command()
def adapt(
    as_of: Annotated[
        datetime | None, typer.Option("--as-of", help="as it was at this time, UTC; default: now")
    ] = None,
    backtest: Annotated[
        bool, typer.Option("--backtest", help="predict what was analysed again, with and without")
    ] = False,
    delay: Annotated[
        str | None,
        typer.Option(help="values count so long after their phase, e.g. 2d; default: once loaded"),
    ] = None,
) -> None:
    """Show how recent laboratory values correct predictions; change nothing."""
    from src.cli import adaptation
    from src.components.adaptation.known import analysed_phases, state
    from src.components.database.connection import connect
    from src.components.registry.cache import fetch_production
    from src.components.registry.versions import Registry

    if delay is not None and not backtest:
        raise typer.BadParameter("--delay needs --backtest")
    after = None if delay is None else _duration(delay)
    with command("adapt") as settings, connect(settings) as engine:
        import pandas as pd

        spec = contract(settings)
        model = fetch_production(Registry(settings, spec.name))
        moment = None if as_of is None else pd.Timestamp(_seconds(as_of, 0), unit="s", tz="UTC")
        if backtest:
            _, rows = analysed_phases(engine, model, spec, moment)
            adaptation.show_backtest(rows, model, spec, after)
            return
        adaptation.show_state(state(engine, model, spec, moment), model.version, spec)


@main.command()
def monitor(  # pylint: disable=too-many-arguments,too-many-positional-arguments  # all options
    since: Annotated[
        datetime | None, typer.Option(help="report on what was archived after this time, UTC")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="report on what was archived up to this time, UTC")
    ] = None,
    always_mail: Annotated[
        bool, typer.Option("--always-mail", help="send a message whatever the verdict")
    ] = False,
    accept: Annotated[
        bool | None,
        typer.Option(
            "--accept/--no-accept", help="accept the last report's month as healthy; no new report"
        ),
    ] = None,
    report: Annotated[
        int | None, typer.Option(help="run of the report to accept, instead of the last one")
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(metavar="OUT", help="report on phases that `backfill` has scored, by --since"),
    ] = None,
    rig: Annotated[
        str | None, typer.Option(help="report on this one of several rigs; needs --history")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Report drift and performance since the last report; send a message if something is wrong.

    A report with --since or --until does not count as the last report, so the next one starts where
    it would have; its alarm is mailed with --always-mail only. An accepted month becomes part of
    what later months are compared with.
    """
    from src.cli import console
    from src.cli import history as reports
    from src.components.database.connection import connect
    from src.components.drift_reporter.log import PIPELINE, MonitoringLog

    if report is not None and accept is None:
        raise typer.BadParameter("--report needs --accept or --no-accept")
    if accept is not None and (dry_run or as_json):
        raise typer.BadParameter("--accept makes no report, so it excludes --dry-run and --json")
    if history is not None and (accept is not None or always_mail or dry_run):
        raise typer.BadParameter("--history only writes a report, which nobody can accept")
    if rig is not None and history is None:
        raise typer.BadParameter("--rig needs --history")
    with command("monitor") as settings:
        if accept is not None:
            with connect(settings) as engine:
                line = MonitoringLog(engine, contract(settings)).accept(report, accept)
            console.show_line(line)
            return
        start = since.isoformat() if since else None
        end = until.isoformat() if until else None
        if history is not None:
            reports.report_on_history(
                settings, contract(settings), history, start, end, rig, as_json
            )
            return
        from src.pipelines import monitor_pipeline

        if dry_run:
            console.show_preview(monitor_pipeline.preview(settings, start, end), as_json)
            return
        monitor_pipeline.monitor(settings, start, end, always_mail)
        if as_json:
            with connect(settings) as engine:
                journal = MonitoringLog(engine, contract(settings)).journal
                console.show_json(journal.newest(PIPELINE, 1)[0])


@main.command()
def status(
    max_age: Annotated[
        str | None,
        typer.Option(help="only check: exit with 1 if the last good run is older, e.g. 8d"),
    ] = None,
    pipeline: Annotated[
        Literal["predict", "monitor"], typer.Option(help="whose runs --max-age checks")
    ] = "predict",
    as_json: Json = False,
) -> None:
    """Show the inbox, the model, the last runs, and where reports and mail are."""
    from src.cli import console
    from src.cli.status import read_state, show_state
    from src.components.database.connection import connect
    from src.components.database.journal import Journal

    limit = _duration(max_age) if max_age else None
    with command("status") as settings, connect(settings) as engine:
        spec = contract(settings)
        if limit is None:
            state = read_state(engine, settings, spec)
            if as_json:
                console.show_json(state)
            else:
                show_state(state, spec)
            return
        age = Journal(engine, spec).age_of_last_good(pipeline)
        if as_json:
            console.show_json({"pipeline": pipeline, "age": age})
        else:
            console.show_line(console.last_good_run(pipeline, age))
        hours = None if age is None else age / timedelta(hours=1)
        publish_figures(settings, pipeline, "status", last_good_run_age_hours=hours)
    if age is None or age > limit:
        raise typer.Exit(1)


@main.command()
def predictions(
    week: Annotated[
        bool, typer.Option("--week", help="only the seven days up to the newest phase")
    ] = False,
    since: Annotated[
        datetime | None, typer.Option("--from", help="only phases that ended then or later, UTC")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", help="only phases that ended before, UTC")
    ] = None,
    verdict: Annotated[
        str | None, typer.Option(help="only this one: clean, 'not clean' or uncertain")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the newest prediction of each phase, the latest phase last."""
    from src.cli import console
    from src.components.database.connection import connect
    from src.components.database.ledger import newest
    from src.components.predictor.judgement import Judgement

    wanted = None if verdict is None else [each for each in Judgement if each.startswith(verdict)]
    if wanted == []:
        raise typer.BadParameter(f"{verdict!r} is not one of clean, 'not clean' and uncertain")
    start, end = _seconds(since, default=-math.inf), _seconds(until, default=math.inf)
    with command("predictions") as settings, connect(settings) as engine:
        spec = contract(settings)
        rows = newest(engine, spec, start, end, wanted)
        if week:
            rows = rows[rows["last_timestamp"] > rows["last_timestamp"].max() - WEEK]
        if as_json:
            console.show_json(rows)
        else:
            console.show_ledger(rows, spec)


@main.command()
def why(
    experiment: Annotated[str, typer.Argument(help="number or name")], as_json: Json = False
) -> None:
    """Trace predictions of an experiment back to rows, features, votes, model, data and code."""
    from src.cli import console
    from src.cli.why import show_why, traced
    from src.components.database.connection import connect

    with command("why") as settings, connect(settings) as engine:
        spec = contract(settings)
        if as_json:
            console.show_json(traced(engine, settings, spec, experiment))
        else:
            show_why(engine, settings, spec, experiment)


@main.command()
def page(
    to: Annotated[
        Path | None, typer.Option(help="folder for the pages, instead of PAGE_TARGET")
    ] = None,
) -> None:
    """Write the pages: the week, the history, each phase, the sensors, the model and the state."""
    from src.cli.console import show_line
    from src.pipelines.page_pipeline import write_site

    with command("page") as settings:
        target = str(to.absolute()) if to else settings.page_target
        target = target or str(settings.artifacts / "page")
        count = write_site(settings, target)
        show_line(f"{count} pages are in {target}")


@main.command()
def ui(
    port: Annotated[int, typer.Option(min=0, max=65535, help="of 127.0.0.1")] = 8050,
) -> None:
    """Show the pages in this machine's browser, live from the database, until Ctrl-C.

    They are read only, and anybody on this machine can read them: for others put a proxy with a
    login in front.
    """
    from src.cli.console import show_line
    from src.components.database.connection import connect

    with command("ui") as settings, connect(settings, read_only=True) as engine:
        from src.components.page.server import application, serve

        app = application(engine, settings, contract(settings))
        serve(app, port, lambda address: show_line(f"{address}  (Ctrl-C ends it)"))


rejected_commands = typer.Typer(invoke_without_command=True)
main.add_typer(rejected_commands, name="rejected")


@rejected_commands.callback()
def rejected(context: typer.Context, as_json: Json = False) -> None:
    """List the rows that could not be scored, and why."""
    from src.cli import console
    from src.components.database.connection import connect
    from src.components.inbox.rejected import summary
    from src.components.inbox.states import Inbox

    if context.invoked_subcommand:
        return
    with command("rejected") as settings, connect(settings) as engine:
        spec = contract(settings)
        with engine.connect() as connection:
            phases = summary(Inbox(connection, spec))
        if as_json:
            console.show_json(phases)
        else:
            console.show_rejected(phases, spec)


@rejected_commands.command()
def replay(
    reason: Annotated[str | None, typer.Option(help="only rows rejected for this")] = None,
    experiment: Annotated[str | None, typer.Option(help="only rows of this experiment")] = None,
    reopen: Annotated[
        bool, typer.Option("--reopen", help="also rescore phases whose removed rows are back")
    ] = False,
) -> None:
    """Move rejected rows back into the inbox, where the next run tries again to score them."""
    from src.cli.console import show_line
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
            rows = move_back(Inbox(connection, spec), reason, key, reopen)
            show_line(f"{rows} rows are back")


@main.command()
def demo() -> None:
    """Run the whole loop on simulated data, with embedded parts only, in artifacts/demo."""
    from src.cli.demo import run

    with command("demo") as settings:
        run(settings)


def process() -> None:
    """Entry point of the console script `impress`."""
    if sys.argv[1:2] == ["predict"]:
        # Most of what it allocates are imported modules, which stay: collecting garbage less often,
        # and not once more at exit, saves time. (Not for all commands: DuckDB warns about objects
        # that were not collected.)
        gc.set_threshold(100_000)
        atexit.register(gc.freeze)
    main()
