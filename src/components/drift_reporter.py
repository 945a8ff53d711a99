"""Has a sensor drifted? Per-phase tests, corrected for their number, and Evidently's page.

A month is compared with the training rows: its sensor features with theirs, its predictions with
their out-of-fold predictions. Comparing within phases keeps a changed share of washing and rinsing
from looking like drift; Holm's correction over all tests keeps the chance of any false alarm in a
healthy month at `monitoring.alarm`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu
from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from src.components.inbox import LOCK
from src.components.tables import tables
from src.soft_sensor import SoftSensor

Indicators = dict[tuple[str, str], pd.Series]

ALARM, WATCH, OK, TOO_FEW = "alarm", "watch", "no drift", "not enough rows"
PREDICTION = "prediction"


@dataclass(frozen=True)
class Verdict:
    """What one month looks like.

    Attributes:
        status: `alarm`, `watch`, `no drift` or `not enough rows`.
        sensors: names of drifted sensors, the surest first.
        tests: one row a test: part (sensor or target), indicator, phase, reference_rows, rows,
            shift (reference standard deviations), p, p_holm, status.
    """

    status: str
    sensors: list[str]
    tests: pd.DataFrame


def read_window(
    engine: Engine, sensor: SoftSensor, since: pd.Timestamp | None
) -> tuple[pd.DataFrame, pd.Timestamp]:
    """The newest prediction of every phase that was archived after `since`, and until when.

    A prediction is dated by the start of its run. So this waits for a run that is under way, whose
    rows would otherwise be dated into a window that was already looked at.
    """
    ledger = tables(sensor).archived
    keys = [ledger.c[key] for key in sensor.columns.keys]
    newest = select(ledger).ext(distinct_on(*keys)).order_by(*keys, ledger.c.predicted_at.desc())
    if since is not None:
        newest = newest.where(ledger.c.predicted_at > since)
    with engine.connect() as connection:
        connection.execute(select(func.pg_advisory_lock(LOCK)))
        connection.commit()
        until = connection.execute(select(func.now())).scalar_one()
        # Given back before reading: a prediction that finds the lock taken does nothing.
        connection.execute(select(func.pg_advisory_unlock(LOCK)))
        month = pd.read_sql(newest.where(ledger.c.predicted_at <= until), connection)
        return month, pd.Timestamp(until)


def last_report(engine: Engine, sensor: SoftSensor) -> pd.Timestamp | None:
    """Until when the last report has looked, None before the first.

    A run that found too few rows was no report: its rows are looked at again with the next ones.
    """
    runs = tables(sensor).runs
    query = select(func.max(runs.c.details["until"].astext)).where(
        runs.c.pipeline == "monitor", runs.c.outcome != TOO_FEW
    )
    with engine.connect() as connection:
        until = connection.scalar(query)
    return pd.Timestamp(until) if until else None


def indicators(table: pd.DataFrame, reference: pd.DataFrame, sensor: SoftSensor) -> Indicators:
    """Three nearly independent columns a sensor in place of its correlated features.

    `level` is the median, `noise` the logarithm of the standard deviation, `scatter` the distance
    of the level from its phase's centre in the reference. Each target has its `prediction`.

    Returns:
        (sensor or target, indicator) to values in the rows of `table`.
    """
    columns: Indicators = {}
    phase = sensor.columns.phase
    for part in sensor.sensors:
        level, spread = f"{part.name}_median", f"{part.name}_std"
        centre = reference.groupby(phase)[level].median()
        # A stuck sensor has no spread; a thousandth of the usual one stands for the logarithm of 0.
        floor = 1e-3 * reference[spread].median() or np.finfo(float).tiny
        columns[part.name, "level"] = table[level]
        columns[part.name, "noise"] = np.log(table[spread] + floor)
        columns[part.name, "scatter"] = (table[level] - table[phase].map(centre)).abs()
    for target in sensor.target_names:
        columns[target, PREDICTION] = table[target]
    return columns


def check(month: pd.DataFrame, reference: pd.DataFrame, sensor: SoftSensor) -> Verdict:
    """Test a month against the reference.

    Two-sided Mann-Whitney tests of each indicator within each phase (Mann and Whitney, Annals of
    Mathematical Statistics 18, 1947), corrected over all of them (Holm, Scandinavian Journal of
    Statistics 6, 1979). A sensor is drifted when a corrected p is at most `monitoring.alarm` and
    the shift is at least `monitoring.min_shift`.

    Args:
        month: rows of the ledger.
        reference: the bundle's reference, targets being out-of-fold predictions.
    """
    from statsmodels.stats.multitest import multipletests

    tests = _tests(month, reference, sensor)
    if not tests:
        return Verdict(TOO_FEW, [], pd.DataFrame())
    rules = sensor.monitoring
    table = pd.DataFrame(tests)
    table["p_holm"] = multipletests(table["p"], method="holm")[1]
    sure = (table["p_holm"] <= rules.alarm) & (table["shift"].abs() >= rules.min_shift)
    table["status"] = np.select([sure, table["p_holm"] <= rules.watch], [ALARM, WATCH], OK)
    table = table.sort_values("p_holm", kind="stable").reset_index(drop=True)
    sensors = table[(table["status"] == ALARM) & (table["indicator"] != PREDICTION)]
    found = set(table["status"])
    status = next(word for word in (ALARM, WATCH, OK) if word in found)
    return Verdict(status, list(dict.fromkeys(sensors["part"])), table)


def _tests(
    month: pd.DataFrame, reference: pd.DataFrame, sensor: SoftSensor
) -> list[dict[str, Any]]:
    """One test for each indicator and phase that has rows enough on both sides."""
    phase = sensor.columns.phase
    now, then = indicators(month, reference, sensor), indicators(reference, reference, sensor)
    tests = []
    for part in sensor.phases:
        for name, indicator in now:
            x = now[name, indicator][month[phase] == part.value].dropna()
            y = then[name, indicator][reference[phase] == part.value].dropna()
            if min(len(x), len(y)) < sensor.monitoring.min_rows:
                continue
            tests.append(
                {
                    "part": name,
                    "indicator": indicator,
                    "phase": part.name,
                    "reference_rows": len(y),
                    "rows": len(x),
                    "shift": (x.median() - y.median()) / y.std() if y.std() > 0 else 0.0,
                    "p": mannwhitneyu(x, y).pvalue,
                }
            )
    return tests


def summary(verdict: Verdict, month: pd.DataFrame, sensor: SoftSensor) -> str:
    """The verdict in words, as it stands in log and mail."""
    phases = month[sensor.columns.phase].map({part.value: part.name for part in sensor.phases})
    counts = ", ".join(f"{(phases == part.name).sum()} {part.name}" for part in sensor.phases)
    lines = [f"Verdict: {verdict.status}", f"Phases looked at: {counts}"]
    if verdict.status == TOO_FEW:
        lines.append(
            f"A phase needs {sensor.monitoring.min_rows} rows in the window and in the reference."
        )
        return "\n".join(lines)
    titles = {part.name: part.title for part in (*sensor.sensors, *sensor.targets)}
    found = verdict.tests[verdict.tests["status"] != OK]
    for test in found.to_dict("records"):
        part, indicator = test["part"], test["indicator"]
        lines.append(
            f"{test['status']}: {titles[part]} ({part}), {indicator} while {test['phase']}: "
            f"{test['shift']:+.2f} reference SD, corrected p {test['p_holm']:.2g}"
        )
    if verdict.sensors:
        names = ", ".join(titles[name] for name in verdict.sensors)
        lines.append(f"What to do: check and clean the probe, beginning with the first: {names}.")
    if (found["indicator"] == PREDICTION).any():
        lines.append("Predictions follow the sensors: look at those first.")
    if found.empty:
        lines.append(f"None of {len(verdict.tests)} tests found a change.")
    return "\n".join(lines)


def write_report(
    verdict: Verdict, month: pd.DataFrame, reference: pd.DataFrame, sensor: SoftSensor, file: Path
) -> None:
    """Write Evidently's page of the indicators, a column a phase, with our verdict in it.

    Evidently draws; what counts as drift is looked up in the verdict, so the two always agree.
    """
    known = {
        f"{test['part']} {test['indicator']} [{test['phase']}]": (
            abs(test["shift"]),
            test["status"] == ALARM,
        )
        for test in verdict.tests.to_dict("records")
    }
    frames = [_wide(table, reference, sensor)[list(known)] for table in (month, reference)]
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Evidently's own, of the libraries that it uses
        from evidently import DataDefinition, Dataset, Report
        from evidently.legacy.calculations.stattests import StatTest, register_stattest
        from evidently.legacy.core import ColumnType
        from evidently.presets import DataDriftPreset

        register_stattest(
            StatTest(
                name="impress_shift",
                display_name=f"shift in SD, drift by Holm p <= {sensor.monitoring.alarm}",
                allowed_feature_types=[ColumnType.Numerical],
                default_threshold=sensor.monitoring.min_shift,
            ),
            default_impl=lambda reference_data, current_data, *_: known[current_data.name],
        )
        definition = DataDefinition(numerical_columns=list(known))
        current, usual = (Dataset.from_pandas(frame, definition) for frame in frames)
        drift = DataDriftPreset(
            columns=list(known),
            method="impress_shift",
            threshold=sensor.monitoring.min_shift,
            drift_share=1 / len(known),
        )
        Report([drift]).run(current_data=current, reference_data=usual).save_html(str(file))


def _wide(table: pd.DataFrame, reference: pd.DataFrame, sensor: SoftSensor) -> pd.DataFrame:
    values = indicators(table, reference, sensor)
    return pd.DataFrame(
        {
            f"{name} {indicator} [{part.name}]": column.where(
                table[sensor.columns.phase] == part.value
            )
            for part in sensor.phases
            for (name, indicator), column in values.items()
        }
    ).reset_index(drop=True)
