"""All that another writer can leave in the tables at once, beside healthy phases: no run fails."""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections import Counter
from collections.abc import Callable
from email import message_from_bytes, policy
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from src import simulator
from src.cli.commands import main
from src.components.backfill.training import DataSet
from src.components.inbox.rejected import summary
from src.components.inbox.states import Inbox
from src.components.ingestion.load import load_sensor_rows
from src.components.registry.production import promote
from src.components.registry.versions import Registry
from src.components.trainer.fitting import DEFAULTS
from src.pipelines import train_pipeline
from src.settings import Settings
from src.soft_sensor import load_soft_sensor
from tests.integration.workbench import Workbench

Impress = Callable[..., CompletedProcess[str]]
HOUR, DAY = 3600, 86400
# A name that no index can hold: it does not compress.
LONG = "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(94))
MONTH = 30  # experiments
ROWS = 20  # of each phase that another writer leaves
IMPOSSIBLE = ["NULL", "'NaN'", "'Infinity'", "'-Infinity'", "1e308", "1.7e12", "46039.75"]
REASONS = {
    "impossible_timestamp": len(IMPOSSIBLE),
    "late_after_purge": 1,
    "no_experiment": 4,
    "no_sensor_values": 3,
    "no_valid_rows": 1,
    "number_reused": 1,
    "unknown_phase": 3,
    "unusable_name": 4,
}


@pytest.fixture(name="named")
def fixture_named(engine: Engine, home: Path, small_dataset: Path, impress: Impress) -> Workbench:
    """A rig whose experiments have names, with a model in Production and a month in its inbox."""
    params = home / "params.yaml"
    content = params.read_text(encoding="utf-8")
    numbered = "experiment_type: integer"
    assert numbered in content
    params.write_text(content.replace(numbered, "experiment_type: text"), encoding="utf-8")
    spec, settings = load_soft_sensor(params), Settings()
    table, _ = train_pipeline.prepare(DataSet(small_dataset), spec)
    bundle = train_pipeline.fit(table, 0, DEFAULTS, spec)
    registry = Registry(settings, spec.name)
    promote(registry, registry.log(bundle, {}, {}, small_dataset), "the first")
    bench = Workbench(engine, spec)
    for prefix in ("", "test_"):
        for name in ("online_data", "archived_data", "rejected_data", "laboratory_data"):
            bench.execute(f"DROP TABLE {prefix}{name} CASCADE")
    bench.execute("DROP TABLE runs")
    assert impress("init").returncode == 0
    month = home / "month"
    simulator.simulate(
        month, experiments=MONTH, seconds=120, seed=3, first=201, fault="gain:leitfaehigkeit"
    )
    load_sensor_rows(engine, spec, month / "sensors.csv")
    return bench


