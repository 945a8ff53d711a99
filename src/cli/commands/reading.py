"""Commands that show what there is, put rejected rows back, and the demo."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from src.cli.commands.app import Json, command, contract, duration, main, seconds
from src.errors import InboxHeld
from src.metrics import publish_figures

WEEK = 7 * 86400  # s


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

    limit = duration(max_age) if max_age else None
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
    start, end = seconds(since, default=-math.inf), seconds(until, default=math.inf)
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
