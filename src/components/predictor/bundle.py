"""The model bundle: predictions with intervals, flags and verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from src.components.predictor import flags
from src.components.predictor.correction import Correction, recorded_in
from src.components.predictor.ensemble import (
    Array,
    Models,
    combine,
    from_scale,
    in_units,
    to_scale,
    total,
    votes_and_spread,
)
from src.components.predictor.intervals import (
    Calibration,
    beyond_limits,
    floored,
    group_weights,
    lower_bound,
    score_quantile,
    upper_bound,
)
from src.components.predictor.judgement import Judgement, moved_to_bounds, verdicts
from src.components.transformation.censoring import ABOVE, BELOW
from src.components.transformation.features import feature_definition
from src.components.transformation.training_table import GROUP
from src.errors import BundleRefused
from src.soft_sensor import SoftSensor, Target

FOLD = "impress_fold"  # column of the training rows: position of the fold that a row is in
MARKS = ("", BELOW, ABOVE)  # of laboratory values, see `censoring`


@dataclass(frozen=True)
class Origin:  # pylint: disable=too-many-instance-attributes  # the facts of a training run
    """Where a bundle comes from and how good it is.

    Attributes:
        params: hyperparameters by member.
        experiments: experiments that it was trained on.
        trained_at: ISO 8601, UTC.
        data_version, code_version: hash of the data set, commit of the code.
        libraries: versions of the libraries that shaped it.
        metrics: rows of `evaluation.metrics` out of fold.
        mlflow_run: id of the run that registered it.
    """

    params: dict[str, dict[str, Any]]
    experiments: list[Any] = field(default_factory=list)
    trained_at: str = ""
    data_version: str = ""
    code_version: str = ""
    libraries: dict[str, str] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    mlflow_run: str = ""


class FoldPredictions(NamedTuple):
    """What the models of each fold predict: rows by targets, on the working scale."""

    centres: list[pd.DataFrame]
    spreads: list[pd.DataFrame]

    def of(self, rows: pd.Index) -> FoldPredictions:
        """Those of some rows."""
        return FoldPredictions(
            [fold.loc[rows] for fold in self.centres], [fold.loc[rows] for fold in self.spreads]
        )


@dataclass(frozen=True)
class Bundle:  # pylint: disable=too-many-instance-attributes  # all that a prediction needs
    """A trained soft sensor.

    Attributes:
        spec: the soft sensor as it was at the time of training.
        definition: `feature_definition` at that time.
        folds: for each fold the members that were fitted without it.
        weights: members by targets; each column sums to 1.
        floors: phase values by targets, the least spread that counts (see `intervals`).
        reference: the training rows, see `reference_columns`: the targets' own names have the
            out-of-fold predictions, `Target.measured` the laboratory values, `Target.spread` the
            spread of the members, `Target.score` the errors in units of it.
        origin: where it comes from and how good it is.
    """

    spec: SoftSensor
    definition: str
    folds: list[Models]
    weights: pd.DataFrame
    floors: pd.DataFrame
    reference: pd.DataFrame
    origin: Origin

    def predict(
        self, features: pd.DataFrame, spec: SoftSensor, correction: Correction | None = None
    ) -> pd.DataFrame:
        """Predict phases with intervals, flags and verdict.

        Args:
            features: what `features_query` gives, one row a phase; NaN where a sensor is missing.
            correction: by recent laboratory values.

        Returns:
            A row a phase: targets, `Target.lower` and `Target.upper` in the targets' units, `flags`
            (see `flags.joined`) and `verdict` (empty for phases that are not judged); with a
            correction also `Target.alone`.

        Raises:
            BundleRefused: when the bundle was trained for other features or targets.
        """
        predicted = self.estimate(features, spec, correction)
        flagged = flags.quality_flags(features, self.reference, spec)
        verdict = verdicts(predicted, features[spec.columns.phase], self.reference, spec)
        open_verdict = flags.unreliable(flagged, spec) & (verdict != "")
        return predicted.drop(columns=[target.spread for target in spec.targets]).assign(
            flags=flags.joined(flagged),
            verdict=verdict.mask(open_verdict, Judgement.UNCERTAIN),
        )

    def estimate(
        self, features: pd.DataFrame, spec: SoftSensor, correction: Correction | None = None
    ) -> pd.DataFrame:
        """Targets with intervals, for rows of which only keys and features are known.

        The prediction is the mean over the folds; an interval always contains it. `Target.spread`
        is the mean spread of the members, on the working scale. A correction moves the predictions
        of all folds and scales their spread; `Target.alone` is the prediction without it.

        Raises:
            BundleRefused: when the bundle was trained for other features or targets.
        """
        folds = self.fold_predictions(features, spec)
        return self.combined(folds, features[spec.columns.phase], spec, correction)

    def estimate_recorded(self, rows: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
        """The estimate of rows of the ledger, each with the correction it was predicted with.

        Raises:
            BundleRefused: when the bundle was trained for other features or targets.
        """
        folds, phase, parts = self.fold_predictions(rows, spec), rows[spec.columns.phase], []
        for place in range(len(rows)):
            row = rows.iloc[[place]]
            own, correction = folds.of(row.index), recorded_in(row, spec)
            parts.append(self.combined(own, phase[row.index], spec, correction))
        return pd.concat(parts)

    def fold_predictions(self, features: pd.DataFrame, spec: SoftSensor) -> FoldPredictions:
        """What the models of each fold predict, from which `combined` makes an estimate.

        Raises:
            BundleRefused: when the bundle was trained for other features or targets.
        """
        self.check_contract(spec)
        centres, spreads = self._fold_predictions(features, spec)
        phase = features[spec.columns.phase]
        return FoldPredictions(centres, [floored(each, self.floors, phase) for each in spreads])

    def combined(
        self,
        folds: FoldPredictions,
        phase: pd.Series,
        spec: SoftSensor,
        correction: Correction | None = None,
    ) -> pd.DataFrame:
        """See `estimate`."""
        centres, spreads = folds
        predicted = self._mean_over_folds(centres, spec)
        if correction is not None:
            alone = predicted.set_axis([target.alone for target in spec.targets], axis=1)
            bias = correction.bias_of(predicted, phase, spec)
            predicted = correction.applied(predicted, phase, spec).join(alone)
            centres = [centre + bias for centre in centres]
            spreads = [spread * correction.widening_of(phase) for spread in spreads]
        for target in spec.targets:
            centre = np.stack([fold[target.name].to_numpy() for fold in centres])
            spread = np.stack([fold[target.name].to_numpy() for fold in spreads])
            predicted[target.spread] = spread.mean(axis=0)
            _add_interval(predicted, *self._interval(centre, spread, phase, target, spec), target)
        return predicted

    def out_of_fold(self, spec: SoftSensor) -> pd.DataFrame:
        """Predictions of the training rows, each by the models that had not seen its group.

        Their intervals are made from the scores of the other folds.

        Returns:
            Targets, `Target.lower` and `Target.upper` in the targets' units, rows as `reference`.
        """
        rows, phase = self.reference, self.reference[spec.columns.phase]
        predicted = rows[spec.target_names].copy()
        for target in spec.targets:
            centre = to_scale(rows[target.name], target).to_numpy()
            difficulty = rows[target.spread].to_numpy()
            lower, upper = np.full((2, len(rows)), np.nan)
            for value, number in product(phase.unique(), range(len(self.folds))):
                own = ((phase == value) & (rows[FOLD] == number)).to_numpy()
                calibration = self._calibration(value, target, spec, without=number)
                reach = score_quantile(calibration) * difficulty[own]
                ends = centre[own] - reach, centre[own] + reach
                lower[own], upper[own] = beyond_limits(*ends, calibration)
            _add_interval(predicted, from_scale(lower, target), from_scale(upper, target), target)
        return predicted

    def values(self, features: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
        """Targets alone, rows by targets in their units, from features alone."""
        centres, _ = self._fold_predictions(features, spec)
        return self._mean_over_folds(centres, spec)

    def member_votes(self, features: pd.DataFrame, spec: SoftSensor) -> dict[str, pd.DataFrame]:
        """Predictions of each member, averaged over the folds: rows by targets in their units."""
        folds = [votes_and_spread(models, features, spec)[0] for models in self.folds]
        votes = {}
        for member in self.weights.index:
            mean = total([fold[member] for fold in folds]) / len(folds)
            votes[member] = in_units(mean, spec)
        return votes

    def _fold_predictions(
        self, features: pd.DataFrame, spec: SoftSensor
    ) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
        """Combined predictions of each fold and their spread, on the working scale."""
        centres, spreads = [], []
        for models in self.folds:
            votes, spread = votes_and_spread(models, features, spec)
            centres.append(combine(votes, self.weights))
            spreads.append(spread)
        return centres, spreads

    def _mean_over_folds(self, centres: list[pd.DataFrame], spec: SoftSensor) -> pd.DataFrame:
        mean = in_units(total(centres) / len(centres), spec)
        for target in spec.targets:
            mean[target.name] = moved_to_bounds(mean[target.name], target)
        return mean

    def _interval(
        self,
        centres: Array,
        spreads: Array,
        phase: pd.Series,
        target: Target,
        spec: SoftSensor,
    ) -> tuple[Array, Array]:
        """Ends of the intervals of one target in its unit, (rows,) each.

        Args:
            centres, spreads: (folds, rows), on the working scale.
        """
        lower, upper = np.full((2, len(phase)), np.nan)
        for value in phase.unique():
            rows = (phase == value).to_numpy()
            calibration = self._calibration(value, target, spec)
            ends = (
                lower_bound(centres[:, rows], spreads[:, rows], calibration),
                upper_bound(centres[:, rows], spreads[:, rows], calibration),
            )
            lower[rows], upper[rows] = beyond_limits(*ends, calibration)
        return from_scale(lower, target), from_scale(upper, target)

    def _calibration(
        self, phase: int | str, target: Target, spec: SoftSensor, without: int | None = None
    ) -> Calibration:
        """The training rows of a phase in which the laboratory measured a target.

        Args:
            without: position of a fold whose rows do not count.
        """
        in_phase = self.reference[spec.columns.phase] == phase
        in_phase &= self.reference[FOLD] != without
        known = self.reference[in_phase & self.reference[target.score].notna()]
        limits = to_scale(known[target.measured], target)
        return Calibration(
            detection=limits[known[target.censored] == BELOW].median(),
            range_end=limits[known[target.censored] == ABOVE].median(),
            scores=known[target.score].to_numpy(),
            fold=known[FOLD].to_numpy(),
            weights=group_weights(known[GROUP]),
            coverage=spec.training.coverage,
        )

    def check_contract(self, spec: SoftSensor) -> None:
        """Refuse to serve another params file than the one it was trained for."""
        trained = self.spec
        here = trained.features + trained.target_names
        there = spec.features + spec.target_names
        if here != there:
            differing = sorted(set(here) ^ set(there))
            raise BundleRefused(
                "the model was trained for other features or targets than params.yaml names "
                f"({', '.join(differing[:5]) or 'another order'}): train and promote a new one"
            )
        same_scales = _scales(trained) == _scales(spec)
        if self.definition != feature_definition(spec) or not same_scales:
            raise BundleRefused(
                "the model was trained on features or targets that params.yaml has since redefined "
                "(a range, valid_rows, a column or a scale): train and promote a new one"
            )

    def labels(self, spec: SoftSensor) -> pd.DataFrame:
        """Phase, laboratory values under the targets' own names, and their marks (`censoring`)."""
        names = {target.measured: target.name for target in spec.targets}
        marks = [target.censored for target in spec.targets]
        return self.reference[[spec.columns.phase, *names, *marks]].rename(columns=names)

    def with_origin(self, **facts: Any) -> Bundle:
        """The same bundle with more facts about where it comes from, see `Origin`."""
        return replace(self, origin=replace(self.origin, **facts))


