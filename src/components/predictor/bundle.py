"""The model bundle: predict with intervals, flags and verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from src.components.predictor.ensemble import Models, ask, combine, from_scale, in_units, total
from src.components.predictor.intervals import floored, group_weights, lower_bound, upper_bound
from src.components.transformation.features import feature_definition
from src.errors import BundleRefused
from src.soft_sensor import SoftSensor, Target

OVERSHOOT = 0.02  # of a target's range: 1 mN/m, 20 mg/L

CLEAN, NOT_CLEAN, UNCERTAIN = "clean", "not clean", "uncertain: take a laboratory sample"


@dataclass(frozen=True)
class Bundle:  # pylint: disable=too-many-instance-attributes  # all that a prediction needs
    """A trained soft sensor.

    Attributes:
        features, targets: the contract, in order.
        definition: what `feature_definition` said when it was trained.
        scales: target -> scale on which it was learned.
        folds: for each fold the members that were fitted without it.
        weights: members by targets; each column sums to 1.
        floors: phase values by targets, the least spread that counts (see `intervals`).
        reference: the training rows: keys, group, fold, last_timestamp, features, out-of-bounds
            counts, out-of-fold predictions under the targets' own names, laboratory values as
            `<target>_measured`, and `<target>_score`, the error in units of the spread.
        holdout: the rows that no model has seen: keys, group, last_timestamp, features, laboratory
            values.
        metadata: where it comes from and how good it is.
    """

    features: list[str]
    targets: list[str]
    definition: str
    scales: dict[str, str]
    folds: list[Models]
    weights: pd.DataFrame
    floors: pd.DataFrame
    reference: pd.DataFrame
    holdout: pd.DataFrame
    metadata: dict[str, Any]

    def predict(self, features: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
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
        predicted = self.estimate(features, spec)
        flags = quality_flags(features, self.reference, spec)
        verdict = verdicts(predicted, features[spec.columns.phase], spec)
        # Intervals were measured on whole phases with all sensors: without, they promise nothing.
        doubtful = flags.str.contains("few_samples|_missing") & verdict.ne("")
        return predicted.assign(flags=flags, verdict=verdict.mask(doubtful, UNCERTAIN))

    def estimate(self, features: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
        """Targets with intervals, for rows of which only keys and features are known.

        The prediction is the mean over the folds; an interval always holds it.

        Raises:
            BundleRefused: when the bundle was trained for other features or targets.
        """
        self.check_contract(spec)
        phase = features[spec.columns.phase]
        centres, spreads = self._ask_folds(features, spec)
        spreads = [floored(spread, self.floors, phase) for spread in spreads]
        predicted = self._values(centres, spec)
        for target in spec.targets:
            centre, spread = (
                np.stack([fold[target.name].to_numpy() for fold in folds])
                for folds in (centres, spreads)
            )
            lower, upper = self._bounds(centre, spread, phase, target, spec)
            value = predicted[target.name]
            predicted[f"{target.name}_lower"] = np.fmin(lower, value).clip(target.low, target.high)
            predicted[f"{target.name}_upper"] = np.fmax(upper, value).clip(target.low, target.high)
        return predicted

    def values(self, features: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
        """Targets alone, rows by targets in their units, from features alone."""
        return self._values(self._ask_folds(features, spec)[0], spec)

    def _ask_folds(
        self, features: pd.DataFrame, spec: SoftSensor
    ) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
        """What the models of each fold say, and their spread, on the working scale."""
        said = [ask(models, features, spec) for models in self.folds]
        return [combine(votes, self.weights) for votes, _ in said], [spread for _, spread in said]

    def _values(self, centres: list[pd.DataFrame], spec: SoftSensor) -> pd.DataFrame:
        mean = in_units(total(centres) / len(centres), spec)
        return mean.assign(**{t.name: moved_to_bounds(mean[t.name], t) for t in spec.targets})

    def _bounds(  # pylint: disable=too-many-arguments,too-many-positional-arguments  # one target
        self,
        centres: np.ndarray,
        spreads: np.ndarray,
        phase: pd.Series,
        target: Target,
        spec: SoftSensor,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the intervals of one target in its unit, (rows,) each."""
        lower, upper = np.full((2, len(phase)), np.nan)
        score = self.reference[f"{target.name}_score"]
        for value in phase.unique():
            known = score.notna() & (self.reference[spec.columns.phase] == value)
            rows = (phase == value).to_numpy()
            evidence = (
                score[known].to_numpy(),
                self.reference.loc[known, "fold"].to_numpy(),
                group_weights(self.reference.loc[known, "group"]),
                spec.training.coverage,
            )
            lower[rows] = lower_bound(centres[:, rows], spreads[:, rows], *evidence)
            upper[rows] = upper_bound(centres[:, rows], spreads[:, rows], *evidence)
        return from_scale(lower, target), from_scale(upper, target)

    def check_contract(self, spec: SoftSensor) -> None:
        """Refuse to serve another params file than the one it was trained for."""
        if self.features != spec.features or self.targets != spec.target_names:
            odd = set(self.features + self.targets) ^ set(spec.features + spec.target_names)
            raise BundleRefused(
                "the model was trained for other features or targets than params.yaml names "
                f"({', '.join(sorted(odd)[:5]) or 'another order'}): train and promote a new one"
            )
        same_scales = self.scales == {target.name: target.scale for target in spec.targets}
        if self.definition != feature_definition(spec) or not same_scales:
            raise BundleRefused(
                "the model was trained on features or targets that params.yaml defines otherwise "
                "by now (a range, valid_rows, a column or a scale): train and promote a new one"
            )

    def labels(self, spec: SoftSensor) -> pd.DataFrame:
        """Phase and laboratory values of the training rows, under the targets' own names."""
        names = {f"{name}_measured": name for name in self.targets}
        return self.reference[[spec.columns.phase, *names]].rename(columns=names)

    def with_metadata(self, **metadata: Any) -> Bundle:
        """The same bundle, saying more of itself."""
        return replace(self, metadata={**self.metadata, **metadata})


