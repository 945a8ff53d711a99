"""Units of work: ranges of whole experiments, which are scored independently of each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

from src.components.backfill.rows import Readable, Unreadable
from src.components.backfill.survey import FILE, N_ROWS, Survey
from src.components.predictor.scoring import Served
from src.components.transformation.features import feature_definition
from src.soft_sensor import SoftSensor

# What scoring takes from params.yaml beside the features.
_OF_PARAMS: Any = {
    "phases": {"__all__": {"value", "judged"}},
    "targets": {"__all__": {"name", "low", "high", "limit", "scale"}},
    "verdict": True,
    "training": {"coverage"},
    "prediction": {"settle_minutes", "max_phase_minutes", "reused_after_hours", "min_samples"},
}


@dataclass(frozen=True)
class Unit:
    """A range of experiments.

    Attributes:
        first, last: of its experiments, in their order; both included.
        files: those that hold any of its rows.
        rows: how many there are.
        gaps: unreadable files beside its own, which may hold more of its rows.
        only: its experiments, where it has not all of its range.
        made_from: everything that its results depend on, as JSON has it.
    """

    first: int | str
    last: int | str
    files: tuple[Readable, ...]
    rows: int
    gaps: tuple[Unreadable, ...]
    only: tuple[int | str, ...] | None = None
    made_from: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its results: another model, definition or file gives another name."""
        return hashlib.sha256(json.dumps(self.made_from, sort_keys=True).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Share:
    """The units that one of several workers does: each `of`-th one, beginning with `number`."""

    number: int = 1
    of: int = 1

    def take(self, units: list[Unit]) -> list[Unit]:
        """Its units."""
        return units[self.number - 1 :: self.of]


def plan(
    survey: Survey, spec: SoftSensor, unit_rows: int, only: Collection[int | str] | None = None
) -> list[Unit]:
    """Cut a history into units of about `unit_rows` rows, in the order of the experiments.

    Experiments that come later in this order do not move the earlier cuts.

    Args:
        only: leave out all other experiments.
    """
    experiment = spec.columns.experiment
    counts = survey.counts
    if only is not None:
        counts = counts[counts[experiment].isin(only)]
    rows = counts.groupby(experiment, sort=True)[N_ROWS].sum()
    number = ((rows.cumsum() - rows) // unit_rows).rename("impress_unit")
    units = []
    for _, part in counts.join(number, on=experiment).groupby("impress_unit", sort=True):
        names = sorted(part[experiment].unique().tolist())
        files = tuple(survey.files[place] for place in sorted(part[FILE].unique()))
        paths = {each.file.path for each in files}
        gaps = tuple(gap for gap in survey.unreadable if paths.intersection(gap.beside))
        chosen = None if only is None else tuple(names)
        units.append(Unit(names[0], names[-1], files, int(part[N_ROWS].sum()), gaps, chosen))
    return units


def for_model(units: list[Unit], model: Served, spec: SoftSensor) -> list[Unit]:
    """Units whose results by a model have a name."""
    return [replace(unit, made_from=_facts(unit, model, spec)) for unit in units]


def _facts(unit: Unit, model: Served, spec: SoftSensor) -> dict[str, Any]:
    return {
        "soft_sensor": spec.name,
        "experiments": [unit.first, unit.last],
        "features": feature_definition(spec),
        "params": spec.model_dump(mode="json", include=_OF_PARAMS),
        "model_version": model.version,
        "training_run": model.bundle.origin.mlflow_run,
        "cached_model": model.cached,
        "files": [_file_facts(each) for each in unit.files],
        "gaps": [[gap.path, str(gap.begin), str(gap.end)] for gap in unit.gaps],
    }


def _file_facts(readable: Readable) -> list[Any]:
    file = readable.file
    facts = [file.path, file.size, file.stamp]
    # The name of the copy changes with the way in which params.yaml reads CSV.
    return [*facts, PurePath(readable.path).name] if file.is_csv else facts
