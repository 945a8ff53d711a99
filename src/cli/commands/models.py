"""Commands of the data developer: train, study, promote, roll back."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from src.cli.commands.app import ACCEPT_OUTLIERS, Json, command, contract, main, seconds, signed
from src.errors import InvalidKey, VersionLost


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

        pipeline(settings, dataset, trials, retrain, cold, signed(accept_outliers))


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
        earliest = seconds(since, default=-math.inf)
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
