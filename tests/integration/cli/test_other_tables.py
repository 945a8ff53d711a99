"""Every command on tables that somebody else has made, and on tables that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from src.cli.commands import main
from src.soft_sensor import SoftSensor
from tests.conftest import TEST_DATA

VIEW = [
    "ALTER TABLE online_data RENAME TO measured",
    "CREATE VIEW online_data AS SELECT * FROM measured",
]
MATERIALIZED = [VIEW[0], "CREATE MATERIALIZED VIEW online_data AS SELECT * FROM measured"]


def _run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == code, result.output
    return result


def _execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def _ledger(engine: Engine) -> pd.DataFrame:
    with engine.connect() as connection:
        ledger = pd.read_sql(text("SELECT * FROM latest_predictions"), connection)
    return ledger.sort_values(["experimentnummer", "waschen"], ignore_index=True)


def _other_types(engine: Engine, spec: SoftSensor) -> None:
    """Other types in all tables, and columns and partitions of somebody else's."""
    sensors = [f"ALTER COLUMN {sensor.name} TYPE numeric" for sensor in spec.sensors]
    changes = [
        *sensors,
        "ALTER COLUMN experimentnummer TYPE numeric(12,2)",
        "ALTER COLUMN waschen TYPE boolean USING waschen = 1",
        "ALTER COLUMN vorschlagsnummer TYPE smallint USING vorschlagsnummer",
        "ALTER COLUMN timestamp TYPE timestamp USING to_timestamp(timestamp) AT TIME ZONE 'UTC'",
    ]
    numbers = [*spec.features, *spec.target_names]
    own = [f"ALTER COLUMN {name} TYPE numeric" for name in numbers]
    ends = [f"ALTER COLUMN {target.lower} TYPE real" for target in spec.targets]
    keys = ["ALTER COLUMN experimentnummer TYPE integer", "ALTER COLUMN waschen TYPE smallint"]
    times = ["ALTER COLUMN predicted_at TYPE timestamp", "ALTER COLUMN flags TYPE varchar(900)"]
    _execute(
        engine,
        f"ALTER TABLE online_data {', '.join(changes)}",
        "ALTER TABLE online_data ADD COLUMN id bigserial PRIMARY KEY, ADD COLUMN line int, "
        'ADD COLUMN "State" text, ADD COLUMN t float GENERATED ALWAYS AS (ph * 2) STORED',
        "DROP VIEW latest_predictions",
        f"ALTER TABLE archived_data {', '.join([*keys, *own, *ends, *times])}",
        "ALTER TABLE archived_data ADD COLUMN id bigserial PRIMARY KEY",
        f"ALTER TABLE laboratory_data {', '.join(keys)}, ALTER COLUMN loaded_at TYPE timestamp, "
        "ALTER COLUMN anionischetenside TYPE numeric",
        "ALTER TABLE runs ALTER COLUMN started_at TYPE timestamp, ALTER COLUMN outcome TYPE "
        "varchar(30), ALTER COLUMN ended_at TYPE timestamp, ADD COLUMN host text DEFAULT 'h'",
        "ALTER TABLE monitoring_tests ALTER COLUMN p TYPE numeric, ALTER COLUMN run_id TYPE int",
    )