def _poison_inbox(bench: Workbench) -> None:
    """Phases of every reason, and some that look strange but can be scored."""
    for place, stamp in enumerate(IMPOSSIBLE):
        bench.add(f"stamp {place}", 0, ROWS)
        bench.execute(
            f"UPDATE online_data SET timestamp = {stamp} WHERE experimentnummer = 'stamp {place}'"
        )
    bench.execute(
        "INSERT INTO archived_data (experimentnummer, waschen, n_samples, predicted_at, purged_at) "
        "VALUES ('late', 0, 5, '2026-01-01', '2026-02-01')"
    )
    bench.add("late", 0, ROWS)
    for name in (None, "", "  "):
        bench.add(name, 0, ROWS)
    bench.add(None, None, ROWS)
    sensors = [sensor.name for sensor in bench.spec.sensors]
    for value in (math.nan, math.inf, 1e308):
        bench.add(f"readings {value}", 0, ROWS, **dict.fromkeys(sensors, value))
    bench.add("invalid", 0, ROWS, vorschlagsnummer=-1)
    bench.add("again", 0, ROWS // 2, age=3 * DAY)
    bench.add("again", 0, ROWS // 2)
    for phase in (7, None, -(2**63)):
        bench.add("phase", phase, ROWS)
    for name in (LONG, "two\nlines", "\x1b[31mred", "ä" * 101):
        bench.add(name, 0, ROWS)


def _strange_but_sound(bench: Workbench) -> int:
    """Phases that can be scored all the same. Returns their number."""
    names = ["x" * 200, "q'uo\"te;,\\.", "\u202eright", " blank ", "NaN", "-0", "../../up", "😀"]
    for name in names:
        bench.add(name, 1, ROWS)
    arrivals = ["NULL", "'infinity'", "'-infinity'", "'20000-01-01'"]
    for place, arrived in enumerate(arrivals):
        bench.add(f"arrived {place}", 1, ROWS)
        bench.execute(
            f"UPDATE online_data SET arrived_at = {arrived} "
            f"WHERE experimentnummer = 'arrived {place}'"
        )
    values = [math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, -0.0]
    for value in values:
        bench.add(f"reading {value}", 1, ROWS, ph=value, druck1=value)
        bench.add(f"reading {value}", 1, 1)
    bench.add("one row", 1, 1)
    bench.add("extremes", 1, ROWS, truebung=1000, ph=14, druck1=0)
    return len(names) + len(arrivals) + len(values) + 2


def _poison_ledger(bench: Workbench) -> None:
    """Rows that no run of ours writes, dated into the month that is reported next."""
    bench.execute("DROP INDEX archived_data_newest")
    features = bench.spec.features
    rows: list[dict[str, Any]] = []
    for value in (math.nan, math.inf, -math.inf, 1e308, -1e308):
        rows.append({"experimentnummer": f"features {value}", **dict.fromkeys(features, value)})
        rows.append({"experimentnummer": f"level {value}", "ph_median": value})
        rows.append(
            {"experimentnummer": f"targets {value}", "ph_mean": 7.0}
            | dict.fromkeys(bench.spec.target_names, value)
        )
        rows.append(
            {
                "experimentnummer": f"stamp {value}",
                "first_timestamp": -value,
                "last_timestamp": value,
            }
        )
    for place, text in enumerate(("\x1b[2J,two\nlines", "," * 6000, LONG, "few_samples_missing")):
        rows.append({"experimentnummer": f"text {place}", "flags": text, "verdict": text})
    rows += [{"experimentnummer": name} for name in (LONG, "two\nlines", "", None)]
    rows += [{"experimentnummer": "phase", "waschen": phase} for phase in (7, None)]
    moments = ("infinity", "-infinity", "9999-01-01", "20000-01-01", "0044-03-15 BC", None)
    for moment in moments:
        rows.append({"experimentnummer": "predicted", "predicted_at": moment})
        rows.append({"experimentnummer": "purged", "purged_at": moment})
    for row in rows:
        row = {"waschen": 0, "last_timestamp": time.time(), **row}
        names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
        if "predicted_at" not in row:
            names, places = f"{names}, predicted_at", f"{places}, now()"
        bench.execute(f"INSERT INTO archived_data ({names}) VALUES ({places})", **row)


def _poison_laboratory(bench: Workbench) -> None:
    """Values that are none, and times and phases that are none, for experiments of the month."""
    for place, value in enumerate((math.nan, math.inf, -math.inf, 1e308, -5.0)):
        bench.execute(
            f"INSERT INTO laboratory_data (experimentnummer, waschen, "
            f"{', '.join(bench.spec.target_names)}) "
            f"VALUES ('{201 + place}', 0, :value, :value, :value)",
            value=value,
        )
    for moment in ("infinity", "-infinity", "20000-01-01", "0044-03-15 BC", None):
        bench.execute(
            "INSERT INTO laboratory_data (experimentnummer, waschen, oberflaechenspannung, "
            "loaded_at) VALUES ('210', 0, 40, :moment), (NULL, 0, 40, now()), "
            "('211', 7, 40, now())",
            moment=moment,
        )


def _poison_journal(bench: Workbench) -> None:
    """Runs with details of any shape, and reports that end in the future, at no time, or never."""
    for details in (
        "[]",
        "null",
        '"text"',
        "{}",
        '{"until": "soon", "since": 5, "asked_for": false, "sensors": 5, "rows": {}}',
        '{"until": ["2026-01-01"], "since": {}, "asked_for": false, "sensors": {"a": null}}',
        '{"until": "9999-12-31T00:00:00+00:00", "since": null, "asked_for": false}',
        '{"scored": {"a": [1]}, "kept": "\\u001b[31m", "sent": "x", "accepted_at": 7}',
    ):
        for pipeline in ("monitor", "predict"):
            bench.execute(
                "INSERT INTO runs (pipeline, started_at, ended_at, outcome, details) "
                "VALUES (:pipeline, 'infinity', '-infinity', 'no drift', CAST(:details AS jsonb)), "
                "(:pipeline, '20000-01-01', 'infinity', 'watch', CAST(:details AS jsonb))",
                pipeline=pipeline,
                details=details,
            )
    bench.execute(
        "INSERT INTO monitoring_tests (run_id, kind, part, indicator, shift, p) "
        "SELECT id, 'drift', 'ph', 'level', 'NaN', 'Infinity' FROM runs"
    )


def _balance(done: CompletedProcess[str]) -> dict[str, int]:
    """What a run says became of the rows: `in`, `scored` and so on."""
    (line,) = (line for line in done.stderr.splitlines() if " rows in = " in line)
    counts = re.findall(r"(\d+) (?:rows )?(in|scored|kept|waiting|rejected)", line)
    return {state: int(count) for count, state in counts}


def test_no_run_fails_and_the_alarm_is_sent(
    named: Workbench, impress: Impress, smtp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("EMAIL_MAX_MB", "0.1")
    monkeypatch.setenv("RAW_ARCHIVE", str(Path("raw").absolute()))
    _poison_inbox(named)
    strange = _strange_but_sound(named)
    named.add("growing", 1, ROWS, age=0)

    first = impress("predict")
    assert first.returncode == 3, first.stderr
    balance = _balance(first)
    total = sum(balance[state] for state in ("scored", "kept", "waiting", "rejected"))
    assert balance["in"] == total
    rejected = named.table("rejected_data")
    assert (balance["waiting"], balance["rejected"]) == (ROWS, len(rejected))
    with named.engine.connect() as connection:
        phases = summary(Inbox(connection, named.spec))
    assert Counter(phase["reason"] for phase in phases) == REASONS
    assert len(rejected) == ROWS * sum(REASONS.values())
    ledger = named.table("archived_data").dropna(subset="run_id")
    assert len(ledger) == 2 * MONTH + strange
    assert (ledger[named.spec.features].abs().fillna(0) < math.inf).all(axis=None)

    listed = impress("rejected")  # a process of its own, whose console is wide
    assert listed.returncode == 0, listed.stderr
    assert LONG[:60] in listed.stdout and LONG[:61] not in listed.stdout
    for words in ("rejected", "status", "why extremes", "next-sample"):
        assert LONG[:61] not in _show(words)

    assert impress("load", "--laboratory", "month/lab.csv").returncode == 0
    _poison_ledger(named)
    _poison_laboratory(named)
    second = impress("predict")
    assert second.returncode == 0, second.stderr
    again = _balance(second)
    assert (again["scored"], again["kept"], again["rejected"]) == (0, balance["scored"], 0)

    _poison_journal(named)
    monitored = impress("monitor")
    assert monitored.returncode == 0, monitored.stderr
    (file,) = smtp.iterdir()
    message = message_from_bytes(file.read_bytes(), policy=policy.default)
    subject = message["Subject"].strip()  # folded, as it is long
    assert subject.startswith("laundry, February 2026: alarm: conductivity")
    sensors = subject.rpartition(": ")[2].split(", ")
    assert len(sensors) == len(set(sensors))
    page = Path(next(Path("artifacts/reports").glob("*/report.html"))).read_text("utf-8")
    for shown in (monitored.stderr, message.as_string(), page):
        assert LONG[:61] not in shown
    for words in ("status", "why predicted", "why purged", "next-sample"):
        assert LONG[:61] not in _show(words)


def _show(words: str) -> str:
    """What a command prints that only reads."""
    done = CliRunner().invoke(main, words.split())
    assert done.exit_code == 0, done.output
    assert not [line for line in done.output.split("\n") if not line.isprintable()]
    return done.output
