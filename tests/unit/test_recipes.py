"""What the recipes of Documentation/contributing.md promise: one more of a kind is one entry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from email.message import EmailMessage

import duckdb
import numpy as np
import pandas as pd
import pytest

from src.components.database.tables import tables
from src.components.drift_reporter import checks, findings, indicators
from src.components.drift_reporter.checks import Check, Result
from src.components.drift_reporter.drift_tests import drift
from src.components.drift_reporter.evidence import (
    Earlier,
    Evidence,
    LaboratoryEvidence,
    Past,
    Period,
)
from src.components.drift_reporter.findings import ENTRIES
from src.components.drift_reporter.indicators import SENSOR_INDICATORS, Baseline, Indicator
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.verdict import Verdict
from src.components.emailer import outbox
from src.components.emailer.letter import Letter, compose
from src.components.emailer.transport import Receipt
from src.components.predictor import flags
from src.components.transformation.features import features_query, model_inputs
from src.errors import DeliveryError
from src.settings import Settings
from src.soft_sensor import Sensor, SoftSensor, Target
from tests.builders.months import of_the_ledger, phases
from tests.builders.training import made_from, phase_table

REDOX = Sensor(name="redox", title="redox potential", unit="mV", low=-1000, high=1000)
HARDNESS = Target(name="hardness", title="hardness", unit="mmol/L", low=0, high=10)


@pytest.fixture(name="plain", scope="module")
def fixture_plain(spec: SoftSensor) -> SoftSensor:
    """The soft sensor of the repository, fitted in a moment."""
    return spec.model_copy(update={"training": spec.training.model_copy(update={"folds": 2})})


@pytest.fixture(name="more_sensors", scope="module")
def fixture_more_sensors(plain: SoftSensor) -> SoftSensor:
    """The same with one more sensor."""
    columns = plain.columns.model_copy(update={"online": (*plain.columns.online, "redox")})
    return plain.model_copy(update={"sensors": (*plain.sensors, REDOX), "columns": columns})


def _computed(spec: SoftSensor) -> pd.DataFrame:
    """Features of one phase of two rows, whose sensors all read 5."""
    rows = pd.DataFrame(5.0, index=range(2), columns=list(spec.columns.online))
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        features: pd.DataFrame = connection.sql(features_query(spec, "rows")).df()
    return features


def _ledger(spec: SoftSensor) -> set[str]:
    return {column.name for column in tables(spec).archived.columns}


def test_one_more_sensor_has_its_columns_everywhere(
    spec: SoftSensor, more_sensors: SoftSensor
) -> None:
    names = {REDOX.feature(statistic) for statistic in spec.statistics}
    features = _computed(more_sensors)
    assert set(features) - set(_computed(spec)) == names | {"redox_out_of_bounds"}
    assert _ledger(more_sensors) - _ledger(spec) == names
    for table in (tables(more_sensors).online, tables(more_sensors).rejected):
        assert "redox" in table.columns
    of_all = model_inputs(features, more_sensors).shape[1]
    assert of_all == model_inputs(_computed(spec), spec).shape[1] + len(names) + 1  # its skewness


def test_one_more_sensor_is_trained_on_and_flagged(more_sensors: SoftSensor) -> None:
    table = phase_table(15, more_sensors)
    bundle = made_from(table, more_sensors)
    predicted = bundle.predict(table.head(1).assign(redox_median=np.nan), more_sensors)
    assert "redox_missing" in predicted["flags"].iloc[0].split(",")


def test_one_more_target_has_its_columns_everywhere(plain: SoftSensor) -> None:
    more = plain.model_copy(update={"targets": (*plain.targets, HARDNESS)})
    suffixes = ("", "_lower", "_upper", "_alone", "_adapted", "_bias", "_widening")
    assert _ledger(more) - _ledger(plain) == {f"hardness{suffix}" for suffix in suffixes}
    assert "hardness" in tables(more).laboratory.columns
    table = phase_table(15, more).assign(hardness=np.arange(30) / 30)
    assert made_from(table, more).predict(table, more)["hardness"].notna().all()


def test_one_more_percentile_is_one_more_feature_of_each_sensor(spec: SoftSensor) -> None:
    more = SoftSensor.model_validate(
        {**spec.model_dump(), "statistics": [*spec.statistics, "percentile90"]}
    )
    names = {f"{sensor.name}_percentile90" for sensor in spec.sensors}
    assert set(_computed(more)) - set(_computed(spec)) == names
    assert _ledger(more) - _ledger(spec) == names


def test_the_features_query_needs_one_table_and_nothing_else(spec: SoftSensor) -> None:
    features = _computed(spec)
    assert features["n_samples"].tolist() == [2]
    counts = [sensor.out_of_bounds for sensor in spec.sensors]
    times = ["first_timestamp", "last_timestamp"]
    assert list(features) == [*spec.columns.keys, "n_samples", *times, *counts, *spec.features]


def test_every_flag_that_is_set_is_explained(spec: SoftSensor) -> None:
    features = _computed(spec)
    codes = flags.quality_flags(features, features, spec).columns
    assert all(flags.describe(",".join(codes), spec).values())
    of_sensors = [code for code in codes if code.startswith("ph_")]
    explained = flags.describe(",".join(of_sensors), spec)
    assert of_sensors and all(meaning.startswith("pH: ") for meaning in explained.values())


# Monitoring


def _verdict(tests: pd.DataFrame) -> Verdict:
    return Verdict(
        status=Status.ALARM,
        faults=[],
        tests=tests,
        onsets={},
        smallest_shift=0.3,
        short={},
        unconfirmed=[],
    )


def _evidence(month: pd.DataFrame, reference: pd.DataFrame) -> Evidence:
    """A month and its reference, and nothing else."""
    return Evidence(
        period=Period(None, pd.Timestamp("2026-01-01", tz="UTC")),
        version="1",
        month=month,
        reference=reference,
        past=Past(),
        laboratory=LaboratoryEvidence(recent=pd.DataFrame(), expected=pd.DataFrame()),
        earlier=Earlier(accepted=[], tests=pd.DataFrame()),
    )


def test_one_more_indicator_is_tested_and_worded(
    spec: SoftSensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def width(sensor: Sensor, table: pd.DataFrame, _: Baseline) -> pd.Series:
        return table[sensor.feature("percentile75")] - table[sensor.feature("percentile25")]

    more = Indicator(
        name="width",
        words="quartiles moved apart by {shift:+.1f} SD",
        advice="Compare the sensor with {sensor_check}.",
        values=width,
    )
    monkeypatch.setattr(indicators, "SENSOR_INDICATORS", (*SENSOR_INDICATORS, more))
    monkeypatch.setitem(ENTRIES, "width", more)
    reference = phases(spec, 60, 1)
    month = phases(spec, 60, 2)
    month["ph_percentile75"] += 5
    tests = drift(month, reference, spec)
    assert (tests["indicator"] == "width").sum() == len(spec.sensors)
    (finding,) = findings.findings(
        _verdict(tests.assign(kind="drift")), _evidence(month, reference), spec
    )
    assert finding.what.startswith("pH: quartiles moved apart by +")
    assert finding.advice == f"Compare the sensor with {spec.wording.sensor_check}."


def test_one_more_check_is_run_and_worded(
    spec: SoftSensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(evidence: Evidence, _: SoftSensor) -> list[Result]:
        share = float((evidence.month["n_samples"] < 100).mean())
        return [Result("", len(evidence.reference), len(evidence.month), share, 0.0, 0.0, True)]

    more = Check(
        name="short",
        words="{points:.0f} % of the phases are short",
        advice="Check the timer.",
        results=short,
        status=Status.WATCH,
    )
    monkeypatch.setattr(checks, "CHECKS", (more,))
    monkeypatch.setitem(ENTRIES, "short", more)
    reference = phases(spec, 10, 1)
    month = of_the_ledger(phases(spec, 10, 2)).assign(n_samples=[1000, 50] * 10)
    results = checks.checks(_evidence(month, reference), spec)
    assert results["status"].tolist() == ["watch"]
    (finding,) = findings.findings(
        _verdict(results.assign(kind="check")), _evidence(month, reference), spec
    )
    assert (finding.what, finding.advice) == ("50 % of the phases are short", "Check the timer.")


# Mail


@dataclass(frozen=True)
class Pigeon:
    """Delivers to a list, when there is wind."""

    arrived: list[EmailMessage]
    wind: bool = True
    name = "pigeon"
    delivers = True

    def hand_over(self, message: EmailMessage) -> Receipt:
        """Deliver a message."""
        if not self.wind:
            raise OSError("no wind")
        self.arrived.append(message)
        return Receipt("the roof")

    def is_temporary(self, _: Exception) -> bool:
        """Wind takes longer than a run."""
        return False

    def suspects(self, _: Exception) -> str:
        """What to check."""
        return "the weather"


def test_one_more_transport_delivers_and_what_it_cannot_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings, pigeon = Settings(), Pigeon([])
    first = compose(Letter("first", "alarm", "pH"), settings)
    second = compose(Letter("second", "alarm", "pH"), settings)
    monkeypatch.setattr(outbox, "choose", lambda _: pigeon)
    assert outbox.send(first, settings) == "the roof"
    monkeypatch.setattr(outbox, "choose", lambda _: replace(pigeon, wind=False))
    with pytest.raises(DeliveryError, match="pigeon did not accept .* check the weather"):
        outbox.send(second, settings)
    monkeypatch.setattr(outbox, "choose", lambda _: pigeon)
    assert outbox.deliver_kept(settings) == [second["Message-ID"]]
    assert [message["Message-ID"] for message in pigeon.arrived] == [
        first["Message-ID"],
        second["Message-ID"],
    ]