@pytest.mark.usefixtures("production")
def test_every_command_works_on_other_types(
    inbox: Engine,
    spec: SoftSensor,
    small_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _run("predict")
    plain = _ledger(inbox)
    _execute(inbox, "TRUNCATE archived_data, runs")

    _other_types(inbox, spec)
    assert "created latest_predictions" in _run("init").stdout
    assert "nothing to do" in _run("init").stdout
    checked = CliRunner().invoke(main, ["check"]).stdout
    assert "all tables fit" in checked and "fault    database" not in checked
    _execute(inbox, "INSERT INTO online_data (experimentnummer, waschen, ph) VALUES (1.5, true, 7)")

    _run("predict", code=3)
    other = _ledger(inbox)
    assert len(other) == len(plain)
    pd.testing.assert_frame_equal(
        other[spec.features].astype(float), plain[spec.features], rtol=1e-9
    )
    assert (other["verdict"] == plain["verdict"]).all()
    _run("predict", "--rescore", "--from", "2026-01-05", "--to", "2026-01-06")
    assert "no_experiment" in _run("rejected").stdout
    assert "1 rows are back" in _run("rejected", "replay").stdout
    _run("predict", code=3)
    assert "supersedes 1 older prediction" in _run("why", "1").stdout
    _run("load", str(small_dataset / "lab.csv"), "--laboratory")
    assert "most worth" in _run("next-sample", "--dataset", "nowhere").stdout
    _run("monitor")
    assert "no drift" in _run("status").stdout
    _run("monitor", "--since", "2020-01-01", "--always-mail")
    _run("monitor", "--accept")

    monkeypatch.setenv("RAW_ARCHIVE", str(tmp_path / "raw"))
    _execute(inbox, "UPDATE archived_data SET predicted_at = predicted_at - interval '31 days'")
    _run("predict")
    files = sorted((tmp_path / "raw").iterdir())
    assert len(files) == len(plain)
    raw = pd.read_parquet(files[0])
    assert raw["experimentnummer"].dtype == raw["waschen"].dtype == np.int64
    assert raw["timestamp"].dtype == raw["ph"].dtype == np.float64
    assert "removed" in _run("why", "1").stdout
    _run("load", str(files[0]))
    _run("predict", code=3)


@pytest.mark.parametrize(
    ("statements", "sentence"),
    [
        (VIEW, "online_data is a view, but must be a table"),
        (MATERIALIZED, "online_data is a materialized view, but must be a table"),
        (
            ["ALTER TABLE online_data ALTER COLUMN ph TYPE text"],
            'ALTER TABLE "online_data" ALTER COLUMN "ph" TYPE double precision '
            'USING CAST("ph" AS double precision)',
        ),
        (
            ["ALTER TABLE online_data ALTER COLUMN timestamp TYPE real"],
            "online_data.timestamp is real, but must be double precision: ALTER TABLE",
        ),
        (
            ["ALTER TABLE online_data ALTER COLUMN experimentnummer TYPE double precision"],
            "online_data.experimentnummer is double precision, but must be bigint: ALTER TABLE",
        ),
        (
            ["ALTER TABLE online_data ALTER COLUMN arrived_at DROP DEFAULT"],
            "online_data.arrived_at has no default",
        ),
        (
            ["ALTER TABLE rejected_data ALTER COLUMN waschen TYPE text"],
            "rejected_data.waschen is text, but must be bigint",
        ),
        (
            [
                "DROP VIEW latest_predictions",
                "ALTER TABLE archived_data ALTER COLUMN ph_mean TYPE text",
            ],
            "archived_data.ph_mean is text, but must be double precision: DROP VIEW IF EXISTS",
        ),
    ],
)
def test_tables_that_cannot_be_used_are_refused_by_the_same_sentence(
    engine: Engine, statements: list[str], sentence: str
) -> None:
    _execute(engine, *statements)
    commands = [["init"], ["predict"], ["status"], ["rejected"], ["rejected", "replay"]]
    if "archived_data" in sentence:
        commands += [["why", "1"], ["collect"], ["monitor"]]
    for words in commands:
        result = _run(*words, code=1)
        (line,) = [line for line in result.stderr.splitlines() if "ERROR" in line]
        assert sentence in line, words
        assert "Traceback" not in result.output
    assert sentence in _run("check", code=1).stdout


def test_a_view_of_the_inbox_alone_does_not_stop_init_from_making_the_rest(engine: Engine) -> None:
    _execute(engine, *VIEW, "DROP TABLE laboratory_data")
    result = _run("init", code=1)
    assert "created laboratory_data" in result.stdout


def test_too_narrow_columns_and_rules_of_others_end_with_a_remedy(
    engine: Engine, production: Path
) -> None:
    assert production.is_dir() and TEST_DATA.is_dir()
    fill = (
        "INSERT INTO online_data (experimentnummer, waschen, ph, timestamp) "
        "VALUES (70000, 1, 7, extract(epoch FROM now()) - 86400)"
    )
    for statement, restore, remedy in (
        (
            "DROP VIEW latest_predictions; "
            "ALTER TABLE archived_data ALTER COLUMN experimentnummer TYPE smallint",
            "ALTER TABLE archived_data ALTER COLUMN experimentnummer TYPE bigint",
            "too narrow for this number",
        ),
        (
            "ALTER TABLE archived_data ADD COLUMN site text NOT NULL",
            "ALTER TABLE archived_data DROP COLUMN site",
            "give it a default",
        ),
        (
            "ALTER TABLE archived_data ADD CHECK (experimentnummer < 100)",
            "ALTER TABLE archived_data DROP CONSTRAINT archived_data_experimentnummer_check",
            "a rule of the table",
        ),
        (
            "ALTER TABLE archived_data ALTER COLUMN flags TYPE varchar(3)",
            "ALTER TABLE archived_data ALTER COLUMN flags TYPE text",
            "too short",
        ),
    ):
        _execute(engine, statement, fill)
        result = _run("predict", code=1)
        (line,) = [line for line in result.stderr.splitlines() if "ERROR" in line]
        assert remedy in line and "Traceback" not in result.output
        _execute(engine, restore)
    _run("predict")
