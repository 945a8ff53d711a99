"""What `impress adapt` prints."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Engine, select, text

from src.cli.console import show_line, show_table
from src.components.adaptation import replay
from src.components.adaptation.backtest import ADAPTED, ALONE, backtest
from src.components.adaptation.replay import State
from src.components.database.tables import NEWEST_FIRST, tables
from src.components.predictor.correction import FROM, MODE, TO, VALUES
from src.components.predictor.scoring import Served
from src.soft_sensor import SoftSensor, Target

EFFECT = {
    "on": "it corrects predictions",
    "shadow": "it is recorded and changes nothing",
    "off": "it is not used",
}


def bias_words(bias: float, target: Target) -> str:
    """A bias on the working scale, in words; on the scale `log` it is a factor of 1 + value."""
    if target.scale == "log":
        return f"x {math.exp(bias):.2f}"
    return f"{bias:+.3g} {target.unit}"


def status_line(engine: Engine, spec: SoftSensor) -> str:
    """How the newest prediction of each phase was corrected, on one line."""
    ledger = tables(spec).archived
    words = []
    with engine.connect() as connection:
        for phase in spec.phases:
            own = ledger.c[spec.columns.phase] == phase.value
            newest = select(ledger).where(own).order_by(text(NEWEST_FIRST)).limit(1)
            row = connection.execute(newest).mappings().first()
            if row is not None and row[MODE] is not None:
                words.append(f"{phase.name} {_status_words(dict(row), spec)}")
    return (
        f"adaptation {spec.adaptation}: {'; '.join(words) or 'nothing was predicted with it yet'}"
    )


def _status_words(row: dict[str, Any], spec: SoftSensor) -> str:
    """Number and age of the values, and the targets that they correct noticeably."""
    if not row[VALUES]:
        return "without laboratory values"
    corrected = [
        f"{target.title} {row[target.alone]:.3g} -> {row[target.adapted]:.3g} {target.unit}"
        for target in spec.targets
        if f"{row[target.alone]:.3g}" != f"{row[target.adapted]:.3g}"
    ]
    values = f"{row[VALUES]} analysed, the last {row[TO]:%Y-%m-%d}"
    return f"({values}) {', '.join(corrected) or 'as the model alone predicts'}"


def show_state(state: State, version: str, spec: SoftSensor) -> None:
    """Bias and width of each target and phase, and which values they come from."""
    show_line(f"adaptation is {spec.adaptation}: {EFFECT[spec.adaptation]}")
    for phase in spec.phases:
        of_phase = state.evidence.loc[phase.value]
        if of_phase[VALUES]:
            period = f"that ended {of_phase[FROM]:%Y-%m-%d} to {of_phase[TO]:%Y-%m-%d}"
            show_line(f"{phase.name}: {of_phase[VALUES]} analysed phases {period}")
        else:
            show_line(f"{phase.name}: no laboratory value since version {version} predicts")
    rows = []
    for line in state.levels.to_dict("records"):
        target = spec.target(line[replay.TARGET])
        rows.append(
            [
                target.title,
                spec.phase(line[replay.PHASE]).name,
                bias_words(line[replay.SHIFT] * line[replay.USUAL], target),
                f"{line[replay.SHIFT]:+.2f} ± {line[replay.DEVIATION]:.2f}",
                f"{line[replay.SLOPE]:+.2f}",
                f"{1 - line[replay.UNCHANGED]:.0%}",
                f"x {line[replay.WIDENING]:.2f}",
            ]
        )
    headers = ["target", "phase", "correction", "in SD", "slope", "changed", "interval"]
    title = (
        f"version {version} as of {state.as_of:%Y-%m-%d %H:%M} UTC; x is of 1 + value, SD of the "
        "usual error"
    )
    show_table(title, headers, rows)


def show_backtest(
    rows: pd.DataFrame, model: Served, spec: SoftSensor, delay: timedelta | None
) -> None:
    """Error, bias, coverage and wrong verdicts of the model alone and adapted."""
    if rows.empty:
        show_line(
            f"version {model.version} has predicted no phase that was analysed since: "
            "`impress load --laboratory` brings values"
        )
        return
    found = backtest(rows, model.bundle, spec, delay)
    lines = []
    for line in found.targets.to_dict("records"):
        target = spec.target(line["target"])
        lines.append(
            [
                f"{target.title} [{target.unit}]",
                *(f"{line[f'error_{way}']:.3g}" for way in (ALONE, ADAPTED)),
                *(f"{line[f'bias_{way}']:+.3g}" for way in (ALONE, ADAPTED)),
                *(f"{line[f'coverage_{way}']:.0%}" for way in (ALONE, ADAPTED)),
            ]
        )
    headers = ["target", "error", "adapted", "bias", "adapted", "inside", "adapted"]
    show_table(
        f"{len(rows)} analysed phases as version {model.version} predicts them alone, and adapted "
        "with the values known at the time",
        headers,
        lines,
    )
    for name, way in (("the model alone", ALONE), ("adapted", ADAPTED)):
        wrong_clean, wrong_not_clean = found.wrong[way]
        show_line(
            f"verdicts, {name}: of {found.judged} phases {wrong_clean} wrongly clean, "
            f"{wrong_not_clean} wrongly not clean"
        )
