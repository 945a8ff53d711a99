"""Backfill: a history in files in, its predictions out, unit by unit.

Run it with `impress backfill`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from src.components.backfill.ledger import Ledger
from src.components.backfill.order import Order, Summary
from src.components.backfill.results import open_results
from src.components.backfill.source import Source, find
from src.components.backfill.survey import survey
from src.components.backfill.units import for_model, plan
from src.components.backfill.work import Target, Work
from src.components.database.connection import connect
from src.components.lineage import code_version
from src.components.predictor.scoring import Served
from src.components.registry import cache
from src.components.registry.versions import Registry
from src.orchestration import flow, task
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor


@flow
def backfill(settings: Settings, order: Order) -> Summary:
    """Score a history, except for the units that are there; returns what became of it."""
    spec = load_soft_sensor(settings.impress_params)
    model = fetch_model(settings, spec, order.version)
    source = find(order.source)
    history = survey(source, spec, settings.artifacts / "converted")
    units = for_model(plan(history, spec, order.unit_rows), model, spec)
    with results_of(order, source, settings, spec) as results:
        with order.engine(source, spec) as engine:
            facts = {"engine": order.engine_name, "code_version": code_version(settings)}
            work = Work(history, engine, model, spec, facts, order.skip_unreadable)
            counts, failures = work.do(order.share.take(units), results, order.jobs)
        missing = {unit.name for unit in units} - results.units
        if not missing:
            facts = {**history.facts, "model_version": model.version}
            results.close([unit.name for unit in units], facts)
    return Summary(history, counts, failures, len(units), len(missing), order.skip_unreadable)


@task(retries=2)
def fetch_model(settings: Settings, spec: SoftSensor, version: str | None) -> Served:
    """A version of the model, by default the one in production."""
    registry = Registry(settings, spec.name)
    if version:
        model = Served(cache.fetch(registry, version), version)
    else:
        model = cache.fetch_production(registry)
    model.bundle.check_contract(spec)
    return model


@contextmanager
def results_of(
    order: Order, source: Source, settings: Settings, spec: SoftSensor
) -> Iterator[Target]:
    """Where the results go: a folder, or the ledger."""
    if order.out is not None:
        yield open_results(order.out, source, spec)
        return
    with connect(settings) as engine:
        yield Ledger(engine, spec)
