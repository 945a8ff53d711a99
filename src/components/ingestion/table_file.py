"""The one reader of tables that come from outside: CSV, also compressed, and Parquet.

Every cell is read as text in a fixed dialect and then typed by its column, so a file is good for
every command or for none, and a fault names its line and column.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from src.components.ingestion.cells import (
    SHOWN,
    Column,
    Kind,
    at_fault,
    comparison,
    complaint,
    present,
    repeated_hour,
    value_of,
    whole,
)
from src.components.ingestion.formats import Body, ParquetBody, open_body
from src.errors import DataError
from src.progress import step
from src.soft_sensor import OF_RIG, Dialect

if TYPE_CHECKING:
    import duckdb
    import pandas as pd


@dataclass(frozen=True)
class TableFile:
    """A table that was read and found right, as a DuckDB view `rows` in the order of the file.

    Beside the columns that were asked for, it has `impress_row`, the place of a row from 0.

    Attributes:
        columns: those of the columns asked for that the file has.
        ignored: names of the other columns that hold something.
        rows, blank: how many rows hold something, and how many do not.
    """

    body: Body
    connection: duckdb.DuckDBPyConnection
    columns: list[str]
    ignored: list[str]
    rows: int
    blank: int

    @property
    def file(self) -> Path:
        """The file, as the user named it."""
        return self.body.file

    def frame(self) -> pd.DataFrame:
        """All rows, in memory; the index is their place."""
        rows: pd.DataFrame = self.connection.sql("SELECT * FROM rows ORDER BY impress_row").df()
        return rows.set_index("impress_row")

    def place(self, row: int) -> str:
        """Where a row is in the file: `line 7`."""
        return self.body.place(row)

    def count(self, condition: str) -> int:
        """How many rows fulfil a condition in SQL."""
        return _count(self.connection, f"rows WHERE {condition}")

    def repeated_hours(self, column: str, zone: str) -> int:
        """How many rows are stamped in an hour that the clocks of a zone show twice."""
        return self.count(repeated_hour(f'"{column}"', zone))


@contextmanager
def read(
    file: Path, columns: Sequence[Column], dialect: Dialect, section: str = "files"
) -> Iterator[TableFile]:
    """Read a table.

    Args:
        columns: what the contract knows; the others of the file are ignored.
        section: where params.yaml describes the dialect, for messages.

    Raises:
        DataError: when the file is not such a table, lacks a column, or holds a cell that its
            column cannot take; the message names the line.
    """
    with tempfile.TemporaryDirectory() as scratch:
        body = open_body(file, dialect, section, Path(scratch))
        chosen = _choose(body, columns)
        with _database(Path(scratch), dialect, section) as connection:
            reading = _Reading(connection, body, chosen, dialect, section)
            reading.load()
            reading.refuse_first_fault()
            yield reading.table()


def _choose(body: Body, columns: Sequence[Column]) -> dict[int, Column]:
    """The columns asked for, by their place in the file.

    Raises:
        DataError: when one is there twice, or missing.
    """
    header = body.header
    known = {column.name: column for column in columns}
    rigs = [column.of for column in columns if column.of]
    used = {*known, *rigs}
    doubled = sorted({name for name in header if name in used and header.count(name) > 1})
    if doubled:
        raise DataError(
            f"{body.file}: there is more than one column {', '.join(doubled)}: remove one"
        )
    needed = [name for name, column in known.items() if not column.optional]
    missing = [name for name in [*rigs, *needed] if name not in header]
    if missing:
        are_missing = "column {} is missing" if len(missing) == 1 else "columns {} are missing"
        there = ", ".join(name for name in header if name)
        raise DataError(f"{body.file}: {are_missing.format(', '.join(missing))}; it has {there}")
    return {place: known[name] for place, name in enumerate(header) if name in known}


@contextmanager
def _database(scratch: Path, dialect: Dialect, section: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database on disk, so that a table may be larger than the memory."""
    import duckdb

    with duckdb.connect(scratch / "table.duckdb") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        known = "SELECT count(*) FROM pg_timezone_names() WHERE name = ?"
        if zone := dialect.time_zone:
            if not connection.execute(known, [zone]).fetchall()[0][0]:
                raise DataError(
                    f"{section}.time_zone: {zone!r} is not a time zone such as Europe/Berlin"
                )
        yield connection


