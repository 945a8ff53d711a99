"""One phase: its verdict and why, its values, what the sensors read, and what it was made from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

import pandas as pd
from markupsafe import Markup
from sqlalchemy import select

from src.components.database.tables import names_phase, newest_values, read_rows, tables
from src.components.page.history import time_labels
from src.components.page.marks import Picture, plot
from src.components.page.results import Result, as_results, moment, page_name
from src.components.page.source import Source
from src.components.page.trace import (
    TIME,
    Prediction,
    beyond_training,
    read_predictions,
    series,
    trained_range,
)
from src.components.predictor.bundle import Bundle
from src.components.predictor.flags import describe
from src.components.trainer.explanation import shapley_values
from src.components.trainer.verdict_reasons import VerdictReasons
from src.errors import DataError
from src.soft_sensor import Phase, Sensor

POINTS = 600  # of a sensor, at most
ALL_POINTS = 4000  # of all sensors together, so that the page stays small
LINES = 13  # of the table behind the pictures


@dataclass(frozen=True)
class Curve:
    """What a sensor read during the phase; `values` are those of some moments, in its unit."""

    sensor: Sensor
    picture: Markup
    values: tuple[float, ...]


@dataclass(frozen=True)
class Features:
    """The features of one sensor: values, and the range of the training for each."""

    sensor: Sensor
    values: tuple[float, ...]
    ranges: tuple[tuple[float, float], ...]
    beyond: tuple[bool, ...]


@dataclass(frozen=True)
class Detail:  # pylint: disable=too-many-instance-attributes  # all that its page shows
    """What the page of a phase shows.

    Attributes:
        reasons: why it has its verdict, in sentences.
        flags: codes to their meanings.
        votes: members to their predictions, in the order of the targets; empty without the model.
        weights: members to their weights, likewise.
        moved: how far each sensor moves the prediction of each target; None when it is not known.
        features: of each sensor.
        curves: of each sensor; empty when the raw rows are gone.
        moments: those of the curves' values.
        bundle: the model that predicted; None when it cannot be used.
    """

    result: Result
    prediction: Prediction
    reasons: tuple[str, ...]
    flags: dict[str, str]
    votes: dict[str, tuple[float, ...]]
    weights: dict[str, tuple[float, ...]]
    moved: pd.DataFrame | None
    features: tuple[Features, ...]
    curves: tuple[Curve, ...]
    moments: tuple[datetime | None, ...]
    bundle: Bundle | None


@dataclass(frozen=True)
class _Answers:
    """What one model says of some phases.

    Attributes:
        keys: of the phases, in the order of the rows of `votes` and `estimated`.
    """

    keys: pd.MultiIndex
    votes: dict[str, pd.DataFrame]
    estimated: pd.DataFrame
    reasons: VerdictReasons

    def _place(self, prediction: Prediction) -> int:
        keys = self.reasons.spec.columns.keys
        return self.keys.tolist().index(tuple(prediction.values[key] for key in keys))

    def why(self, prediction: Prediction) -> tuple[str, ...]:
        """Why a phase has its verdict."""
        place = self._place(prediction)
        own = self.estimated.iloc[[place]].set_axis(prediction.row.index)
        return tuple(self.reasons.explained(prediction.row, own))

    def votes_on(self, prediction: Prediction) -> dict[str, tuple[float, ...]]:
        """Members to their predictions of a phase, in the order of the targets."""
        place = self._place(prediction)
        names = self.reasons.spec.target_names
        return {
            member: tuple(float(own[name].iloc[place]) for name in names)
            for member, own in self.votes.items()
        }


def _by_version(predictions: Sequence[Prediction]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rows of the ledger by the version of the model that made them."""
    rows = pd.concat([prediction.row for prediction in predictions], ignore_index=True)
    for version, own in rows.groupby(rows["model_version"].astype(str)):
        yield str(version), own.reset_index(drop=True)


