"""All that a verdict is based on, as one record."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from src.components.adaptation.outlook import Outlook
from src.components.adaptation.replay import State
from src.components.predictor.flags import Flag
from src.soft_sensor import SoftSensor


@dataclass(frozen=True)
class Period:
    """Predictions archived after `since` (None: from the beginning) and by `until`.

    A period is `requested` when a user has named it; its report does not count as the last one.
    """

    since: pd.Timestamp | None
    until: pd.Timestamp
    requested: bool = False

    def __str__(self) -> str:
        """The period as part of a sentence."""
        since = f"after {self.since:%Y-%m-%d %H:%M}" if self.since else "from the beginning"
        return f"{since} until {self.until:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class Past:
    """The ledger before a period in numbers, all 0 where it was empty.

    Attributes:
        experiments: their number.
        days: from the first phase to the last.
        last_timestamp: end of the last phase, Unix seconds.
        judged: phases with a verdict.
        uncertain: those whose verdict was uncertain.
    """

    experiments: int = 0
    days: float = 0.0
    last_timestamp: float = 0.0
    judged: int = 0
    uncertain: int = 0


def reference_flags(spec: SoftSensor) -> list[str]:
    """The flags of sensors that have a column in a reference, see `Evidence.reference`."""
    kinds = (Flag.OUT_OF_BOUNDS, Flag.OUTSIDE_TRAINING)
    return [kind.of(sensor) for sensor in spec.sensors for kind in kinds]


# Of no report: what a verdict looks at.
NO_TESTS = pd.DataFrame(
    columns=["until", "kind", "part", "indicator", "shift", "status", "p_holm"]
).astype({"until": "datetime64[us, UTC]"})


@dataclass(frozen=True)
class Earlier:
    """Earlier reports.

    Attributes:
        accepted: periods that a person has accepted as healthy under the present version.
        tests: `until` and the columns of `monitoring_tests`, one row per test, oldest report first.
        alarms: those of the accepted periods that had been an alarm.
    """

    accepted: list[Period]
    tests: pd.DataFrame
    alarms: list[Period] = field(default_factory=list)


@dataclass(frozen=True)
class LaboratoryEvidence:
    """How the predictions compare with laboratory values.

    Attributes:
        recent: errors on the newest laboratory values, see `performance.errors`.
        expected: errors on phases that the models had not seen in training.
        newest: when the last laboratory value arrived; None before the first.
        unmatched: number of laboratory values whose phase is not in the ledger.
        adaptation: how they correct predictions at the end of the period; None if it is off.
        retraining: what one could bring; None if adaptation is off.
    """

    recent: pd.DataFrame
    expected: pd.DataFrame
    newest: pd.Timestamp | None = None
    unmatched: int = 0
    adaptation: State | None = None
    retraining: Outlook | None = None


@dataclass(frozen=True)
class Evidence:  # pylint: disable=too-many-instance-attributes  # all that there is
    """A month, and what it is compared with.

    Attributes:
        period: when the predictions of the month were archived.
        version: of the model in production, which `reference` belongs to.
        month: the newest prediction of every phase: rows of the ledger, with the targets predicted
            by that version whichever has made the row.
        reference: training rows with their out-of-fold predictions, and the rows of accepted
            periods: keys, last_timestamp, features, targets, and for each sensor
            those of its flags out of bounds and outside training (0 where not), one row per phase;
            and `precedents.ACCEPTED_ALARM`.
        past: the ledger before the period.
        laboratory: how the predictions compare with laboratory values.
        earlier: earlier reports.
        left_out: predictions of the period that cannot be used, see `gather.possible`.
        rig: the only one that all of it is about, see `rigs`; None for all rigs together.
    """

    period: Period
    version: str
    month: pd.DataFrame
    reference: pd.DataFrame
    past: Past
    laboratory: LaboratoryEvidence
    earlier: Earlier
    left_out: int = 0
    rig: str | None = None

    @property
    def last_end(self) -> pd.Timestamp:
        """End of the newest phase that is not dated into the future; else that of the period."""
        stamps = self.month["last_timestamp"]
        past = stamps[stamps <= self.period.until.timestamp()]
        if past.empty:
            return self.period.until
        return pd.Timestamp(past.max(), unit="s", tz="UTC")
