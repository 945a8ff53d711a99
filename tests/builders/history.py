"""Histories as Parquet files: healthy experiments, and phases with everything that befalls rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from src.components.backfill.admission import admit
from src.components.backfill.duckdb_engine import DuckDB
from src.components.backfill.source import find
from src.components.backfill.survey import survey
from src.components.backfill.units import plan
from src.soft_sensor import SoftSensor
from tests.builders.training import phase_table

BEGIN = 1_767_225_000.0  # s: ten minutes before 2026-01-01
LENGTH, PAUSE = 120, 480  # s: of a phase, and after it
TRAINED = 40  # experiments of a training table


@dataclass
class Rows:
    """Rows in the order of time; each phase begins ten minutes after the one before."""

    spec: SoftSensor
    seed: int = 5
    parts: list[pd.DataFrame] = field(default_factory=list)

    def add(
        self, experiment: int | None, phase: int | None, count: int = LENGTH, **values: float
    ) -> pd.DataFrame:
        """Rows of one phase, a second apart; `values` replace columns."""
        random = np.random.default_rng([self.seed, len(self.parts)])
        levels = {"truebung": 20.0, "druck1": 0.15, "fluss1": 0.8, "ph": 8.0, "leitfaehigkeit": 900}
        first = BEGIN + len(self.parts) * (LENGTH + PAUSE)
        rows = pd.DataFrame(
            {
                "experimentnummer": pd.array([experiment] * count, dtype="Int64"),
                "timestamp": first + np.arange(count),
                "waschen": pd.array([phase] * count, dtype="Int64"),
                "vorschlagsnummer": 1.0,
                **{
                    name: level * (1 + 0.1 * random.standard_normal(count))
                    for name, level in levels.items()
                },
            }
        )
        for name, value in values.items():
            rows[name] = value
        self.parts.append(rows)
        return rows

    def frame(self) -> pd.DataFrame:
        """All rows."""
        return pd.concat(self.parts, ignore_index=True)


def odd_rows(spec: SoftSensor, experiments: int = 12) -> pd.DataFrame:
    """Healthy experiments, and one of each kind of odd phase, numbered from 101."""
    rows = Rows(spec)
    for experiment in range(1, experiments + 1):
        rows.add(experiment, 1)
        rows.add(experiment, 0)
    names = [sensor.name for sensor in spec.sensors]
    rows.add(101, 1, 1)  # the standard deviation of one row is 0
    rows.add(101, 0, 2)
    rows.add(102, 1, ph=np.nan)  # dead sensors
    rows.add(103, 1, leitfaehigkeit=np.inf)
    rows.add(104, 1, LENGTH, **dict.fromkeys(names, np.nan))  # nothing to predict from
    rows.add(105, 0, druck1=0.15)  # constant
    noisy = rows.add(106, 1)
    for place, name in enumerate(names):
        noisy.loc[place::17, name] = [np.nan, np.inf, -np.inf, 1e6, -1.0][place]
    rows.add(107, 1, vorschlagsnummer=-1.0)  # invalid by the rig's word
    rows.add(108, None)
    rows.add(None, 1)
    rows.add(109, 7)  # no such phase
    rows.add(110, 1, timestamp=12.0)  # half a century ago
    jump = rows.add(111, 0)
    jump.loc[LENGTH // 2 :, "timestamp"] += 2 * 86400  # a number that was used twice
    border = rows.add(112, 1)  # over the end of a month
    border["timestamp"] = pd.Timestamp("2026-02-01", tz="UTC").timestamp() - 60 + np.arange(LENGTH)
    rows.add(2**62, 1)  # more than a float can hold
    return rows.frame()


def write_months(rows: pd.DataFrame, folder: Path) -> list[Path]:
    """A file for each month of the rows, as a historian writes them; those files."""
    month = pd.to_datetime(rows["timestamp"], unit="s", utc=True).dt.strftime("%Y-%m")
    files = []
    for name, part in rows.groupby(month, sort=True):
        file = folder / f"month={name}" / "part-0.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        write(part, file)
        files.append(file)
    return files


def write(rows: pd.DataFrame, file: Path) -> None:
    """One file, in small row groups."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    parquet.write_table(table, file, row_group_size=500)


def training_table(spec: SoftSensor, folder: Path) -> pd.DataFrame:
    """Phases like the healthy ones of the history; their targets follow the mean pH.

    A model that is trained on it tells those of the history apart.

    Args:
        folder: for files, which is empty.
    """
    rows = Rows(spec, seed=1)
    for experiment in range(1, TRAINED + 1):
        for phase in spec.phases:
            rows.add(experiment, int(phase.value))
    write_months(rows.frame(), folder)
    source = find(str(folder))
    unit = plan(survey(source, spec, folder), spec, 10**9)[0]
    features, _ = admit(DuckDB(source, spec).features(unit), unit, spec)
    table = phase_table(TRAINED, spec)
    table[spec.features] = features[spec.features].to_numpy()
    rank = table["ph_mean"].rank(pct=True)
    for target in spec.targets:
        table[target.name] = target.low + (target.high - target.low) * rank
    return table
