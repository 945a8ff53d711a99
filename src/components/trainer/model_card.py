"""A model in words: what it is made of, how good it is, and where not to trust it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from src.components.predictor.bundle import Bundle
from src.components.trainer.evaluation import ALL_PHASES
from src.components.transformation import censoring
from src.components.transformation.training_table import GROUP
from src.safe_text import safe
from src.soft_sensor import Limit, Phase, Quantity, SoftSensor, Target

POOR = 0.3  # share of the median's error that a useful model saves at least
CLEAR = 2  # standard errors, from which on a bias is hardly chance
RARE = 10  # phases below which a figure is rough

Rows = list[list[str]]  # of a table; the first is its header


def model_card(
    bundle: Bundle, metrics: pd.DataFrame, importance: pd.DataFrame, spec: SoftSensor
) -> str:
    """The card as Markdown, for the registry.

    Args:
        metrics: what `evaluation.metrics` gives out of fold.
        importance: what `explanation.importance` gives.
    """
    hyperparameters = "; ".join(
        _hyperparameters(member, params) for member, params in bundle.origin.params.items()
    )
    paragraphs = [
        f"# {spec.name}",
        _purpose(spec),
        "## Errors",
        _table(_error_rows(metrics, spec)),
        "Each phase was predicted by models that had not seen its group. `median` is the error of "
        "always guessing the median of the phase. Intervals are made for a coverage of "
        f"{spec.training.coverage:.0%}.",
        "## Limits of a verdict",
        _table(_limit_rows(spec)),
        "## Known weaknesses",
        "\n".join(f"- {weakness}" for weakness in weaknesses(bundle, metrics, spec)),
        "## Importance of the sensors",
        "Increase of the error, in units of the error of guessing the phase's median, when the "
        "readings of a sensor are shuffled between phases (mean over the targets, ± standard "
        "deviation of the repeats).",
        _table(_importance_rows(importance, spec)),
        "## Origin",
        _table(_origin_rows(bundle)),
        f"Hyperparameters: {hyperparameters}",
        "Weights:",
        _table(_weight_rows(bundle)),
        "Features: " + ", ".join(f"`{name}`" for name in bundle.spec.features),
        "Training experiments: " + ", ".join(safe(str(e)) for e in bundle.origin.experiments),
    ]
    return "\n\n".join(paragraphs)


def _purpose(spec: SoftSensor) -> str:
    targets = ", ".join(_with_unit(target) for target in spec.targets)
    sensors = ", ".join(_with_unit(sensor) for sensor in spec.sensors)
    phases = ", ".join(phase.name for phase in spec.phases)
    return (
        f"Predicts {targets} at the end of a phase ({phases}) from the series of {sensors}. "
        "It does not replace the laboratory where the verdict is `uncertain` or a flag is set."
    )


def weaknesses(bundle: Bundle, metrics: pd.DataFrame, spec: SoftSensor) -> list[str]:
    """What the figures say against the model, one sentence each."""
    weak = []
    coverage = spec.training.coverage
    phases = {phase.name: phase for phase in spec.phases}
    for line in metrics[metrics["phase"] != ALL_PHASES].to_dict("records"):
        target, phase = spec.target(line["target"]), phases[line["phase"]]
        label = f"{target.title}, {phase.name}"
        if line["mae"] > (1 - POOR) * line["median_mae"] > 0:
            weak.append(
                f"{label}: the error ({line['mae']:.3g}) is hardly smaller than that of always "
                f"guessing the phase's median ({line['median_mae']:.3g})"
            )
        if biased := bias(line, target, phase):
            weak.append(biased)
        standard_error = (coverage * (1 - coverage) / line["n"]) ** 0.5
        if coverage - line["coverage"] > 2 * standard_error:
            weak.append(f"{label}: intervals cover only {line['coverage']:.0%}")
    for count, values in censoring.counted(bundle.labels(spec), spec):
        weak.append(f"{count} {values}")
    fewest = metrics["n"].min()
    if fewest < RARE:
        counted = "phase" if fewest == 1 else "phases"
        weak.append(f"some figures come from only {fewest} {counted} and are rough")
    experiments = len(bundle.origin.experiments)
    groups = bundle.reference[GROUP].nunique()
    weak.append(
        f"it extrapolates where {spec.wording.influences} differ from those of its {experiments} "
        f"training experiments ({groups} groups), see the flag `<sensor>_outside_training`"
    )
    weak.append(
        f"it cannot see what its sensors do not show: {spec.wording.unseen_change} that leaves the "
        "readings as they are"
    )
    return weak


def bias(line: Mapping[Hashable, Any], target: Target, phase: Phase) -> str:
    """In words, whether predictions are too low or too high on average; empty if it may be chance.

    On the log scale a prediction is a median, which lies below the mean of skewed values.

    Args:
        line: a row of `evaluation.metrics`.
    """
    spread = max(line["rmse"] ** 2 - line["bias"] ** 2, 0) ** 0.5
    if abs(line["bias"]) <= CLEAR * spread / line["n"] ** 0.5:
        return ""
    side = "low" if line["bias"] < 0 else "high"
    sentence = (
        f"{target.title}, {phase.name}: predictions are {abs(line['bias']):.3g} {target.unit} too "
        f"{side} on average"
    )
    if target.scale == "log" and line["bias"] < 0:
        sentence += ", as a prediction is a median and large values are far above theirs"
    return sentence


def _error_rows(metrics: pd.DataFrame, spec: SoftSensor) -> Rows:
    rows = [["target", "phase", "n", "mean absolute", "median", "bias", "coverage", "width"]]
    for line in metrics.to_dict("records"):
        rows.append(
            [
                _with_unit(spec.target(line["target"])),
                line["phase"],
                str(line["n"]),
                _number(line["mae"]),
                _number(line["median_mae"]),
                _number(line["bias"]),
                f"{line['coverage']:.0%}",
                _number(line["width"]),
            ]
        )
    return rows


def _limit_rows(spec: SoftSensor) -> Rows:
    rows = [["target", "clean", "possible"]]
    for target in spec.targets:
        possible = f"{target.low:g} to {target.high:g}"
        rows.append([_with_unit(target), _limit(target.limit), possible])
    return rows


def _limit(limit: Limit | None) -> str:
    if limit is None:
        return "no limit"
    return f"at most {limit.max:g}" if limit.max is not None else f"at least {limit.min:g}"


def _importance_rows(importance: pd.DataFrame, spec: SoftSensor) -> Rows:
    """Sensors, the most important first."""
    over_targets = importance.groupby(["sensor", "repeat"])["increase"].mean()
    by_sensor = over_targets.groupby("sensor")
    statistics = pd.DataFrame({"mean": by_sensor.mean(), "std": by_sensor.std()}).reset_index()
    rows = [["sensor", "increase"]]
    for line in statistics.sort_values("mean", ascending=False).to_dict("records"):
        title = spec.sensor(line["sensor"]).title
        rows.append([title, f"{line['mean']:.2f} ± {line['std']:.2f}"])
    return rows


def _origin_rows(bundle: Bundle) -> Rows:
    origin = bundle.origin
    libraries = ", ".join(f"{name} {version}" for name, version in origin.libraries.items())
    return [
        ["", ""],
        ["trained", origin.trained_at],
        ["data", origin.data_version],
        ["code", origin.code_version],
        ["features", bundle.definition],
        ["libraries", libraries],
    ]


def _weight_rows(bundle: Bundle) -> Rows:
    rows = [["member", *bundle.spec.target_names]]
    for member, weights in bundle.weights.iterrows():
        rows.append([str(member), *(f"{weight:g}" for weight in weights)])
    return rows


def _hyperparameters(member: str, params: dict[str, Any]) -> str:
    values = ", ".join(f"{name} {_number(value)}" for name, value in params.items())
    return f"{member} ({values})"


def _with_unit(quantity: Quantity) -> str:
    return f"{quantity.title} [{quantity.unit}]"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _table(rows: Rows) -> str:
    header, *body = rows
    lines = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
