"""Commands that a scheduler starts, and what goes with them: predict, backfill, adapt, monitor."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Literal

import typer

from src.cli.commands.app import PARTIAL, DryRun, Json, command, contract, duration, main, seconds


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
    start, end = seconds(since, default=-math.inf), seconds(until, default=math.inf)
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

    Exit code 3 if a file could not be read, unless it is to be skipped, or a unit not be done.
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
    old = None if against is None else history.address(against)
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
        comparison = None
        if not summary.missing:
            comparison = history.compared(old, order.out, contract(settings))
        if as_json:
            console.show_json(history.figures(summary, comparison))
        else:
            history.show(summary, comparison)
            if old is not None and comparison is None:
                console.show_line(f"not compared with {old}: units are missing")
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
    after = None if delay is None else duration(delay)
    with command("adapt") as settings, connect(settings) as engine:
        import pandas as pd

        spec = contract(settings)
        model = fetch_production(Registry(settings, spec.name))
        moment = None if as_of is None else pd.Timestamp(seconds(as_of, 0), unit="s", tz="UTC")
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
    results = None if history is None else reports.address(history)
    with command("monitor") as settings:
        if accept is not None:
            with connect(settings) as engine:
                line = MonitoringLog(engine, contract(settings)).accept(report, accept)
            console.show_line(line)
            return
        start = since.isoformat() if since else None
        end = until.isoformat() if until else None
        if results is not None:
            reports.report_on_history(
                settings, contract(settings), results, start, end, rig, as_json
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
