"""Gathering the evidence on a month from the ledger, the laboratory values and the model."""

from __future__ import annotations

import logging

import pandas as pd
from sqlalchemy import Connection, Engine, case, exists, func, select

from src.components.adaptation import known
from src.components.adaptation.outlook import outlook
from src.components.adaptation.replay import State, usual_errors
from src.components.database.journal import BACKFILL
from src.components.database.schema import require_fit
from src.components.database.tables import newest_predictions, tables
from src.components.drift_reporter import performance, rigs
from src.components.drift_reporter.evidence import (
    Earlier,
    Evidence,
    LaboratoryEvidence,
    Past,
    Period,
    reference_flags,
)
from src.components.drift_reporter.log import MonitoringLog
from src.components.drift_reporter.precedents import ACCEPTED_ALARM
from src.components.ingestion.analysed import BEGINNING, analysed, ledger_rows, possible
from src.components.predictor.bundle import Bundle
from src.components.predictor.flags import Flag, has_flag
from src.components.predictor.judgement import Judgement
from src.components.predictor.scoring import Served
from src.errors import DataError
from src.soft_sensor import FARTHEST_STAMP, SoftSensor

logger = logging.getLogger(__name__)


def archived(engine: Engine, spec: SoftSensor, period: Period) -> pd.DataFrame:
    """The newest prediction of every phase that was archived in a period: rows of the ledger.

    Raises:
        DataError: when there is none, or when a table that monitoring uses cannot be used as it is.
    """
    described = tables(spec)
    used = (described.archived, described.laboratory, described.monitoring_tests)
    with engine.connect() as connection:
        require_fit(connection, used)
        month = _archived(connection, spec, period)
    if month.empty:
        raise DataError(f"nothing was archived {period}: run `impress predict`")
    return month


def before_month(
    engine: Engine, spec: SoftSensor, period: Period, month: pd.DataFrame
) -> pd.DataFrame:
    """What the rigs of a month are compared with: rows of the ledger that are not in it."""
    begin, end = rigs.before(period)
    ledger = tables(spec).archived
    ended = ledger.c.last_timestamp
    query = newest_predictions(ledger, spec).where(
        ended > begin.timestamp(), ended <= end.timestamp()
    )
    with engine.connect() as connection:
        rows = ledger_rows(connection, query)
    keys = spec.columns.keys
    of_month = pd.MultiIndex.from_frame(rows[keys]).isin(pd.MultiIndex.from_frame(month[keys]))
    before: pd.DataFrame = rows[possible(rows, spec) & ~of_month].reset_index(drop=True)
    return before


def gather(log: MonitoringLog, period: Period, month: pd.DataFrame, model: Served) -> Evidence:
    """The evidence on a month.

    Args:
        month: what `archived` returns for the period.
        model: the version in production.

    Raises:
        BundleRefused: when the model was trained for another params file.
        DataError: when no row of the month can be used.
    """
    spec, bundle = log.spec, model.bundle
    bundle.check_contract(spec)
    sound = possible(month, spec)
    left_out = int((~sound).sum())
    if not sound.any():
        raise DataError(
            f"none of the {left_out} predictions archived {period} can be used: their features are "
            "not possible with low and high in params.yaml"
        )
    month = month[sound].reset_index(drop=True)
    earlier = log.earlier(period, model.version)
    adaptation = None
    if spec.adaptation != "off":
        adaptation = known.state(log.engine, model, spec, period.until)
    with log.engine.connect() as connection:
        return Evidence(
            period=period,
            version=model.version,
            month=month.drop(columns=spec.target_names).join(bundle.values(month, spec)),
            reference=_reference(connection, spec, bundle, earlier),
            past=_past(connection, spec, period),
            laboratory=_laboratory(connection, spec, bundle, period, adaptation),
            earlier=earlier,
            left_out=left_out,
        )


def _archived(connection: Connection, spec: SoftSensor, period: Period) -> pd.DataFrame:
    ledger = tables(spec).archived
    since = BEGINNING if period.since is None else period.since
    runs = tables(spec).runs
    # What was backfilled in the month was not recorded in it.
    backfilled = select(runs.c.id).where(runs.c.pipeline == BACKFILL)
    query = newest_predictions(ledger, spec).where(
        ledger.c.predicted_at > since,
        ledger.c.predicted_at <= period.until,
        func.coalesce(ledger.c.run_id, -1).not_in(backfilled),
    )
    return ledger_rows(connection, query)


