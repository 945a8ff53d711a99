"""Which experiments are most worth a laboratory analysis.

First those that could decide most open verdicts, then those the model knows least about.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Engine, select

from src.components.database.schema import require_fit
from src.components.database.tables import newest_predictions, read_rows, tables
from src.components.ingestion import data_set
from src.components.predictor.bundle import Bundle
from src.components.predictor.correction import Correction
from src.components.predictor.judgement import Judgement
from src.components.trainer.verdict_gain import (
    CHANCE,
    GAIN,
    NEAREST,
    SIMILAR,
    VERDICT,
    verdict_gain,
)
from src.language import Language, shown_unit
from src.soft_sensor import SoftSensor

ENGLISH = Language("en")
# From here on an interval or a feature is named as a reason.
WIDE = 1.5  # in units of the median width
FAR = 0.1  # standard deviations beyond the training range

# Columns of the ranked experiments.
VERDICTS = "impress_verdicts"
WIDTH = "impress_width"
DISTANCE = "impress_distance"
WHY = "impress_why"


def not_analysed(
    engine: Engine, bundle: Bundle, folder: Path, since: float, spec: SoftSensor
) -> pd.DataFrame:
    """Newest predictions of experiments without laboratory values, one row per phase.

    An experiment counts as analysed when the bundle was trained on it, or when it is in the
    laboratory file of the data set folder, if there is one.

    Args:
        since: Unix seconds; only phases that ended then or later.
    """
    newest = newest_predictions(tables(spec).archived, spec).subquery()
    with engine.connect() as connection:
        require_fit(connection, [tables(spec).archived])
        rows = read_rows(connection, select(newest).where(newest.c.last_timestamp >= since))
    experiment = spec.columns.experiment
    analysed = set(bundle.origin.experiments)
    laboratory = folder / spec.files.laboratory
    if laboratory.is_file():
        analysed |= set(data_set.read_laboratory(laboratory, spec)[experiment])
    return rows[~rows[experiment].isin(analysed)].reset_index(drop=True)


def worth_analysing(
    predicted: pd.DataFrame,
    bundle: Bundle,
    spec: SoftSensor,
    count: int,
    language: Language = ENGLISH,
    correction: Correction | None = None,
) -> pd.DataFrame:
    """Rank experiments by the verdicts that their analysis could decide, see `verdict_gain`.

    Those that could decide none follow, by how wide their intervals and how unusual their features
    are: by the mean of their ranks in both. Width is that of the interval in units of the median
    one of its phase and target; distance is how far a feature is beyond the range of the training
    rows of its phase, in their standard deviations. Each figure counts by its largest value in the
    experiment.

    Args:
        predicted: newest predictions of phases that were not analysed yet, one row per phase.
        correction: with which verdicts are made now.

    Returns:
        At most `count` rows, most worth first: experiment, VERDICTS, WIDTH, DISTANCE, WHY; the
        last one in `language`.
    """
    rows = predicted.reset_index(drop=True)
    width = _widths(rows, spec)
    distance = _distances(rows, bundle, spec)
    gain = verdict_gain(rows, bundle, spec, correction)
    phases = pd.DataFrame({WIDTH: width.max(axis=1), DISTANCE: distance.max(axis=1)})
    phases[VERDICTS] = gain[GAIN].reindex(rows.index).fillna(0)
    phases[WHY] = [
        _reasons(
            rows.loc[row],
            _open_verdict(row, gain, language),
            width.loc[row],
            distance.loc[row],
            spec,
            language,
        )
        for row in rows.index
    ]
    by_experiment = phases.groupby(rows[spec.columns.experiment])
    experiments = by_experiment[[VERDICTS, WIDTH, DISTANCE]].max()
    mean_rank = experiments[[WIDTH, DISTANCE]].rank(ascending=False).mean(axis=1)
    order = experiments.assign(rank=-mean_rank).sort_values(
        [VERDICTS, "rank"], ascending=False, kind="stable"
    )
    experiments[WHY] = by_experiment[WHY].agg(_joined)
    return experiments.loc[order.index].head(count).reset_index()


def _joined(reasons: pd.Series) -> str:
    return "; ".join(filter(None, reasons))


def _widths(rows: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Interval widths, rows by targets, relative to the median of the phase."""
    widths = {target.name: rows[target.upper] - rows[target.lower] for target in spec.targets}
    width = pd.DataFrame(widths)
    median = width.groupby(rows[spec.columns.phase]).transform("median")
    return width / median.where(median > 0)


def _distances(rows: pd.DataFrame, bundle: Bundle, spec: SoftSensor) -> pd.DataFrame:
    """Distances beyond the training range, rows by sensors, 0 inside it."""
    phase = rows[spec.columns.phase]
    trained = bundle.reference.groupby(spec.columns.phase)[spec.features]
    low = trained.min().reindex(phase).set_axis(rows.index)
    high = trained.max().reindex(phase).set_axis(rows.index)
    deviation = trained.std().reindex(phase).set_axis(rows.index)
    values = rows[spec.features]
    beyond = (values - high).clip(lower=0) + (low - values).clip(lower=0)
    relative = (beyond / deviation.where(deviation > 0)).fillna(0)
    largest = {
        sensor.name: relative[spec.features_of(sensor)].max(axis=1) for sensor in spec.sensors
    }
    return pd.DataFrame(largest)


def _open_verdict(row: int, gain: pd.DataFrame, language: Language) -> str:
    """What the analysis of one phase could decide, in words; empty if it has its verdict."""
    if row not in gain.index:
        return ""
    near: dict[Any, Any] = gain.loc[row].to_dict()
    figures = {"chance": near[CHANCE], "bound": near[NEAREST]}
    if near[VERDICT] == Judgement.CLEAN:
        words = language.say(
            "uncertain with a chance of {chance:.0%} to keep all limits (clean above {bound:.0%})",
            **figures,
        )
    else:
        words = language.say(
            "uncertain with a chance of {chance:.0%} to keep all limits (not clean below "
            "{bound:.0%})",
            **figures,
        )
    similar = int(near[SIMILAR])
    if not similar:
        return words
    if similar == 1:
        return language.say("{words}, as 1 similar phase is", words=words)
    return language.say("{words}, as {similar} similar phases are", words=words, similar=similar)


def _reasons(  # pylint: disable=too-many-arguments,too-many-positional-arguments
    row: pd.Series,
    open_verdict: str,
    width: pd.Series,
    distance: pd.Series,
    spec: SoftSensor,
    language: Language,
) -> str:
    """Open verdict, widest interval and most unusual sensor of a phase, in words; may be empty."""
    reasons = [open_verdict] if open_verdict else []
    target = max(spec.targets, key=lambda target: width[target.name])
    if width[target.name] > WIDE:
        reasons.append(
            language.say(
                "{target} {lower} to {upper} {unit}, {times:.1f} x the usual width",
                target=target.title,
                lower=language.figure(row[target.lower]),
                upper=language.figure(row[target.upper]),
                unit=shown_unit(target.unit),
                times=width[target.name],
            )
        )
    sensor = max(spec.sensors, key=lambda sensor: distance[sensor.name])
    if distance[sensor.name] > FAR:
        reasons.append(
            language.say(
                "{sensor} {deviations:.1f} SD beyond the training range",
                sensor=sensor.title,
                deviations=distance[sensor.name],
            )
        )
    if not reasons:
        return ""
    return f"{spec.phase(row[spec.columns.phase]).shown}: {', '.join(reasons)}"
