"""Which experiments are most worth a laboratory analysis: where the model knows least."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from sqlalchemy import Engine, text

from src.components.database.tables import latest_view
from src.components.ingestion import data_set
from src.components.predictor.bundle import Bundle
from src.soft_sensor import SoftSensor


def not_analysed(
    engine: Engine, bundle: Bundle, folder: Path, since: float, spec: SoftSensor
) -> pd.DataFrame:
    """Newest predictions of experiments without laboratory values, one row a phase.

    Analysed is what the bundle has in training or hold-out, and what the laboratory file of the
    data set folder names, where there is one.

    Args:
        since: Unix seconds; only phases that ended then or later.
    """
    name, _ = latest_view(spec)
    query = text(f'SELECT * FROM "{name}" WHERE last_timestamp >= :since')
    with engine.connect() as connection:
        rows = pd.read_sql(query, connection, params={"since": since})
    key = spec.columns.experiment
    known = set(bundle.origin.experiments) | set(bundle.holdout[key])
    laboratory = folder / spec.files.laboratory
    if laboratory.is_file():
        known |= set(data_set.read_laboratory(laboratory, spec)[key])
    return rows[~rows[key].isin(known)].reset_index(drop=True)


def worth_analysing(
    predicted: pd.DataFrame, bundle: Bundle, spec: SoftSensor, count: int
) -> pd.DataFrame:
    """Rank experiments by how wide their intervals and how unusual their features are.

    Width is that of the interval in units of the median one of its phase and target; distance is
    how far a feature is beyond the range of the training rows of its phase, in their standard
    deviations. Each counts by its largest value in the experiment, and half of the place that an
    experiment gets comes from either.

    Args:
        predicted: newest predictions of phases that were not analysed yet, one row a phase.

    Returns:
        At most `count` rows, most worth first: experiment, width, distance, why.
    """
    rows = predicted.reset_index(drop=True)
    width, distance = _widths(rows, spec), _distances(rows, bundle, spec)
    key = rows[spec.columns.experiment]
    table = pd.DataFrame({"width": width.max(axis=1), "distance": distance.max(axis=1)})
    table["why"] = [_reasons(rows.loc[i], width.loc[i], distance.loc[i], spec) for i in rows.index]
    experiments = table.groupby(key)[["width", "distance"]].max()
    experiments["why"] = table.groupby(key)["why"].agg(_joined)
    place = experiments[["width", "distance"]].rank(ascending=False).mean(axis=1)
    return experiments.loc[place.sort_values(kind="stable").index].head(count).reset_index()


def _joined(words: pd.Series) -> str:
    return "; ".join(filter(None, words))


def _widths(rows: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Interval widths, rows by targets, relative to the median of the phase."""
    names = spec.target_names
    width = pd.DataFrame({n: rows[f"{n}_upper"] - rows[f"{n}_lower"] for n in names})
    usual = width.groupby(rows[spec.columns.phase]).transform("median")
    return width / usual.where(usual > 0)


def _distances(rows: pd.DataFrame, bundle: Bundle, spec: SoftSensor) -> pd.DataFrame:
    """Distances beyond the training range, rows by sensors, 0 inside it."""
    phase = rows[spec.columns.phase]
    grouped = bundle.reference.groupby(spec.columns.phase)[spec.features]
    low, high, spread = (
        statistic.reindex(phase).set_axis(rows.index)
        for statistic in (grouped.min(), grouped.max(), grouped.std())
    )
    values = rows[spec.features]
    beyond = (values - high).clip(lower=0) + (low - values).clip(lower=0)
    beyond = (beyond / spread.where(spread > 0)).fillna(0)
    return pd.DataFrame({p.name: beyond[spec.features_of(p)].max(axis=1) for p in spec.sensors})


def _reasons(row: pd.Series, width: pd.Series, distance: pd.Series, spec: SoftSensor) -> str:
    """What is widest and what is most unusual about one phase, in words; may be empty."""
    phase = next(p.name for p in spec.phases if p.value == row[spec.columns.phase])
    words = []
    widest = max(spec.targets, key=lambda target: width[target.name])
    if width[widest.name] > 1.5:
        lower, upper = row[f"{widest.name}_lower"], row[f"{widest.name}_upper"]
        words.append(
            f"{widest.title} {lower:.3g} to {upper:.3g} {widest.unit}, "
            f"{width[widest.name]:.1f} x the usual width"
        )
    oddest = max(spec.sensors, key=lambda sensor: distance[sensor.name])
    if distance[oddest.name] > 0.1:
        words.append(f"{oddest.title} {distance[oddest.name]:.1f} SD beyond the training range")
    return f"{phase}: {', '.join(words)}" if words else ""