def _past(connection: Connection, spec: SoftSensor, period: Period) -> Past:
    if period.since is None:
        return Past()
    archived_before = tables(spec).archived
    ledger = (
        newest_predictions(archived_before, spec)
        .where(archived_before.c.predicted_at <= period.since)
        .subquery()
    )
    first, last = ledger.c.first_timestamp, ledger.c.last_timestamp
    now = pd.Timestamp.now("UTC").timestamp()
    near = now - FARTHEST_STAMP, now + FARTHEST_STAMP
    begin = func.min(first).filter(first.between(*near))
    end = func.max(last).filter(last.between(*near))
    query = select(
        func.count(ledger.c[spec.columns.experiment].distinct()).label("experiments"),
        func.coalesce((end - begin) / 86_400, 0.0).label("days"),
        func.coalesce(end, 0.0).label("last_timestamp"),
        func.count(case((ledger.c.verdict != "", 1))).label("judged"),
        func.count(case((ledger.c.verdict == Judgement.UNCERTAIN, 1))).label("uncertain"),
    )
    numbers = connection.execute(query).mappings().one()
    return Past(**numbers) if numbers["experiments"] else Past()


def _reference(
    connection: Connection, spec: SoftSensor, bundle: Bundle, earlier: Earlier
) -> pd.DataFrame:
    """See `Evidence.reference`; targets of accepted periods are predicted by the bundle."""
    keys = spec.columns.keys
    flags = reference_flags(spec)
    own = [*keys, "last_timestamp", *spec.features, *spec.target_names]
    columns = [*own, *flags, ACCEPTED_ALARM]
    training = bundle.reference
    if spec.columns.experiment_type == "text":  # it may be of one rig whose experiments had numbers
        training = training.astype({spec.columns.experiment: str})
    outside = {
        Flag.OUTSIDE_TRAINING.of(sensor): extremes(training, spec.features_of(sensor), spec)
        for sensor in spec.sensors
    }
    flagged = pd.DataFrame(outside).assign(**{ACCEPTED_ALARM: 0})
    parts = [pd.concat([training, flagged], axis=1).reindex(columns=columns)]
    for number, period in enumerate(earlier.accepted, start=1):
        month = _archived(connection, spec, period)
        month = month[possible(month, spec)].reset_index(drop=True)
        month[spec.target_names] = bundle.values(month, spec)[spec.target_names]
        flagged = pd.DataFrame({flag: has_flag(month["flags"], flag) for flag in flags})
        flagged[ACCEPTED_ALARM] = number * (period in earlier.alarms)
        parts.append(pd.concat([month, flagged], axis=1)[columns])
    reference = pd.concat(parts, ignore_index=True).drop_duplicates(keys, ignore_index=True)
    reference[flags] = reference[flags].astype(float).fillna(0)
    return reference


def extremes(table: pd.DataFrame, features: list[str], spec: SoftSensor) -> pd.Series:
    """Rows that would be outside the range of all other rows of their phase in some feature.

    Their share among the training rows is that of new healthy rows outside the training range.
    """
    by_phase = table.groupby(spec.columns.phase)[features]
    lowest = table[features] == by_phase.transform("min")
    highest = table[features] == by_phase.transform("max")
    return (lowest | highest).any(axis=1)


def _laboratory(
    connection: Connection,
    spec: SoftSensor,
    bundle: Bundle,
    period: Period,
    adaptation: State | None,
) -> LaboratoryEvidence:
    phases = analysed(connection, spec, period.until)
    fresh = performance.fresh_values(phases, bundle, period.since, spec)
    measured = fresh.drop(columns=spec.target_names).rename(
        columns={target.measured: target.name for target in spec.targets}
    )
    newest, unmatched = arrivals(connection, spec, period.until)
    return LaboratoryEvidence(
        recent=performance.errors(bundle.estimate(fresh, spec), measured, spec),
        expected=performance.expected_errors(bundle, spec),
        newest=newest,
        unmatched=unmatched,
        adaptation=adaptation,
        retraining=(
            None if adaptation is None else outlook(adaptation, usual_errors(bundle, spec))
        ),
    )


def arrivals(
    connection: Connection, spec: SoftSensor, until: pd.Timestamp
) -> tuple[pd.Timestamp | None, int]:
    """When the last laboratory value arrived, and how many phases are not in the ledger."""
    ledger, laboratory = tables(spec).archived, tables(spec).laboratory
    arrived = laboratory.c.loaded_at <= until
    same_phase = [laboratory.c[key] == ledger.c[key] for key in spec.columns.keys]
    newest = connection.scalar(select(func.max(laboratory.c.loaded_at)).where(arrived))
    phases = select(*(laboratory.c[key] for key in spec.columns.keys)).distinct()
    without_match = phases.where(arrived, ~exists().where(*same_phase)).subquery()
    return (
        None if newest is None else pd.Timestamp(newest),
        int(connection.scalar(select(func.count()).select_from(without_match)) or 0),
    )