def moved_to_bounds(values: pd.Series, target: Target) -> pd.Series:
    """Move what is a little beyond the physically possible to the bound.

    What is further off is left as it is, for `impossible` to find: it is a defect and no
    prediction.
    """
    within = values.clip(target.low, target.high)
    near = (values - within).abs() <= OVERSHOOT * (target.high - target.low)
    return within.where(near, values)


def member_votes(
    bundle: Bundle, features: pd.DataFrame, spec: SoftSensor
) -> dict[str, pd.DataFrame]:
    """What each member says, averaged over the folds: rows by targets in their units."""
    said = [ask(models, features, spec)[0] for models in bundle.folds]
    means = {n: total([votes[n] for votes in said]) / len(said) for n in bundle.weights.index}
    return {name: in_units(mean, spec) for name, mean in means.items()}


def impossible(predicted: pd.DataFrame, spec: SoftSensor) -> pd.Series:
    """Why a prediction must not be archived, empty where nothing speaks against it.

    Returns:
        `no_finite_prediction`, `impossible_prediction` or an empty string, one a row.
    """
    reason = pd.Series("", index=predicted.index)
    for target in spec.targets:
        parts = predicted[[f"{target.name}{end}" for end in ("_lower", "", "_upper")]]
        ordered = (parts.diff(axis=1).iloc[:, 1:] >= 0).all(axis=1)
        possible = ((parts >= target.low) & (parts <= target.high)).all(axis=1)
        finite = parts.astype(float).abs().lt(math.inf).all(axis=1)
        reason = reason.mask(~(ordered & possible) & (reason == ""), "impossible_prediction")
        reason = reason.mask(~finite, "no_finite_prediction")
    return reason


def quality_flags(features: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor) -> pd.Series:
    """What should make a reader careful, as comma-separated words, one string a row.

    `few_samples`; `clock_jump` (stamps further apart than a phase can last); `<sensor>_missing`;
    `<sensor>_out_of_bounds` (some values were outside the instrument's range, and left out);
    `<sensor>_outside_training` (a feature beyond the range of the training rows of its phase).
    """
    flags = pd.Series([[] for _ in range(len(features))], index=features.index)

    def add(rows: pd.Series, word: str) -> None:
        for index in rows.index[rows]:
            flags[index].append(word)

    add(features["n_samples"] < spec.prediction.min_samples, "few_samples")
    if spec.prediction.max_phase_minutes is not None:
        span = features["last_timestamp"] - features["first_timestamp"]
        add(span > 60 * spec.prediction.max_phase_minutes, "clock_jump")
    phase = features[spec.columns.phase]
    grouped = reference.groupby(spec.columns.phase)[spec.features]
    low, high = (
        extreme.reindex(phase).set_axis(features.index)
        for extreme in (grouped.min(), grouped.max())
    )
    for sensor in spec.sensors:
        names = spec.features_of(sensor)
        missing = features[names].isna().any(axis=1)
        add(missing, f"{sensor.name}_missing")
        add(features[f"{sensor.name}_out_of_bounds"] > 0, f"{sensor.name}_out_of_bounds")
        beyond = (features[names] < low[names]) | (features[names] > high[names])
        add(beyond.any(axis=1) & ~missing, f"{sensor.name}_outside_training")
    return flags.map(",".join)


def add_flag(predicted: pd.DataFrame, flag: str, rows: pd.Series | None = None) -> pd.DataFrame:
    """The same predictions with one more flag on some rows, by default on all."""
    flags = predicted["flags"]
    flagged = flags.where(flags == "", flags + ",") + flag
    return predicted.assign(flags=flagged if rows is None else flags.mask(rows, flagged))


def verdicts(predicted: pd.DataFrame, phase: pd.Series, spec: SoftSensor) -> pd.Series:
    """Judge phases by their intervals: clean only when every limit is kept by the whole interval.

    Returns:
        One verdict a row; empty for phases that params.yaml does not judge.
    """
    limited = [target for target in spec.targets if target.limit]
    if not limited:
        return pd.Series("", index=predicted.index)
    kept = pd.concat([_whole_interval(predicted, t, inside=True) for t in limited], axis=1)
    broken = pd.concat([_whole_interval(predicted, t, inside=False) for t in limited], axis=1)
    verdict = pd.Series(UNCERTAIN, index=predicted.index)
    verdict[kept.all(axis=1)] = CLEAN
    verdict[broken.any(axis=1)] = NOT_CLEAN
    return verdict.where(phase.isin([each.value for each in spec.phases if each.judged]), "")


def _whole_interval(predicted: pd.DataFrame, target: Target, inside: bool) -> pd.Series:
    """Whether the whole interval keeps the limit (inside) or breaks it."""
    assert target.limit is not None
    lower, upper = predicted[f"{target.name}_lower"], predicted[f"{target.name}_upper"]
    if target.limit.max is not None:
        return upper <= target.limit.max if inside else lower > target.limit.max
    return lower >= target.limit.min if inside else upper < target.limit.min
