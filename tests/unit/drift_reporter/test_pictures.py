"""The control chart of adaptation: what the laboratory found, and how the bias followed."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.dates
import numpy as np
import pytest
from matplotlib.figure import Figure

from src.components.adaptation.replay import (
    DATE,
    ERROR,
    PHASE,
    SHIFT,
    TARGET,
    State,
    UsualErrors,
    replay,
    usual_errors,
)
from src.components.drift_reporter.evidence import LaboratoryEvidence
from src.components.drift_reporter.pictures import CONTROL_LIMIT, control_chart, draw
from src.components.drift_reporter.verdict import judge
from src.soft_sensor import SoftSensor
from tests.builders.laboratory import known_errors, moment
from tests.builders.months import YEAR, compared, of_the_ledger, phases
from tests.builders.training import made_from, phase_table


@pytest.fixture(name="usual", scope="module")
def fixture_usual(spec: SoftSensor) -> UsualErrors:
    """The errors of a bundle of 60 experiments."""
    return usual_errors(made_from(phase_table(60, spec, noise=0.1), spec), spec)


@pytest.fixture(name="state", scope="module")
def fixture_state(usual: UsualErrors, spec: SoftSensor) -> State:
    """A change by 4 SD that the laboratory has seen on 20 days, and one value that is far off."""
    known = known_errors(20, usual, spec, shift=4.0)
    known.loc[0, spec.target_names[0]] = 1e6
    return replay(known, usual, spec, moment(20))


def _panels(figure: Figure, spec: SoftSensor) -> dict[tuple[str, int | str], Any]:
    places = product(spec.targets, spec.phases)
    return {(target.name, phase.value): axis for (target, phase), axis in zip(places, figure.axes)}


def test_each_target_and_phase_has_its_errors_and_its_bias(state: State, spec: SoftSensor) -> None:
    panels = _panels(control_chart(state, spec), spec)
    assert len(panels) == len(spec.targets) * len(spec.phases)
    for (target, phase), axis in panels.items():
        steps = state.steps[(state.steps[TARGET] == target) & (state.steps[PHASE] == phase)]
        points, bias, *limits = axis.lines
        assert points.get_ydata().tolist() == steps[ERROR].clip(-8, 8).tolist()
        assert bias.get_ydata().tolist() == steps[SHIFT].tolist()
        days = matplotlib.dates.date2num(steps[DATE])
        assert np.array_equal(matplotlib.dates.date2num(points.get_xdata()), days)
        heights = [limit.get_ydata()[0] for limit in limits]
        assert heights == [-CONTROL_LIMIT, 0, CONTROL_LIMIT]


def test_the_bias_leaves_its_limits_after_a_change(state: State, spec: SoftSensor) -> None:
    for axis in _panels(control_chart(state, spec), spec).values():
        assert axis.lines[1].get_ydata()[-1] > CONTROL_LIMIT


def test_an_error_that_is_far_off_does_not_flatten_the_chart(
    state: State, spec: SoftSensor
) -> None:
    for axis in _panels(control_chart(state, spec), spec).values():
        assert axis.get_ylim()[1] < 10


def test_a_report_has_the_chart_once_there_are_values(
    state: State, usual: UsualErrors, spec: SoftSensor, tmp_path: Path
) -> None:
    evidence = compared(of_the_ledger(phases(spec, 20, 2, start=YEAR)), phases(spec, 100, 1), spec)
    nothing = replay(known_errors(1, usual, spec).head(0), usual, spec, moment(0))
    drawn = {}
    for name, adaptation in (("with", state), ("without", nothing), ("off", None)):
        laboratory = LaboratoryEvidence(
            evidence.laboratory.recent, evidence.laboratory.expected, adaptation=adaptation
        )
        month = replace(evidence, laboratory=laboratory)
        folder = tmp_path / name
        drawn[name] = [file.name for file in draw(judge(month, spec), month, spec, folder)]
    assert "adaptation.png" in drawn["with"]
    assert (tmp_path / "with" / "adaptation.png").read_bytes().startswith(b"\x89PNG")
    assert "adaptation.png" not in drawn["without"] + drawn["off"]
