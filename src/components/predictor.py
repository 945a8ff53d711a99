"""The model bundle: predict with intervals, flags and verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from src.errors import BundleRefused
from src.soft_sensor import SoftSensor, Target

Member = dict[str, Any]  # target -> fitted regressor

OVERSHOOT = 0.02  # of a target's range: 1 mN/m, 20 mg/L

CLEAN, NOT_CLEAN, UNCERTAIN = "clean", "not clean", "uncertain: take a laboratory sample"


@dataclass(frozen=True)
class Bundle:
    """A trained soft sensor.

    Attributes:
        features, targets: the contract, in order.
        members: member -> target -> regressor.
        weights: members by targets; each column sums to 1.
        half_widths: phase values by targets, half the width of the prediction interval.
        reference: the training rows: keys, features, out-of-fold predictions under the targets' own
            names, laboratory values as `<target>_measured`.
        metadata: where it comes from and how good it is.
    """

    features: list[str]
    targets: list[str]
    members: dict[str, Member]
    weights: pd.DataFrame
    half_widths: pd.DataFrame
    reference: pd.DataFrame
    metadata: dict[str, Any]

    def predict(self, features: pd.DataFrame, sensor: SoftSensor) -> pd.DataFrame:
        """Predict phases with intervals, flags and verdict.

        Args:
            features: what `features_query` gives, one row a phase; NaN where a sensor is missing.

        Returns:
            A row a phase: targets, `<target>_lower`, `<target>_upper` in the targets' units,
            `flags` (comma separated, empty when nothing is odd) and `verdict` (empty for phases
            that are not judged).

        Raises:
            BundleRefused: when the bundle was trained for other features or targets.
        """
        self.check_contract(sensor)
        values = combine(predict_members(self.members, features, sensor), self.weights, sensor)
        half = self.half_widths.reindex(features[sensor.columns.phase]).set_axis(features.index)
        intervals = pd.DataFrame(index=features.index)
        for target in sensor.targets:
            for end, sign in (("lower", -1), ("upper", 1)):
                bound = values[target.name] + sign * half[target.name]
                intervals[f"{target.name}_{end}"] = bound.clip(target.low, target.high)
        predicted = values.join(intervals)
        flags = quality_flags(features, self.reference, sensor)
        verdict = verdicts(predicted, features[sensor.columns.phase], sensor)
        # Intervals were measured on whole phases with all sensors: without, they promise nothing.
        doubtful = flags.str.contains("few_samples|_missing") & verdict.ne("")
        return predicted.assign(flags=flags, verdict=verdict.mask(doubtful, UNCERTAIN))

    def check_contract(self, sensor: SoftSensor) -> None:
        """Refuse to serve another params file than the one it was trained for."""
        if self.features != sensor.features or self.targets != sensor.target_names:
            odd = set(self.features + self.targets) ^ set(sensor.features + sensor.target_names)
            raise BundleRefused(
                "the model was trained for other features or targets than params.yaml names "
                f"({', '.join(sorted(odd)[:5]) or 'another order'}): train and promote a new one"
            )

    def with_metadata(self, **metadata: Any) -> Bundle:
        """The same bundle, saying more of itself."""
        return replace(self, metadata={**self.metadata, **metadata})


def predict_members(
    members: dict[str, Member], features: pd.DataFrame, sensor: SoftSensor
) -> dict[str, pd.DataFrame]:
    """Predictions of each member on the targets' own scale, rows by targets."""
    matrix = features[sensor.features].to_numpy()
    return {
        name: pd.DataFrame(
            {t: models[t].predict(matrix).astype(float) for t in sensor.target_names},
            index=features.index,
        )
        for name, models in members.items()
    }


def combine(
    predictions: dict[str, pd.DataFrame], weights: pd.DataFrame, sensor: SoftSensor
) -> pd.DataFrame:
    """Weighted mean of the members, rows by targets.

    A value a little beyond what is physically possible is moved to the bound. One that is further
    off is left as it is, for `impossible` to find: it is a defect and no prediction.
    """
    total = sum(prediction * weights.loc[name] for name, prediction in predictions.items())
    assert isinstance(total, pd.DataFrame)
    low = pd.Series({target.name: target.low for target in sensor.targets})
    high = pd.Series({target.name: target.high for target in sensor.targets})
    within = total[sensor.target_names].clip(low, high, axis=1)
    near = (total[sensor.target_names] - within).abs() <= OVERSHOOT * (high - low)
    return within.where(near, total[sensor.target_names])


