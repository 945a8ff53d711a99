"""The model: what is in production, how good it is, where not to trust it, and its history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from src.components.page.source import Source
from src.components.predictor.bundle import Bundle
from src.components.registry.production import Change, history
from src.components.trainer.evaluation import ALL_PHASES
from src.components.trainer.model_card import weaknesses
from src.components.trainer.verdict_figures import VerdictFigures, verdict_figures
from src.errors import ImpressError
from src.soft_sensor import Target

CHANGES = 20


@dataclass(frozen=True)
class ErrorLine:
    """How wrong the model is about a target in a phase, on experiments that it had not seen.

    Attributes:
        error, guess: mean absolute error, and that of always guessing the median, in the unit.
        coverage: share of the laboratory values inside their intervals.
    """

    target: Target
    phase: str
    count: int
    error: float
    guess: float
    coverage: float


@dataclass(frozen=True)
class Model:
    """What the page of the model shows.

    Attributes:
        figures: how the training phases would be judged; None where no phase is judged.
        changes: what became Production when, newest first; None when the registry does not say.
    """

    version: str
    cached: bool
    bundle: Bundle
    errors: tuple[ErrorLine, ...]
    figures: VerdictFigures | None
    weaknesses: tuple[str, ...]
    changes: tuple[Change, ...] | None


def read_model(source: Source) -> Model | None:
    """What the registry and the bundle say; None without a model that can be used."""
    served, spec = source.model, source.spec
    if served is None:
        return None
    bundle = served.bundle
    metrics = pd.DataFrame(bundle.origin.metrics)
    lines: list[dict[Any, Any]] = metrics.to_dict("records")
    shown = {phase.name: phase.shown for phase in spec.phases}
    return Model(
        version=served.version,
        cached=served.cached,
        bundle=bundle,
        errors=tuple(_error_line(line, shown, source) for line in lines if _counts(line, source)),
        figures=verdict_figures(bundle, spec),
        weaknesses=tuple(weaknesses(bundle, metrics, spec)) if len(metrics) else (),
        changes=_changes(source),
    )


def _counts(line: dict[Any, Any], source: Source) -> bool:
    """Whether a line of the metrics is about one phase, or about the only one."""
    return line["phase"] != ALL_PHASES or len(source.spec.phases) == 1


def _error_line(line: dict[Any, Any], shown: dict[str, str], source: Source) -> ErrorLine:
    return ErrorLine(
        target=source.spec.target(line["target"]),
        phase=shown.get(line["phase"], line["phase"]),
        count=int(line["n"]),
        error=float(line["mae"]),
        guess=float(line["median_mae"]),
        coverage=float(line["coverage"]),
    )


def _changes(source: Source) -> tuple[Change, ...] | None:
    try:
        return tuple(reversed(history(source.registry)[-CHANGES:]))
    except ImpressError:
        return None
