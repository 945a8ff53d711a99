"""A model in words: what it is made of, how good it is, and where not to believe it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from src.components.predictor.bundle import Bundle
from src.components.trainer.evaluation import ALL_PHASES
from src.soft_sensor import Limit, SoftSensor

POOR = 0.3  # share of the median's error that a model must save to be called useful
RARE = 10  # hold-out phases below which a figure is rough


def model_card(
    bundle: Bundle, metrics: pd.DataFrame, importance: pd.DataFrame, spec: SoftSensor
) -> str:
    """Markdown for the registry.

    Args:
        metrics: what `evaluation.metrics` says of the hold-out.
        importance: what `explanation.importance` says.
    """
    made = bundle.origin
    return "\n\n".join(
        [
            f"# {spec.name}",
            _purpose(spec),
            "## Errors on the hold-out",
            _table(_error_rows(metrics, spec)),
            f"Intervals are made for a coverage of {spec.training.coverage:.0%}. `median` is the "
            "error of always guessing the training median.",
            "## Limits of a verdict",
            _table(_limit_rows(spec)),
            "## Known weaknesses",
            "\n".join(f"- {weakness}" for weakness in weaknesses(bundle, metrics, spec)),
            "## Importance of the sensors",
            "Increase of the error, in units of the phase median's error, when a sensor says what "
            "it said in other phases (mean over the targets, ± standard deviation of the repeats).",
            _table(_importance_rows(importance, spec)),
            "## Origin",
            _table(_origin_rows(bundle)),
            "Hyperparameters: "
            + "; ".join(
                f"{member} ({', '.join(f'{k} {_number(v)}' for k, v in params.items())})"
                for member, params in made.params.items()
            ),
            "Weights:",
            _table(_weight_rows(bundle)),
            "Features: " + ", ".join(f"`{name}`" for name in bundle.features),
            "Trained experiments: " + ", ".join(map(str, made.experiments)),
        ]
    )


def _purpose(spec: SoftSensor) -> str:
    targets = ", ".join(f"{target.title} [{target.unit}]" for target in spec.targets)
    sensors = ", ".join(f"{sensor.title} [{sensor.unit}]" for sensor in spec.sensors)
    phases = ", ".join(phase.name for phase in spec.phases)
    return (
        f"Predicts {targets} at the end of a phase ({phases}) from the series of {sensors}. "
        "It is no substitute for the laboratory where the verdict is `uncertain` or a flag is set."
    )


def weaknesses(bundle: Bundle, metrics: pd.DataFrame, spec: SoftSensor) -> list[str]:
    """What the figures say against the model, in words."""
    found = []
    titles = {target.name: target.title for target in spec.targets}
    for line in metrics[metrics["phase"] != ALL_PHASES].to_dict("records"):
        where = f"{titles[line['target']]} while {line['phase']}"
        own = _phase_median_error(bundle, line, spec)
        if own and line["mae"] > (1 - POOR) * own:
            found.append(
                f"{where}: the error ({line['mae']:.3g}) is hardly smaller than that of always "
                f"guessing the phase's median ({own:.3g})"
            )
        missed = spec.training.coverage - line["coverage"]
        if missed > 2 * (spec.training.coverage * (1 - spec.training.coverage) / line["n"]) ** 0.5:
            found.append(f"{where}: intervals cover {line['coverage']:.0%} only")
    if (least := metrics["n"].min()) < RARE:
        found.append(f"some figures rest on {least} held-out phases only and are rough")
    experiments = len(bundle.origin.experiments)
    found.append(
        f"{experiments} experiments of {bundle.reference['group'].nunique()} groups were trained "
        "on: recipes, water and textiles beyond them are extrapolation (flag `_outside_training`)"
    )
    found.append("no model sees what its sensors do not: a new detergent with the same readings")
    return found


def _phase_median_error(bundle: Bundle, line: dict[Any, Any], spec: SoftSensor) -> float | None:
    value = next(phase.value for phase in spec.phases if phase.name == line["phase"])
    rows = bundle.holdout[bundle.holdout[spec.columns.phase] == value][line["target"]]
    known = bundle.reference[bundle.reference[spec.columns.phase] == value]
    error = (rows - known[f"{line['target']}_measured"].median()).abs().mean()
    return float(error) if pd.notna(error) else None


def _error_rows(metrics: pd.DataFrame, spec: SoftSensor) -> list[list[str]]:
    units = {target.name: f"{target.title} [{target.unit}]" for target in spec.targets}
    header = ["target", "phase", "n", "mean absolute", "median", "bias", "coverage", "width"]
    numbers = ["mae", "median_mae", "bias"]
    return [header] + [
        [
            units[line["target"]],
            line["phase"],
            str(line["n"]),
            *(_number(line[name]) for name in numbers),
            f"{line['coverage']:.0%}",
            _number(line["width"]),
        ]
        for line in metrics.to_dict("records")
    ]


def _limit_rows(spec: SoftSensor) -> list[list[str]]:
    return [["target", "clean", "possible"]] + [
        [
            f"{target.title} [{target.unit}]",
            _limit(target.limit),
            f"{target.low:g} to {target.high:g}",
        ]
        for target in spec.targets
    ]


def _limit(limit: Limit | None) -> str:
    if limit is None:
        return "no limit"
    return f"at most {limit.max:g}" if limit.max is not None else f"at least {limit.min:g}"


def _importance_rows(importance: pd.DataFrame, spec: SoftSensor) -> list[list[str]]:
    titles = {sensor.name: sensor.title for sensor in spec.sensors}
    means = importance.groupby(["sensor", "repeat"])["increase"].mean().groupby("sensor")
    found = pd.DataFrame({"mean": means.mean(), "spread": means.std()}).reset_index()
    return [["sensor", "increase"]] + [
        [titles[line["sensor"]], f"{line['mean']:.2f} ± {line['spread']:.2f}"]
        for line in found.sort_values("mean", ascending=False).to_dict("records")
    ]


def _origin_rows(bundle: Bundle) -> list[list[str]]:
    made = bundle.origin
    libraries = ", ".join(f"{name} {version}" for name, version in made.libraries.items())
    rows = {
        "trained": made.trained_at,
        "data": made.data_version,
        "code": made.code_version,
        "features": bundle.definition,
        "libraries": libraries,
    }
    return [["", ""]] + [[name, value] for name, value in rows.items()]


def _weight_rows(bundle: Bundle) -> list[list[str]]:
    rows = bundle.weights.iterrows()
    return [["member", *bundle.targets]] + [[str(n), *(f"{v:g}" for v in w)] for n, w in rows]


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _table(rows: list[list[str]]) -> str:
    header, *body = rows
    lines = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