def impossible(predicted: pd.DataFrame, sensor: SoftSensor) -> pd.Series:
    """Why a prediction must not be archived, empty where nothing speaks against it.

    Returns:
        `no_finite_prediction`, `impossible_prediction` or an empty string, one a row.
    """
    reason = pd.Series("", index=predicted.index)
    for target in sensor.targets:
        parts = predicted[[f"{target.name}{end}" for end in ("_lower", "", "_upper")]]
        ordered = (parts.diff(axis=1).iloc[:, 1:] >= 0).all(axis=1)
        possible = ((parts >= target.low) & (parts <= target.high)).all(axis=1)
        finite = parts.astype(float).abs().lt(math.inf).all(axis=1)
        reason = reason.mask(~(ordered & possible) & (reason == ""), "impossible_prediction")
        reason = reason.mask(~finite, "no_finite_prediction")
    return reason


def interval_half_widths(errors: pd.DataFrame, phase: pd.Series, coverage: float) -> pd.DataFrame:
    """Half-widths that cover new rows with at least `coverage`, from out-of-fold errors.

    The ceil((n + 1) coverage)-th smallest absolute error (Lei et al., JASA 113, 2018, eq. 2.3), per
    phase and target; where n is too small for that rank, the largest error.

    Args:
        errors: predicted minus measured, rows by targets, NaN where not measured.
        phase: phase value of each row.

    Returns:
        Phase values by targets.
    """

    def half_width(column: pd.Series) -> float:
        ordered = np.sort(column.dropna().abs().to_numpy())
        if ordered.size == 0:
            return math.inf
        return float(ordered[min(math.ceil((len(ordered) + 1) * coverage), len(ordered)) - 1])

    return errors.groupby(phase).agg(half_width)


def quality_flags(features: pd.DataFrame, reference: pd.DataFrame, sensor: SoftSensor) -> pd.Series:
    """What should make a reader careful, as comma-separated words, one string a row.

    `few_samples`; `clock_jump` (stamps further apart than a phase can last); `<sensor>_missing`;
    `<sensor>_out_of_bounds` (some values were outside the instrument's range, and left out);
    `<sensor>_outside_training` (a feature beyond the range of the training rows of its phase).
    """
    flags = pd.Series([[] for _ in range(len(features))], index=features.index)

    def add(rows: pd.Series, word: str) -> None:
        for index in rows.index[rows]:
            flags[index].append(word)

    add(features["n_samples"] < sensor.prediction.min_samples, "few_samples")
    if sensor.prediction.max_phase_minutes is not None:
        span = features["last_timestamp"] - features["first_timestamp"]
        add(span > 60 * sensor.prediction.max_phase_minutes, "clock_jump")
    phase = features[sensor.columns.phase]
    grouped = reference.groupby(sensor.columns.phase)[sensor.features]
    low, high = (
        extreme.reindex(phase).set_axis(features.index)
        for extreme in (grouped.min(), grouped.max())
    )
    for part in sensor.sensors:
        names = sensor.features_of(part)
        missing = features[names].isna().any(axis=1)
        add(missing, f"{part.name}_missing")
        add(features[f"{part.name}_out_of_bounds"] > 0, f"{part.name}_out_of_bounds")
        beyond = (features[names] < low[names]) | (features[names] > high[names])
        add(beyond.any(axis=1) & ~missing, f"{part.name}_outside_training")
    return flags.map(",".join)


def add_flag(predicted: pd.DataFrame, flag: str, rows: pd.Series | None = None) -> pd.DataFrame:
    """The same predictions with one more flag on some rows, by default on all."""
    flags = predicted["flags"]
    flagged = flags.where(flags == "", flags + ",") + flag
    return predicted.assign(flags=flagged if rows is None else flags.mask(rows, flagged))


def verdicts(predicted: pd.DataFrame, phase: pd.Series, sensor: SoftSensor) -> pd.Series:
    """Judge phases by their intervals: clean only when every limit is kept by the whole interval.

    Returns:
        One verdict a row; empty for phases that params.yaml does not judge.
    """
    limited = [target for target in sensor.targets if target.limit]
    if not limited:
        return pd.Series("", index=predicted.index)
    kept = pd.concat([_whole_interval(predicted, t, inside=True) for t in limited], axis=1)
    broken = pd.concat([_whole_interval(predicted, t, inside=False) for t in limited], axis=1)
    verdict = pd.Series(UNCERTAIN, index=predicted.index)
    verdict[kept.all(axis=1)] = CLEAN
    verdict[broken.any(axis=1)] = NOT_CLEAN
    return verdict.where(phase.isin([part.value for part in sensor.phases if part.judged]), "")


def _whole_interval(predicted: pd.DataFrame, target: Target, inside: bool) -> pd.Series:
    """Whether the whole interval keeps the limit (inside) or breaks it."""
    assert target.limit is not None
    lower, upper = predicted[f"{target.name}_lower"], predicted[f"{target.name}_upper"]
    if target.limit.max is not None:
        return upper <= target.limit.max if inside else lower > target.limit.max
    return lower >= target.limit.min if inside else upper < target.limit.min
