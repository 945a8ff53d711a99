"""Whatever another writer leaves in the inbox, one phase never keeps the others from a score."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, text

from src.components.inbox.hold import hold
from src.components.inbox.rejected import replay, summary
from src.components.inbox.states import Inbox
from src.components.predictor.flags import number_reused
from src.soft_sensor import SoftSensor, usable_key
from tests.integration.workbench import Workbench

HOUR, DAY = 3600, 86400
KEYS = [0, -1, 2**53 + 1, 2**63 - 2, 2**63 - 1, -(2**63)]
DIGITS = "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(94))  # does not compress
USABLE = ["x" * 200, "ä" * 100, " blanks ", "😀", "\u202eright to left", "a/b", "..", "c2808f"]
UNUSABLE = [
    DIGITS[:6000],
    "ä" * 3000,
    "x" * 201,
    "ä" * 101,
    "two\nlines",
    "\x01",
    "\x1b[31m",
    "a\x7f",
    "\x80",
    "ab\x9f",
]
WITHOUT_NAME = ["", " ", "\t", " \r\n "]


def _sensors(spec: SoftSensor, value: float) -> dict[str, float]:
    return {sensor.name: value for sensor in spec.sensors}


def test_names_that_cannot_be_kept_are_set_aside(named: Workbench) -> None:
    for name in (*USABLE, *UNUSABLE, *WITHOUT_NAME):
        named.add(name, "spülen", 10)
    outcome = named.score()
    assert outcome.phases == len(USABLE)
    assert set(named.table("archived_data")["experimentnummer"]) == set(USABLE)
    rejected = named.table("rejected_data").groupby("reason")["experimentnummer"].agg(set)
    assert rejected.to_dict() == {
        "unusable_name": set(UNUSABLE),
        "no_experiment": set(WITHOUT_NAME),
    }
    assert named.score().rejected == 0


def test_sql_and_python_have_one_rule_for_names(named: Workbench) -> None:
    names = [f"a{chr(code)}" for code in (*range(1, 0x180), 0x2028, 0xFEFF, 0xFFFD, 0x1F600)]
    for name in names:
        named.add(name, "spülen", 1)
    named.score()
    scored = set(named.table("archived_data")["experimentnummer"])
    assert scored == {name for name in names if usable_key(name)}


@pytest.mark.parametrize("name", ["ä" * 100, "/" * 200, "😀" * 50, "." * 200])
def test_the_raw_archive_keeps_phases_with_long_names(
    named: Workbench, tmp_path: Path, name: str
) -> None:
    named.raw_archive = str(tmp_path / "raw")
    named.add(name, "spülen", 10)
    named.add(name + "!" if len(name.encode()) < 200 else name[:-1], "spülen", 10)
    assert named.score().scored == 20
    assert named.table("online_data").empty
    files = list((tmp_path / "raw").iterdir())
    assert len(files) == 2
    rows = pd.concat([pd.read_parquet(file) for file in files])
    assert name in set(rows["experimentnummer"])


def test_whole_numbers_are_never_rounded(bench: Workbench, tmp_path: Path) -> None:
    bench.raw_archive = str(tmp_path / "raw")
    bench.set(retention_days=0)
    for place, key in enumerate(KEYS):
        bench.add(key, 1, 10 + place)
        bench.add(key, 7, 1)
    bench.add(None, 1, 1)
    assert bench.score().phases == len(KEYS)
    ledger = bench.table("archived_data")
    counts = {key: 10 + place for place, key in enumerate(KEYS)}
    assert dict(zip(ledger["experimentnummer"], ledger["n_samples"])) == counts
    files = {file.name[: file.name.rindex("-")] for file in (tmp_path / "raw").iterdir()}
    assert files == {f"{key}-1" for key in KEYS}
    raw = pd.concat([pd.read_parquet(file) for file in (tmp_path / "raw").iterdir()])
    assert raw["experimentnummer"].value_counts().to_dict() == counts
    with bench.engine.connect() as connection:
        rejected = summary(Inbox(connection, bench.spec))
    assert {row["experimentnummer"] for row in rejected} == {*KEYS, None}


EXTREMES = [math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, -5e-324, -0.0]


def test_extreme_readings_are_missing_or_finite(bench: Workbench) -> None:
    for place, value in enumerate(EXTREMES):
        bench.add(place, 1, 5, **_sensors(bench.spec, value))
        bench.add(place, 1, 5)
    bench.add(99, 1, 5, **_sensors(bench.spec, math.nan))
    outcome = bench.score()
    assert (outcome.phases, outcome.rejected) == (len(EXTREMES), 5)
    ledger = bench.table("archived_data")
    assert (ledger[bench.spec.features].abs() < math.inf).all(axis=None)
    assert set(bench.table("rejected_data")["reason"]) == {"no_sensor_values"}


@pytest.mark.parametrize("reading", [1e308, -1e308, 1e160])
def test_readings_too_large_to_compute_with_are_set_aside(bench: Workbench, reading: float) -> None:
    """As a range that is a mistake lets them pass."""
    wide = tuple(
        s.model_copy(update={"low": -1.7e308, "high": 1.7e308}) for s in bench.spec.sensors
    )
    bench.spec = bench.spec.model_copy(update={"sensors": wide})
    bench.add(1, 1, 10)
    bench.add(2, 1, 10, ph=reading)
    bench.add(2, 1, 10, ph=1.0)
    outcome = bench.score()
    assert (outcome.scored, outcome.rejected) == (10, 20)
    assert set(bench.table("rejected_data")["reason"]) == {"infinite_features"}


def test_a_phase_of_one_row_and_one_of_equal_rows_are_scored(bench: Workbench) -> None:
    bench.add(1, 1, 1)
    bench.add(2, 1, 30)
    bench.execute("INSERT INTO online_data SELECT * FROM online_data WHERE experimentnummer = 2")
    assert bench.score().scored == 61


@pytest.mark.parametrize(("experiment", "phase"), [("NULL", "n"), ("n", "NULL"), ("NULL", "NULL")])
def test_very_many_phases_without_a_key_are_set_aside_in_time(
    bench: Workbench, experiment: str, phase: str
) -> None:
    """Each row was once compared with each phase: 10^10 comparisons, hours."""
    bench.execute(
        "INSERT INTO online_data (experimentnummer, waschen, timestamp) "
        f"SELECT {experiment}, {phase}, extract(epoch FROM now()) - 7200 "
        "FROM generate_series(1, 100000) n"
    )
    bench.add(1, 1, 10)
    outcome = bench.score()
    assert (outcome.scored, outcome.rejected) == (10, 100_000)
    assert len(bench.table("rejected_data")) == 100_000


def test_a_number_that_is_used_again_is_set_aside_and_can_be_told_apart(bench: Workbench) -> None:
    bench.set(reused_after_hours=24)
    bench.add(51, 1, 100, age=3 * DAY)
    assert bench.score().scored == 100
    bench.add(51, 1, 40)
    bench.add(52, 1, 30)
    outcome = bench.score()
    assert (outcome.scored, outcome.rejected) == (30, 140)
    assert set(bench.table("rejected_data")["reason"]) == {"number_reused"}
    # As Documentation/database.md says.
    bench.execute("""
        UPDATE rejected_data SET experimentnummer = 1051
        WHERE reason = 'number_reused' AND experimentnummer = 51
          AND timestamp > extract(epoch FROM now() - interval '1 day')""")
    with hold(bench.engine) as connection:
        assert connection is not None
        assert replay(Inbox(connection, bench.spec)) == 140
    outcome = bench.score()
    assert (outcome.scored, outcome.kept, outcome.rejected) == (40, 130, 0)


def test_a_number_that_is_used_again_is_only_flagged_without_the_setting(
    bench: Workbench, spec: SoftSensor
) -> None:
    bench.set(reused_after_hours=None)
    bench.add(51, 1, 100, age=3 * DAY)
    bench.add(51, 1, 40)
    assert bench.score().scored == 140
    frame = pd.DataFrame({"first_timestamp": [0.0, 0.0], "last_timestamp": [DAY, DAY + 1.0]})
    assert number_reused(frame, bench.spec).tolist() == [False, False]
    bench.set(reused_after_hours=24)
    assert number_reused(frame, bench.spec).tolist() == [False, True]
    assert spec.prediction.reused_after_hours == 24, "the shipped params.yaml sets it"


def test_a_prediction_dated_into_the_future_does_not_count_for_ever(bench: Workbench) -> None:
    bench.add(1, 1, 100)
    bench.score()
    for moment in ("infinity", "9999-01-01"):
        bench.execute(
            "INSERT INTO archived_data (experimentnummer, waschen, n_samples, predicted_at) "
            f"VALUES (1, 1, 7, '{moment}')"
        )
    outcome = bench.score()
    assert (outcome.scored, outcome.kept) == (0, 100)
    assert bench.table("latest_predictions")["n_samples"].tolist() == [100]


def test_phases_that_cannot_be_removed_do_not_keep_the_others(bench: Workbench) -> None:
    bench.set(retention_days=0)
    for experiment in range(20):
        bench.add(experiment, 1, 10)
    bench.execute("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF OLD.experimentnummer IN (3, 9) THEN RAISE 'not this one'; END IF; RETURN OLD; END $$;
        CREATE TRIGGER refuse BEFORE DELETE ON online_data
        FOR EACH ROW EXECUTE FUNCTION refuse()""")
    with pytest.raises(Exception, match="not this one"):
        bench.score()
    assert set(bench.table("online_data")["experimentnummer"]) == {3, 9}
    assert bench.table("runs")["details"][0]["purged"] == 180
    bench.execute("DROP TRIGGER refuse ON online_data")
    assert bench.score().kept == 20


def test_times_that_python_does_not_know_can_be_read(bench: Workbench, engine: Engine) -> None:
    moments = ["infinity", "-infinity", "20000-01-01", "0044-03-15 BC", "2026-01-01"]
    with engine.connect() as connection:
        for kind in ("timestamptz", "timestamp"):
            query = text(f"SELECT unnest(CAST(:moments AS {kind}[]))")
            read = connection.execute(query, {"moments": moments}).scalars().all()
            assert read[:4] == [None] * 4 and read[4].year == 2026
    assert bench.table("online_data").empty
