"""Databases of other encodings hold and give back what was meant, or say that they cannot."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DataError as SqlDataError

from src.components.database.connection import connect
from src.components.database.schema import initialise
from src.components.inbox import rejected
from src.components.inbox.hold import hold
from src.components.inbox.states import Inbox
from src.errors import NoModel, advice
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.integration.workbench import Workbench

NAMES = ["ünï", "Straße 1", "plain"]


@pytest.fixture(name="database", params=["UTF8", "LATIN1", "WIN1252", "LATIN9", "SQL_ASCII"])
def fixture_database(
    request: pytest.FixtureRequest, postgres: Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Engine]]:
    """A database of an encoding, named by the environment, for a client that prefers another."""
    name, encoding = f"test_{uuid.uuid4().hex[:12]}", str(request.param)
    administrator = postgres.execution_options(isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        connection.execute(
            text(
                f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' "
                "TEMPLATE template0"
            )
        )
    monkeypatch.setenv("DB_HOSTNAME", str(postgres.url.query["host"]))
    monkeypatch.setenv("DB_NAME", name)
    monkeypatch.setenv("DB_USERNAME", "postgres")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    try:
        with connect(Settings()) as engine:
            yield encoding, engine
    finally:
        with administrator.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def test_names_reasons_and_errors_are_kept_in_any_encoding(
    database: tuple[str, Engine], spec: SoftSensor, tmp_path: Path
) -> None:
    encoding, engine = database
    columns = spec.columns.model_copy(update={"experiment_type": "text"})
    bench = Workbench(engine, spec.model_copy(update={"columns": columns}))
    initialise(engine, bench.spec)
    bench.raw_archive = str(tmp_path / "raw")
    bench.set(retention_days=0)
    for name in NAMES:
        bench.add(name, 1, 60)
        bench.add(name, 7, 5)
    if encoding == "SQL_ASCII":  # another writer has sent Latin-1
        bench.execute(
            "UPDATE online_data SET experimentnummer = convert_from(convert("
            "convert_to(experimentnummer, 'SQL_ASCII'), 'UTF8', 'LATIN1'), 'SQL_ASCII') "
            "WHERE ctid::text LIKE '%0)' OR experimentnummer LIKE 'S%'"
        )
    outcome = bench.score()
    assert (outcome.phases, outcome.rejected, bench.purged) == (3, 15, 180)
    assert set(bench.table("latest_predictions")["experimentnummer"]) == set(NAMES)
    files = {file.name.rpartition("-")[0] for file in (tmp_path / "raw").iterdir()}
    assert files == {"%C3%BCn%C3%AF-1", "Stra%C3%9Fe%201-1", "plain-1"}
    with hold(engine) as connection:
        assert connection is not None
        inbox = Inbox(connection, bench.spec)
        assert {row["experimentnummer"] for row in rejected.summary(inbox)} == set(NAMES)
        connection.rollback()
        assert rejected.replay(inbox, experiment="ünï") == 5


def test_an_error_with_other_characters_is_recorded(
    database: tuple[str, Engine], spec: SoftSensor
) -> None:
    encoding, engine = database
    initialise(engine, spec)
    bench = Workbench(engine, spec)
    bench.add(1, 1, 60)

    def fetch() -> None:
        raise NoModel("für → Ω")

    with pytest.raises(NoModel):
        bench.score(fetch=fetch)  # type: ignore[arg-type]  # it gives none
    (error,) = bench.table("runs")["details"].map(lambda details: details["error"])
    shown = "für → Ω" if encoding in ("UTF8", "SQL_ASCII") else "für \\u2192 \\u03a9"
    assert error == f"NoModel: {shown}"


def test_a_name_that_the_encoding_lacks_is_refused_by_a_sentence(
    database: tuple[str, Engine], spec: SoftSensor
) -> None:
    encoding, engine = database
    columns = spec.columns.model_copy(update={"experiment_type": "text"})
    bench = Workbench(engine, spec.model_copy(update={"columns": columns}))
    initialise(engine, bench.spec)
    if encoding in ("UTF8", "SQL_ASCII"):
        bench.add("Ω", 1, 60)
        assert bench.score().phases == 1
        assert bench.table("archived_data")["experimentnummer"].tolist() == ["Ω"]
        return
    with pytest.raises(SqlDataError) as caught:
        bench.add("Ω", 1, 60)
    assert "the encoding of the database has no such character" in str(advice(caught.value))