def _count(connection: duckdb.DuckDBPyConnection, rows: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {rows}").fetchall()[0][0])


@dataclass(frozen=True)
class _Reading:
    """A file on its way into the table `cells`, whose columns are named by their place.

    `v<place>` is a value, `m<place>` the mark of one that is a limit of the assay, `h<place>`
    whether a cell without use holds something; `blank` is whether the row holds nothing, `fault`
    the place of its first cell that cannot be read, and `fault_text` the text of that.
    """

    connection: duckdb.DuckDBPyConnection
    body: Body
    chosen: dict[int, Column]
    dialect: Dialect
    section: str

    def load(self) -> None:
        """Read all rows.

        Raises:
            DataError: when the file cannot be cut into rows and cells.
        """
        import duckdb

        values = [f"{self._value(place)} AS v{place}" for place in self.chosen]
        kept = [f"v{place}" for place in self.chosen]
        kept += [
            f"{comparison(self._present(place))} AS m{place}"
            for place, column in self.chosen.items()
            if column.kind == Kind.MEASURED
        ]
        kept += [f"{self._present(place)} IS NOT NULL AS h{place}" for place in self._others()]
        texts = [f"WHEN {place} THEN {self._present(place)}" for place in self._can_be_at_fault()]
        statement = f"""
            CREATE TABLE cells AS
            SELECT {', '.join(kept)}, blank, fault, CASE fault {' '.join(texts)} END AS fault_text
            FROM (
              SELECT *, CASE {' '.join(self._faults())} END AS fault FROM (
                SELECT *, {self._blank()} AS blank FROM (
                  SELECT *, {', '.join(values)} FROM {self.body.source()} AS lines)))"""
        try:
            with step(f"reading {self.body.file.name}"):
                self.connection.execute(statement)
        except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
            cause = str(error).split("\n\n", maxsplit=1)[0].replace("\n", " ")
            raise self.body.explain(cause[:300]) from error

    def _dialect(self) -> Dialect:
        """The dialect of the texts: numbers of a Parquet file are written by DuckDB."""
        if isinstance(self.body, ParquetBody):
            return self.dialect.model_copy(update={"decimal": ".", "thousands": None})
        return self.dialect

    def _others(self) -> list[int]:
        """Columns without use."""
        rigs = {column.of for column in self.chosen.values()}
        header = enumerate(self.body.header)
        return [place for place, name in header if place not in self.chosen and name not in rigs]

    def _can_be_at_fault(self) -> list[int]:
        return [*self.chosen, *(place for place in self._others() if not self.body.header[place])]

    def _cell(self, place: int) -> str:
        """SQL: the text of a cell; that of an experiment of a rig is RIG/EXPERIMENT."""
        column = self.chosen.get(place)
        if column is None or column.of is None:
            return f"c{place}"
        rig, name = (
            whole(present(f"c{each}", self._dialect()))
            for each in (self.body.header.index(column.of), place)
        )
        return f"({rig} || '{OF_RIG}' || {name})"

    def _present(self, place: int) -> str:
        return present(self._cell(place), self._dialect())

    def _value(self, place: int) -> str:
        return value_of(self.chosen[place], self._cell(place), self._dialect())

    def _blank(self) -> str:
        """SQL: the row holds nothing. A row with a value that it must have is not looked at."""
        needed = [f"v{place} IS NULL" for place, column in self.chosen.items() if column.filled]
        cells = [f"c{place}" for place in range(len(self.body.header))]
        empty = [f"{present(cell, self._dialect())} IS NULL" for cell in cells]
        return (
            f"CASE WHEN {' AND '.join(needed) or 'true'} THEN {' AND '.join(empty)} "
            "ELSE false END"
        )

    def _faults(self) -> list[str]:
        """SQL: the branches of a CASE that gives the place of the first fault of a row."""
        faults = []
        for place in self._can_be_at_fault():
            column = self.chosen.get(place)
            if column is None:
                faults.append(f"WHEN {self._present(place)} IS NOT NULL THEN {place}")
                continue
            condition = at_fault(self._cell(place), f"v{place}", self._dialect())
            if column.filled:
                condition = f"({condition} OR (v{place} IS NULL AND NOT blank))"
            faults.append(f"WHEN {condition} THEN {place}")
        return faults

    def refuse_first_fault(self) -> None:
        """Raise a DataError that names the first cell that cannot be read."""
        query = """
            SELECT rowid, fault, fault_text FROM cells WHERE fault IS NOT NULL
            ORDER BY rowid LIMIT 1"""
        first = self.connection.execute(query).fetchone()
        if first is None:
            return
        row, place, text = first
        if place in self.chosen:
            words = complaint(self.chosen[place], text, self.dialect, self.section)
        else:
            words = f": column {place + 1} has no name, but holds '{text[:SHOWN]}': give it one"
        if self._may_be_units(row, text):
            words += f"; if this row holds units, set {self.section}.units_row: true"
        raise DataError(f"{self.body.file}, {self.body.place(row)}{words}; nothing was read")

    def _may_be_units(self, row: int, text: str | None) -> bool:
        without_digits = text is None or not any(sign.isdigit() for sign in text)
        can_have_units = not self.dialect.units_row and not isinstance(self.body, ParquetBody)
        return row == 0 and without_digits and can_have_units

    def table(self) -> TableFile:
        """The rows as a view.

        Raises:
            DataError: when there are none.
        """
        rows = _count(self.connection, "cells WHERE NOT blank")
        if not rows:
            raise DataError(f"{self.body.file} is empty: it needs rows")
        names = {f"v{place}": column.name for place, column in self.chosen.items()}
        for place, column in self.chosen.items():
            if column.kind == Kind.MEASURED:
                names[f"m{place}"] = f"{column.name}_censored"
        renamed = ", ".join(f'{cell} AS "{name}"' for cell, name in names.items())
        self.connection.execute(
            f"CREATE VIEW rows AS SELECT {renamed}, rowid AS impress_row FROM cells WHERE NOT blank"
        )
        ignored = [
            self.body.header[place]
            for place in self._others()
            if _count(self.connection, f"cells WHERE h{place}")
        ]
        return TableFile(
            body=self.body,
            connection=self.connection,
            columns=list(names.values()),
            ignored=ignored,
            rows=rows,
            blank=_count(self.connection, "cells WHERE blank"),
        )
