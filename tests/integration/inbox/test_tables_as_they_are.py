"""A table that somebody else has made gives the same ledger as one that `impress init` makes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from src.components.inbox import rejected
from src.components.inbox.hold import hold
from src.components.inbox.states import Inbox, Window
from src.components.inbox.transaction import Outcome
from src.errors import DataError
from src.soft_sensor import SoftSensor
from tests.integration.workbench import Workbench

NUMBERS = ("smallint", "integer", "bigint", "numeric", "numeric(12,3)", "real", "double precision")
WHOLE = ("smallint", "integer", "bigint", "numeric", "numeric(9,0)")
STAMPS = (
    *("double precision", "integer", "bigint", "numeric", "numeric(14,4)"),
    *("timestamp with time zone", "timestamp without time zone", "timestamptz(0)"),
)
EVERYWHERE = Window(float("-inf"), float("inf"))
OLD = int(time.time()) - 7200

# Rows as (experiment, phase, age, valid, pH), in values that every type holds.
ROWS = [
    *((1, 1, age, 0, 6) for age in range(80)),
    *((1, 0, age, 0, 7) for age in range(70)),
    *((2, 1, age, age % 3 - 1, 8) for age in range(90)),  # a third of them invalid
    *((3, 1, -7200, 0, 5) for _ in range(4)),  # waits
    *((4, 1, age, -1, 5) for age in range(5)),  # has no valid row
    *((None, 1, age, 0, 5) for age in range(3)),
    *((5, 1, age, 0, None) for age in range(65)),
    *((6, 1, age, 0, 99) for age in range(66)),  # out of bounds
]


def _insert(bench: Workbench) -> None:
    """The rows, each value cast to the type of its column."""
    with bench.engine.begin() as connection:
        types = dict(
            connection.execute(
                text(
                    "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
                    "WHERE attrelid = 'online_data'::regclass AND attnum > 0"
                )
            )
            .tuples()
            .all()
        )
        stamp = f":age::int * -1 + {OLD}"
        if types["timestamp"].startswith("timestamp"):
            zone = " AT TIME ZONE 'UTC'" if types["timestamp"].endswith("without time zone") else ""
            stamp = f"to_timestamp({stamp}){zone}"
        phase = ":phase::int::boolean" if types["waschen"] == "boolean" else ":phase"
        others = ("truebung", "druck1", "fluss1", "leitfaehigkeit")
        statement = f"""
            INSERT INTO online_data
              (experimentnummer, waschen, "timestamp", vorschlagsnummer, ph, {", ".join(others)})
            VALUES (:experiment, {phase}, {stamp}, :valid, :ph, 5, 5, 5, 5)""".replace("::", r"\:\:")
        names = ("experiment", "phase", "age", "valid", "ph")
        connection.execute(text(statement), [dict(zip(names, row)) for row in ROWS])


def _with(bench: Workbench, action: Callable[[Inbox], object]) -> object:
    with hold(bench.engine) as connection:
        assert connection is not None
        return action(Inbox(connection, bench.spec))


def _predict(features: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """A prediction of every phase, also of one without pH."""
    numbers = [f"{target}{end}" for target in spec.target_names for end in ("", "_lower", "_upper")]
    value = 40 + features["ph_mean"].fillna(0)
    return pd.DataFrame(dict.fromkeys(numbers, value)).assign(flags="", verdict="")


@dataclass
class Life:
    """What became of the rows: everything that a user can see."""

    outcomes: list[object]
    counts: list[object]
    ledger: pd.DataFrame
    rejected: pd.DataFrame
    left: int
    files: list[str]


def _live(bench: Workbench, folder: Path, replayed: bool = True) -> Life:
    """Every step that rows can go through: scored, scored again, set aside, put back, archived."""
    bench.raw_archive = str(folder)

    def score(rescore: Window | None = None) -> Outcome:
        return bench.score(lambda features: _predict(features, bench.spec), rescore)

    _insert(bench)
    outcomes: list[object] = [score()]
    counts = [_with(bench, Inbox.counts), len(_with(bench, Inbox.doubtful_clocks))]  # type: ignore
    outcomes.append(score(EVERYWHERE))
    outcomes.append(score(Window(OLD - 75.0, OLD + 1.0)))
    ledger = bench.table("archived_data").drop(columns=["predicted_at", "purged_at"])
    set_aside = bench.table("rejected_data").drop(columns=["rejected_at"])
    counts.append(
        [{**row, "rejected_at": None} for row in _with(bench, rejected.summary)]  # type: ignore
    )
    if replayed:
        counts.append(_with(bench, lambda inbox: rejected.replay(inbox, experiment=4)))
        counts.append(_with(bench, rejected.replay))
        outcomes.append(score())  # set aside again, from the same values
        assert len(bench.table("rejected_data")) == len(set_aside)
    bench.age(31)
    outcomes.append(score())
    outcomes.append(bench.purged)
    files = sorted(file.name for file in folder.iterdir())
    by = ["experimentnummer", "waschen", "run_id"]
    return Life(
        outcomes,
        counts,
        ledger.sort_values(by, ignore_index=True),
        set_aside.sort_values([*by, "timestamp"], ignore_index=True),
        len(bench.table("online_data")),
        files,
    )


def _same(life: Life, plain: Life) -> None:
    assert life.outcomes == plain.outcomes
    assert life.counts == plain.counts
    pd.testing.assert_frame_equal(life.ledger, plain.ledger, check_exact=True)
    pd.testing.assert_frame_equal(life.rejected, plain.rejected, check_exact=True)
    assert (life.left, life.files) == (plain.left, plain.files)


def _empty(bench: Workbench) -> None:
    bench.execute(
        "TRUNCATE online_data, archived_data, rejected_data, runs RESTART IDENTITY CASCADE"
    )


def _retype(bench: Workbench, types: dict[str, str]) -> None:
    """Change the types of an empty inbox."""
    changes = ", ".join(
        f'ALTER COLUMN "{name}" TYPE {kind} USING NULL' for name, kind in types.items()
    )
    bench.execute(f"ALTER TABLE online_data {changes}")


@pytest.fixture(name="plain")
def fixture_plain(bench: Workbench, tmp_path: Path) -> Life:
    """The rows in a table as `impress init` makes it."""
    life = _live(bench, tmp_path / "plain")
    assert life.outcomes[0].phases == 5  # type: ignore[attr-defined]
    assert life.outcomes[-1] == 80 + 70 + 90 + 65 + 66
    _empty(bench)
    return life


TYPES = st.fixed_dictionaries(
    {
        "experimentnummer": st.sampled_from(WHOLE),
        "waschen": st.sampled_from((*WHOLE, "boolean")),
        "timestamp": st.sampled_from(STAMPS),
        "arrived_at": st.sampled_from(("timestamptz", "timestamp")),
        **{
            name: st.sampled_from(NUMBERS)
            for name in ("vorschlagsnummer", "ph", "truebung", "druck1", "fluss1", "reserv1")
        },
    }
)


@pytest.mark.slow
def test_any_mix_of_types_gives_the_same_ledger(
    bench: Workbench, plain: Life, tmp_path_factory: pytest.TempPathFactory
) -> None:
    @settings(
        max_examples=12,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(TYPES)
    def live(types: dict[str, str]) -> None:
        _empty(bench)
        _retype(bench, types)
        _same(_live(bench, tmp_path_factory.mktemp("life")), plain)

    live()


@pytest.mark.parametrize("kind", NUMBERS)
def test_sensors_and_the_column_of_validity_may_be_any_number(
    bench: Workbench, plain: Life, kind: str, tmp_path: Path
) -> None:
    names = [*(sensor.name for sensor in bench.spec.sensors), "vorschlagsnummer", "reserv2"]
    _retype(bench, dict.fromkeys(names, kind))
    _same(_live(bench, tmp_path / "life"), plain)


@pytest.mark.parametrize("kind", STAMPS)
def test_stamps_may_be_numbers_or_times(
    bench: Workbench, plain: Life, kind: str, tmp_path: Path
) -> None:
    _retype(bench, {"timestamp": kind})
    # A time without a zone is UTC, whatever the zone of the server is.
    bench.execute(f"ALTER DATABASE {bench.engine.url.database} SET timezone TO 'Asia/Kolkata'")
    _same(_live(bench, tmp_path / "life"), plain)


@pytest.mark.parametrize("kind", WHOLE)
def test_keys_may_be_any_whole_number(
    bench: Workbench, plain: Life, kind: str, tmp_path: Path
) -> None:
    _retype(bench, {"experimentnummer": kind, "waschen": kind})
    _same(_live(bench, tmp_path / "life"), plain)