def _add_interval(predicted: pd.DataFrame, lower: Array, upper: Array, target: Target) -> None:
    """Add the ends of the intervals of a target, which hold the prediction and end at its range."""
    value = predicted[target.name]
    predicted[target.lower] = np.fmin(lower, value).clip(target.low, target.high)
    predicted[target.upper] = np.fmax(upper, value).clip(target.low, target.high)


def _scales(spec: SoftSensor) -> list[str]:
    """The scales on which models see the sensors and the targets."""
    return [quantity.scale for quantity in (*spec.sensors, *spec.targets)]


def reference_columns(spec: SoftSensor) -> list[str]:
    """Columns of `Bundle.reference`, in order."""
    counts = [sensor.out_of_bounds for sensor in spec.sensors]
    measured = [target.measured for target in spec.targets]
    scores = [target.score for target in spec.targets]
    spreads = [target.spread for target in spec.targets]
    own = [*spec.columns.keys, GROUP, "last_timestamp", *spec.features, *counts, FOLD]
    return [*own, *spec.target_names, *measured, *censored_columns(spec), *scores, *spreads]


def censored_columns(spec: SoftSensor) -> list[str]:
    """Columns of it, in order, that say which laboratory values are limits: see `censoring`."""
    return [target.censored for target in spec.targets]
