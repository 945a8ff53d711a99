"""Gathering the evidence on a month from the ledger, the laboratory values and the model."""

from __future__ import annotations

import pandas as pd
from sqlalchemy import Connection, Engine, case, exists, func, select

from src.components.database.tables import newest_predictions, newest_values, tables
from src.components.drift_reporter import performance
from src.components.drift_reporter.evidence import Evidence, LaboratoryEvidence, Past, Period
from src.components.drift_reporter.log import MonitoringLog
from src.components.predictor.bundle import Bundle
from src.components.predictor.flags import Flag, has_flag
from src.components.predictor.judgement import Judgement
from src.components.predictor.scoring import Served
from src.components.transformation.training_table import phase_means
from src.errors import DataError
from src.soft_sensor import Sensor, SoftSensor


def archived(engine: Engine, spec: SoftSensor, period: Period) -> pd.DataFrame:
    """The newest prediction of every phase that was archived in a period: rows of the ledger.

    Raises:
        DataError: when there is none.
    """
    with engine.connect() as connection:
        month = _archived(connection, spec, period)
    if month.empty:
        raise DataError(f"nothing was archived {period}: run `impress predict`")
    return month


def gather(log: MonitoringLog, period: Period, month: pd.DataFrame, model: Served) -> Evidence:
    """The evidence on a month.

    Args:
        month: what `archived` returns for the period.
        model: the version in production.

    Raises:
        BundleRefused: when the model was trained for another params file.
    """
    spec, bundle = log.spec, model.bundle
    bundle.check_contract(spec)
    earlier = log.earlier(period, model.version)
    with log.engine.connect() as connection:
        return Evidence(
            period=period,
            version=model.version,
            month=month.drop(columns=spec.target_names).join(bundle.values(month, spec)),
            reference=_reference(connection, spec, bundle, earlier.accepted),
            past=_past(connection, spec, period),
            laboratory=_laboratory(connection, spec, bundle, period),
            earlier=earlier,
        )


def _archived(connection: Connection, spec: SoftSensor, period: Period) -> pd.DataFrame:
    ledger = tables(spec).archived
    query = newest_predictions(ledger, spec).where(ledger.c.predicted_at <= period.until)
    if period.since is not None:
        query = query.where(ledger.c.predicted_at > period.since)
    return pd.read_sql(query, connection)


def _past(connection: Connection, spec: SoftSensor, period: Period) -> Past:
    if period.since is None:
        return Past()
    archived_before = tables(spec).archived
    ledger = (
        newest_predictions(archived_before, spec)
        .where(archived_before.c.predicted_at <= period.since)
        .subquery()
    )
    first, last = func.min(ledger.c.first_timestamp), func.max(ledger.c.last_timestamp)
    query = select(
        func.count(ledger.c[spec.columns.experiment].distinct()).label("experiments"),
        ((last - first) / 86_400).label("days"),
        last.label("last_timestamp"),
        func.count(case((ledger.c.verdict != "", 1))).label("judged"),
        func.count(case((ledger.c.verdict == Judgement.UNCERTAIN, 1))).label("uncertain"),
    )
    numbers = connection.execute(query).mappings().one()
    return Past(**numbers) if numbers["experiments"] else Past()


def _reference(
    connection: Connection, spec: SoftSensor, bundle: Bundle, accepted: list[Period]
) -> pd.DataFrame:
    """See `Evidence.reference`; targets of accepted periods are predicted by the bundle."""
    keys = spec.columns.keys
    flags = [flag for sensor in spec.sensors for flag in _sensor_flags(sensor)]
    columns = [*keys, "last_timestamp", *spec.features, *spec.target_names, *flags]
    training = bundle.reference
    outside = {
        Flag.OUTSIDE_TRAINING.of(sensor): extremes(training, spec.features_of(sensor), spec)
        for sensor in spec.sensors
    }
    parts = [pd.concat([training, pd.DataFrame(outside)], axis=1).reindex(columns=columns)]
    for period in accepted:
        month = _archived(connection, spec, period)
        month[spec.target_names] = bundle.values(month, spec)[spec.target_names]
        flagged = pd.DataFrame({flag: has_flag(month["flags"], flag) for flag in flags})
        parts.append(pd.concat([month, flagged], axis=1)[columns])
    reference = pd.concat(parts, ignore_index=True).drop_duplicates(keys, ignore_index=True)
    reference[flags] = reference[flags].astype(float).fillna(0)
    return reference


def _sensor_flags(sensor: Sensor) -> list[str]:
    return [Flag.OUT_OF_BOUNDS.of(sensor), Flag.OUTSIDE_TRAINING.of(sensor)]


def extremes(table: pd.DataFrame, features: list[str], spec: SoftSensor) -> pd.Series:
    """Rows that would be outside the range of all other rows of their phase in some feature.

    Their share among the training rows is that of new healthy rows outside the training range.
    """
    by_phase = table.groupby(spec.columns.phase)[features]
    lowest = table[features] == by_phase.transform("min")
    highest = table[features] == by_phase.transform("max")
    return (lowest | highest).any(axis=1)


def _laboratory(
    connection: Connection, spec: SoftSensor, bundle: Bundle, period: Period
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
    )


def analysed(connection: Connection, spec: SoftSensor, until: pd.Timestamp) -> pd.DataFrame:
    """Archived phases with laboratory values, as both were known at `until`.

    Returns:
        The ledger's columns of the newest prediction, laboratory values as `Target.measured`
        and `Target.censored`, and `loaded_at`, the arrival of the first value of the phase; oldest first.
    """
    keys = spec.columns.keys
    ledger, laboratory = tables(spec).archived, tables(spec).laboratory
    predictions = newest_predictions(ledger, spec).where(ledger.c.predicted_at <= until)
    values = pd.read_sql(newest_values(laboratory, spec, until), connection)
    phase = [laboratory.c[key] for key in keys]
    arrival = select(*phase, func.min(laboratory.c.loaded_at).label("loaded_at")).group_by(*phase)
    measured = phase_means(values, spec).rename(
        columns={target.name: target.measured for target in spec.targets}
    )
    table = pd.read_sql(predictions, connection)
    table = table.merge(measured, on=keys).merge(pd.read_sql(arrival, connection), on=keys)
    return table.sort_values("loaded_at", kind="stable", ignore_index=True)


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