@dataclass(frozen=True)
class Reader:
    """Reads phases one after the other, and each model once.

    Attributes:
        explain: whether to compute what each sensor moved, which takes seconds a phase.
    """

    source: Source
    explain: bool = False

    def read(self, wanted: Sequence[tuple[int | str, Phase]]) -> Iterator[Detail]:
        """The phases that were predicted, of those that are wanted by experiment and phase."""
        predictions = []
        for experiment, phase in wanted:
            own = read_predictions(self.source.engine, self.source.spec, experiment)
            predictions += [each for each in own if each.phase == phase]
        if not predictions:
            return
        spec = self.source.spec
        points = max(2, min(POINTS, ALL_POINTS // len(spec.sensors)))
        with self.source.engine.connect() as connection:
            rows = series(connection, predictions, points, spec)
        by_phase = dict(list(rows.groupby(spec.columns.keys)))
        asked = {version: self._ask(version, own) for version, own in _by_version(predictions)}
        for prediction in predictions:
            keys = tuple(prediction.values[key] for key in spec.columns.keys)
            answers = asked[str(prediction.values["model_version"])]
            yield self._detail(prediction, by_phase.get(keys, rows.head(0)), answers)

    def _ask(self, version: str, rows: pd.DataFrame) -> _Answers | None:
        """What a model says of all its phases: asked once, as a call costs more than a row."""
        bundle, spec = self.source.bundle(version), self.source.spec
        if bundle is None:
            return None
        return _Answers(
            keys=pd.MultiIndex.from_frame(rows[spec.columns.keys]),
            votes=bundle.member_votes(rows, spec),
            estimated=bundle.estimate_recorded(rows, spec),
            reasons=VerdictReasons(bundle, spec, self.source.language),
        )

    def _detail(
        self, prediction: Prediction, rows: pd.DataFrame, answers: _Answers | None
    ) -> Detail:
        source, spec = self.source, self.source.spec
        (result,) = as_results(prediction.row, self._measured(prediction), spec)
        bundle = answers.reasons.bundle if answers else None
        moments = [moment(time) for time in rows[TIME]]
        shown = (
            [round(n * (len(rows) - 1) / (LINES - 1)) for n in range(LINES)] if len(rows) else []
        )
        return Detail(
            result=result,
            prediction=prediction,
            reasons=answers.why(prediction) if answers and result.verdict else (),
            flags=describe(",".join(result.flags), spec),
            votes=answers.votes_on(prediction) if answers else {},
            weights=_weights(bundle, source) if bundle else {},
            moved=_moved(bundle, prediction, source) if bundle and self.explain else None,
            features=_features(bundle, prediction, source),
            curves=tuple(_curves(rows, shown, source)),
            moments=tuple(moments[n] for n in shown),
            bundle=bundle,
        )

    def _measured(self, prediction: Prediction) -> pd.DataFrame:
        spec = self.source.spec
        values = newest_values(tables(spec).laboratory, spec).subquery()
        own = [values.c[key] == _plain(prediction.values[key]) for key in spec.columns.keys]
        with self.source.engine.connect() as connection:
            return read_rows(connection, select(values).where(*own))


def _plain(value: object) -> object:
    """A number of numpy as one that a driver knows."""
    return value.item() if hasattr(value, "item") else value


def _weights(bundle: Bundle, source: Source) -> dict[str, tuple[float, ...]]:
    names = source.spec.target_names
    return {
        str(member): tuple(float(bundle.weights[name][member]) for name in names)
        for member in bundle.weights.index
    }


def _moved(bundle: Bundle, prediction: Prediction, source: Source) -> pd.DataFrame | None:
    """SHAP values; None for a phase that was not trained on, and where shap is not installed."""
    trained = bundle.reference[source.spec.columns.phase] == prediction.phase.value
    if not trained.any():
        return None
    try:
        return shapley_values(bundle, prediction.row, source.spec)
    except ModuleNotFoundError:
        return None


def _features(
    bundle: Bundle | None, prediction: Prediction, source: Source
) -> tuple[Features, ...]:
    spec, values = source.spec, prediction.values
    unknown = pd.DataFrame(math.nan, index=spec.features, columns=["min", "max"])
    trained = trained_range(bundle, prediction.phase, spec) if bundle else unknown
    beyond = beyond_training(prediction, trained, spec)
    rows = []
    for sensor in spec.sensors:
        names = spec.features_of(sensor)
        rows.append(
            Features(
                sensor=sensor,
                values=tuple(float(values[name]) for name in names),
                ranges=tuple((trained["min"][name], trained["max"][name]) for name in names),
                beyond=tuple(name in beyond for name in names),
            )
        )
    return tuple(rows)


def _curves(rows: pd.DataFrame, shown: Sequence[int], source: Source) -> Iterator[Curve]:
    """One picture of each sensor, unless the rows are gone."""
    if rows.empty:
        return
    times = rows[TIME].tolist()
    labels = time_labels(times[0], times[-1], source.language)
    for sensor in source.spec.sensors:
        values = rows[sensor.name].astype(float).tolist()
        picture = Picture(
            title=source.language.say("{sensor} during the phase", sensor=sensor.title),
            lines=(("p", list(zip(times, values))),),
            places=labels,
        )
        picture_of = plot(picture, source.language)
        yield Curve(sensor, picture_of, tuple(values[n] for n in shown))


def keys_of(name: str, source: Source) -> tuple[int | str, Phase] | None:
    """Experiment and phase of the page with this name; None when nothing of them was predicted."""
    parts = name.removeprefix("phase-").removesuffix(".html").split("-")
    candidates: list[tuple[int | str, str]] = []
    if len(parts) == 2:
        try:
            candidates = [(source.spec.experiment_key(unquote(parts[0])), unquote(parts[1]))]
        except DataError:
            return None
    elif len(parts) == 1:  # a digest
        ledger = tables(source.spec).archived
        columns = [ledger.c[key] for key in source.spec.columns.keys]
        query = select(*columns).where(names_phase(ledger, source.spec)).distinct()
        with source.engine.connect() as connection:
            candidates = [(row[0], str(row[1])) for row in connection.execute(query)]
    for experiment, value in candidates:
        for phase in source.spec.phases:
            if str(phase.value) == value and page_name(experiment, phase.value) == name:
                return experiment, phase
    return None
