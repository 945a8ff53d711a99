"""What recent laboratory values change about a model's predictions, see `adaptation`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from src.components.predictor.ensemble import from_scale, to_scale
from src.soft_sensor import SoftSensor

# Columns of `Correction.evidence`, and of the ledger.
VALUES, FROM, TO = "laboratory_values", "laboratory_from", "laboratory_to"
MODE = "adaptation"  # column of the ledger: what params.yaml said, see `SoftSensor.adaptation`


class Slopes(NamedTuple):
    """How the bias depends on the prediction of the model alone: phase values by targets each.

    On the working scale, `slope` is added to the bias for each unit by which the prediction is
    above `pivot`. A prediction beyond `low` or `high`, the ends of those in training, counts as
    that.
    """

    slope: pd.DataFrame
    pivot: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame


@dataclass(frozen=True)
class Correction:
    """A bias and a factor of the spread for each target in each phase.

    Attributes:
        bias: what is added to predictions on the working scale, phase values by targets.
        widening: factor of their spread, phase values by targets.
        evidence: phase values by VALUES (number of analysed phases that bias and widening are made
            from), FROM and TO (when the first and the last of them ended, UTC; NaT without any).
        slopes: how the bias depends on the prediction; None where it does not.
    """

    bias: pd.DataFrame
    widening: pd.DataFrame
    evidence: pd.DataFrame
    slopes: Slopes | None = None

    def bias_of(self, alone: pd.DataFrame, phase: pd.Series, spec: SoftSensor) -> pd.DataFrame:
        """The bias of rows, rows by targets; 0 for an unknown phase.

        Args:
            alone: targets in their units as the model alone predicts them.
        """
        bias = self.bias.reindex(phase).set_axis(phase.index)
        if self.slopes is not None:
            values = pd.DataFrame(
                {each.name: to_scale(alone[each.name], each) for each in spec.targets}
            )
            slope, pivot, low, high = (
                each.reindex(phase).set_axis(phase.index) for each in self.slopes
            )
            bias = bias + slope * (values.clip(low, high) - pivot)
        return bias.fillna(0.0)

    def widening_of(self, phase: pd.Series) -> pd.DataFrame:
        """The factor of the spread of rows, rows by targets; 1 for an unknown phase."""
        return self.widening.reindex(phase).fillna(1.0).set_axis(phase.index)

    def applied(self, alone: pd.DataFrame, phase: pd.Series, spec: SoftSensor) -> pd.DataFrame:
        """Corrected predictions in the targets' units, within their ranges.

        A prediction outside its range is a defect and stays as it is, for `reject_reasons`.

        Args:
            alone: targets in their units as the model alone predicts them.
        """
        bias, corrected = self.bias_of(alone, phase, spec), {}
        for target in spec.targets:
            value = alone[target.name]
            moved = to_scale(value, target) + bias[target.name]
            within = pd.Series(from_scale(moved.to_numpy(), target), value.index)
            possible = value.between(target.low, target.high)
            corrected[target.name] = within.clip(target.low, target.high).where(possible, value)
        return pd.DataFrame(corrected, index=alone.index)

    def recorded(self, predicted: pd.DataFrame, phase: pd.Series, spec: SoftSensor) -> pd.DataFrame:
        """Predictions with the columns of the ledger that say how they were corrected.

        Args:
            predicted: what `Bundle.predict` returns, with or without this correction.
        """
        alone = pd.DataFrame(
            {each.name: predicted.get(each.alone, predicted[each.name]) for each in spec.targets}
        )
        corrected = self.applied(alone, phase, spec)
        bias, widening = self.bias_of(alone, phase, spec), self.widening_of(phase)
        columns = {}
        for target in spec.targets:
            columns[target.alone] = alone[target.name]
            columns[target.adapted] = corrected[target.name]
            columns[target.bias] = bias[target.name]
            columns[target.widening] = widening[target.name]
        evidence = self.evidence.reindex(phase).set_axis(phase.index)
        count = evidence[VALUES].fillna(0).astype(int)
        plain = predicted.drop(columns=[each.alone for each in spec.targets], errors="ignore")
        return pd.concat([plain, pd.DataFrame(columns)], axis=1).assign(
            **{MODE: spec.adaptation, VALUES: count, FROM: evidence[FROM], TO: evidence[TO]}
        )


def recorded_in(row: pd.DataFrame, spec: SoftSensor) -> Correction | None:
    """The correction with which a row of the ledger was predicted; None if it was without one.

    Args:
        row: a frame of one row.
    """
    if MODE not in row or row[MODE].iloc[0] != "on":
        return None
    phases = row[spec.columns.phase]
    return Correction(
        bias=_of_targets(row, [target.bias for target in spec.targets], spec).set_axis(phases),
        widening=_of_targets(row, [t.widening for t in spec.targets], spec).set_axis(phases),
        evidence=row[[VALUES, FROM, TO]].set_axis(phases),
    )


def _of_targets(row: pd.DataFrame, columns: list[str], spec: SoftSensor) -> pd.DataFrame:
    return row[columns].set_axis(spec.target_names, axis=1).astype(float)
