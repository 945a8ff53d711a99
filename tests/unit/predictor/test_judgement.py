"""What follows from a prediction and its interval."""

from __future__ import annotations

import pandas as pd

from src.components.predictor.judgement import Judgement, moved_to_bounds, reject_reasons, verdicts
from src.soft_sensor import SoftSensor


def test_a_little_beyond_the_bound_is_the_bound_and_far_beyond_is_refused(
    spec: SoftSensor,
) -> None:
    values = pd.DataFrame({name: [40.0, 40.0, 40.0] for name in spec.target_names})
    tension = spec.targets[0]
    raw = pd.Series([73.5, 75.0, 19.0])
    values[tension.name] = moved_to_bounds(raw, tension)
    assert values[tension.name].tolist() == [72.8, 75.0, 20.0]
    around = {f"{name}_{end}": values[name] for name in values for end in ("lower", "upper")}
    reasons = reject_reasons(values.assign(**around), spec)
    assert reasons.tolist() == ["", "impossible_prediction", ""]


def test_verdicts_need_the_whole_interval(spec: SoftSensor) -> None:
    tension, anionic, nonionic = spec.target_names

    def row(tension_at: float, anionic_at: float, width: float) -> dict[str, float]:
        values = {tension: tension_at, anionic: anionic_at, nonionic: 2.0}
        return {
            f"{name}_{end}": value + sign * width
            for name, value in values.items()
            for end, sign in (("lower", -1), ("upper", 1))
        }

    predicted = pd.DataFrame(
        [row(70, 2, 1), row(70, 9.5, 1), row(70, 30, 1), row(40, 2, 1), row(70, 2, 1)]
    )
    found = verdicts(predicted, pd.Series([0, 0, 0, 0, 1]), spec)
    assert found.tolist() == [
        Judgement.CLEAN,
        Judgement.UNCERTAIN,
        Judgement.NOT_CLEAN,
        Judgement.NOT_CLEAN,
        "",
    ]
