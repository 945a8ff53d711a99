"""The one reader of tables that come from outside: CSV, also compressed, and Parquet.

Every cell is read as text in a fixed dialect and then typed by its column, so a file is good for
every command or for none, and a fault names its line and column.
"""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from src.components.ingestion.cells import (
    Column,
    Kind,
    at_fault,
    comparison,
    complaint,
    literal,
    present,
    repeated_hour,
    value_of,
)
from src.errors import DataError
from src.soft_sensor import Dialect

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

MAGIC = {
    b"PK\x03\x04": "is an Excel workbook or a ZIP archive: save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook: save the sheet as CSV",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd: compress it with gzip, or not at all",
    b"BZh": "is compressed with bzip2: compress it with gzip, or not at all",
    b"\xfd7zX": "is compressed with xz: compress it with gzip, or not at all",
}
GZIP, PARQUET = b"\x1f\x8b", b"PAR1"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class TableFile:
    """A table that was read and found right, as a DuckDB view `rows` in the order of the file.

    Beside the columns that were asked for, it has `impress_row`, the place of a row from 0.

    Attributes:
        columns: those of the columns asked for that the file has.
        ignored: names of the other columns that hold something.
        rows, blank: how many rows hold something, and how many do not.
    """

    file: Path
    connection: duckdb.DuckDBPyConnection
    columns: list[str]
    ignored: list[str]
    rows: int
    blank: int
    body: _Body

    def frame(self) -> pd.DataFrame:
        """All rows, in memory; the index is their place."""
        rows: pd.DataFrame = self.connection.sql("SELECT * FROM rows ORDER BY impress_row").df()
        return rows.set_index("impress_row")

    def place(self, row: int) -> str:
        """Where a row is in the file: `line 7`."""
        return self.body.place(row)


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
        body = _open(file, dialect, section, Path(scratch))
        header = body.names()
        chosen = _choose(file, header, columns)
        with _database(Path(scratch), dialect, section) as connection:
            _load(connection, body, header, chosen, dialect)
            yield _checked(connection, body, header, chosen, dialect, section)


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


@dataclass(frozen=True)
class _Csv:
    """A CSV file in UTF-8.

    Attributes:
        file: as the user named it.
        path: where its text is: itself, or a copy in another encoding.
        first_line: lines before the first row.
    """

    file: Path
    path: Path
    header: list[str]
    first_line: int
    dialect: Dialect
    section: str

    def names(self) -> list[str]:
        """The names of the columns, empty where a separator ends the line."""
        return self.header

    def source(self) -> str:
        """SQL: the rows, every cell as text, in columns c0, c1, ..."""
        types = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(self.header)))
        return f"""read_csv({literal(self.path)}, auto_detect = false, header = false,
            skip = {self.first_line}, delim = {literal(self.dialect.separator)}, quote = '"',
            escape = '"', strict_mode = true, null_padding = false, columns = {{{types}}})"""

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Line and cells of each row, as DuckDB counts them: an empty line is none."""
        with _text(self.path, "utf-8") as lines:
            reader = csv.reader(
                islice(lines, self.first_line, None), delimiter=self.dialect.separator, strict=True
            )
            line = self.first_line + 1
            try:
                for cells in reader:
                    if cells:
                        end = self.first_line + reader.line_num
                        line = end - sum(cell.count("\n") for cell in cells)
                        yield line, cells
                    line = self.first_line + reader.line_num + 1
            except csv.Error as error:
                raise DataError(
                    f"{self.file}, line {line}: the quotation marks of this row do not match "
                    f"({error})"
                ) from error
            except UnicodeDecodeError as error:
                raise _not_decodable(self.file, line, error, self.section) from error

    def place(self, row: int) -> str:
        """Where a row is."""
        line, _ = next(islice(self.records(), row, None))
        return f"line {line}"

    def explain(self, cause: str) -> DataError:
        """Why DuckDB could not cut the file into rows and cells."""
        width = len(self.header)
        for line, cells in self.records():
            count = len(cells) - (len(cells) == width + 1 and cells[-1] == "")
            if count != width:
                remedy = "the line is cut off" if count < width else "a cell holds a separator"
                return DataError(
                    f"{self.file}, line {line}: {count} cells where the header has {width}: "
                    f"{remedy}, or it is not a row; nothing was read"
                )
        with self.path.open("rb") as source:
            ends = [line.endswith(b"\r\n") for line in source if line.endswith(b"\n")]
        if len(set(ends)) > 1:
            line = ends.index(not ends[0]) + 1
            return DataError(
                f"{self.file}, line {line}: it does not end as the lines before (Windows and Unix "
                "line ends are mixed): save the file with one kind of them"
            )
        return DataError(f"{self.file}: {cause}")


@dataclass(frozen=True)
class _Parquet:
    """A Parquet file, whose cells become text that any column can be read from."""

    file: Path
    types: dict[str, str]

    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self.types)

    def source(self) -> str:
        """SQL: the rows, every cell as text, in columns c0, c1, ..."""
        cells = []
        for place, (name, kind) in enumerate(self.types.items()):
            cell = '"' + name.replace('"', '""') + '"'
            if kind == "FLOAT":
                cell = f"CAST({cell} AS DOUBLE)"
            elif kind == "BOOLEAN":
                cell = f"CAST({cell} AS INTEGER)"
            cells.append(f"CAST({cell} AS VARCHAR) AS c{place}")
        return f"(SELECT {', '.join(cells)} FROM read_parquet({literal(self.file)}))"

    def place(self, row: int) -> str:
        """Where a row is."""
        return f"row {row + 1}"

    def explain(self, cause: str) -> DataError:
        """Why DuckDB could not read it."""
        return DataError(f"{self.file}: {cause}")


_Body = _Csv | _Parquet


def _open(file: Path, dialect: Dialect, section: str, scratch: Path) -> _Body:
    """Find out what a file is."""
    if not file.is_file():
        raise DataError(f"{file} not found")
    with file.open("rb") as source:
        start = source.read(4)
    for magic, words in MAGIC.items():
        if start.startswith(magic):
            raise DataError(f"{file} {words}")
    if start == PARQUET or file.suffix.lower() == ".parquet":
        return _open_parquet(file)
    if start.startswith(UTF_16) and dialect.encoding == "utf-8":
        raise DataError(f"{file} is written in UTF-16: set {section}.encoding: utf-16")
    path = file
    if start.startswith(GZIP) or dialect.encoding != "utf-8":
        path = scratch / "table.csv"
        _copy_as_utf8(file, path, dialect, section)
    header, first_line = _read_header(file, path, dialect, section)
    return _Csv(file, path, header, first_line, dialect, section)


def _open_parquet(file: Path) -> _Parquet:
    import duckdb

    with duckdb.connect() as connection:
        try:
            rows = connection.read_parquet(str(file))
        except duckdb.InvalidInputException as error:
            raise DataError(f"{file} is not a Parquet file: {error}") from error
        return _Parquet(file, dict(zip(rows.columns, map(str, rows.types))))


@contextmanager
def _text(file: Path, encoding: str) -> Iterator[io.TextIOWrapper]:
    """The lines of a file, compressed or not, with their ends as they are."""
    with file.open("rb") as source:
        compressed = source.read(2) == GZIP
    if encoding == "utf-8":
        encoding = "utf-8-sig"
    with gzip.open(file) if compressed else file.open("rb") as stream:
        yield io.TextIOWrapper(stream, encoding=encoding, newline="")


def _copy_as_utf8(file: Path, copy: Path, dialect: Dialect, section: str) -> None:
    line = 0
    with _text(file, dialect.encoding) as source:
        try:
            with copy.open("w", encoding="utf-8", newline="") as target:
                for line, text in enumerate(source, 1):
                    target.write(text)
        except UnicodeError as error:
            raise _not_decodable(file, line + 1, error, section) from error
        except (EOFError, gzip.BadGzipFile) as error:
            raise DataError(f"{file} is cut off or damaged: {error}") from error


def _not_decodable(file: Path, line: int, error: UnicodeError, section: str) -> DataError:
    if isinstance(error, UnicodeDecodeError):
        line += error.object[: error.start].count(b"\n")
    return DataError(
        f"{file}, line {line}: not written in the encoding that params.yaml names ({error}): set "
        f"{section}.encoding, for example cp1252 or utf-16"
    )


def _read_header(file: Path, path: Path, dialect: Dialect, section: str) -> tuple[list[str], int]:
    """Names of the columns, and the number of lines before the first row."""
    with _text(path, "utf-8") as lines:
        try:
            skipped = len(list(islice(lines, dialect.skip_rows)))
            reader = csv.reader(lines, delimiter=dialect.separator, strict=True)
            names = next((cells for cells in reader if cells), [])
            if dialect.units_row:
                next(reader, [])
            is_over = not lines.readline()
        except UnicodeDecodeError as error:
            raise _not_decodable(file, 1, error, section) from error
        except csv.Error as error:
            raise DataError(f"{file}: its column names cannot be read: {error}") from error
    header = [name.strip() for name in names]
    if not any(header) or is_over:
        raise DataError(f"{file} is empty: it needs a line of column names and rows")
    if len(header) == 1:
        raise DataError(
            f"{file} is not separated by {dialect.separator!r}: its first line is "
            f"{header[0][:80]!r}. Set {section}.separator or {section}.skip_rows in params.yaml, "
            "or convert the file"
        )
    return header, skipped + reader.line_num


def _choose(file: Path, header: list[str], columns: Sequence[Column]) -> dict[int, Column]:
    """The columns asked for, by their place in the file.

    Raises:
        DataError: when one is there twice, or missing.
    """
    known = {column.name: column for column in columns}
    if doubled := sorted({name for name in header if name in known and header.count(name) > 1}):
        raise DataError(f"{file}: there is more than one column {', '.join(doubled)}: remove one")
    missing = [name for name, column in known.items() if name not in header and not column.optional]
    if missing:
        are_missing = "column {} is missing" if len(missing) == 1 else "columns {} are missing"
        there = ", ".join(name for name in header if name)
        raise DataError(f"{file}: {are_missing.format(', '.join(missing))}; it has {there}")
    return {place: known[name] for place, name in enumerate(header) if name in known}


def _load(
    connection: duckdb.DuckDBPyConnection,
    body: _Body,
    header: list[str],
    chosen: dict[int, Column],
    dialect: Dialect,
) -> None:
    """Read the file into a table `cells`: values, and of each row the first cell at fault.

    `fault` is the place of its column and `fault_text` its text; `blank` is whether the row holds
    nothing; `n<place>` whether a column without use holds something.
    """
    import duckdb

    if isinstance(body, _Parquet):
        dialect = dialect.model_copy(update={"decimal": ".", "thousands": None})
    cells = [f"c{place}" for place in range(len(header))]
    values, selected, faults = [], [], []
    for place, column in chosen.items():
        cell, typed_cell = cells[place], f"v{place}"
        values.append(f"{value_of(column, cell, dialect)} AS {typed_cell}")
        selected.append(f'{typed_cell} AS "{column.name}"')
        if column.kind == Kind.MEASURED:
            selected.append(f'{comparison(present(cell, dialect))} AS "{column.name}_censored"')
        faults.append(f"WHEN {at_fault(cell, typed_cell, dialect)} THEN {place}")
        if column.filled:
            faults.append(f"WHEN {typed_cell} IS NULL AND NOT blank THEN {place}")
    held = [f"v{place} IS NULL" for place, column in chosen.items() if column.filled]
    empty = " AND ".join(f"{present(cell, dialect)} IS NULL" for cell in cells)
    blank = f"CASE WHEN {' AND '.join(held) or 'true'} THEN {empty} ELSE false END"
    others = [place for place in range(len(header)) if place not in chosen]
    nameless = [place for place in others if not header[place]]
    faults += [
        f"WHEN {present(cells[place], dialect)} IS NOT NULL THEN {place}" for place in nameless
    ]
    selected += [f"{present(cells[place], dialect)} IS NOT NULL AS n{place}" for place in others]
    texts = " ".join(
        f"WHEN {place} THEN {present(cells[place], dialect)}" for place in [*chosen, *nameless]
    )
    statement = f"""
        CREATE TABLE cells AS
        SELECT {', '.join(selected)}, blank, fault, CASE fault {texts} END AS fault_text
        FROM (
          SELECT *, CASE {' '.join(faults)} END AS fault FROM (
            SELECT *, {blank} AS blank FROM (
              SELECT *, {', '.join(values)} FROM {body.source()} AS lines)))"""
    try:
        connection.execute(statement)
    except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
        cause = str(error).split("\n\n", maxsplit=1)[0].replace("\n", " ")
        raise body.explain(cause[:300]) from error


def _checked(
    connection: duckdb.DuckDBPyConnection,
    body: _Body,
    header: list[str],
    chosen: dict[int, Column],
    dialect: Dialect,
    section: str,
) -> TableFile:
    """Refuse the first fault of the table `cells`, and make the view of its rows."""
    first = connection.execute("""
        SELECT rowid, fault, fault_text FROM cells WHERE fault IS NOT NULL ORDER BY rowid LIMIT 1
        """).fetchone()
    if first is not None:
        row, place, text = first
        if place not in chosen:
            words = f": column {place + 1} has no name, but holds {text[:60]!r}: give it one"
        else:
            words = complaint(chosen[place], text, dialect, section)
        without_digits = text is None or not any(sign.isdigit() for sign in text)
        if row == 0 and without_digits and not dialect.units_row and isinstance(body, _Csv):
            words += f"; if this row holds units, set {section}.units_row: true"
        raise DataError(f"{body.file}, {body.place(row)}{words}; nothing was read")
    rows, blank = connection.execute("""
        SELECT count(*) FILTER (WHERE NOT blank), count(*) FILTER (WHERE blank) FROM cells
        """).fetchall()[0]
    if not rows:
        raise DataError(f"{body.file} is empty: it needs rows")
    ignored = [place for place, name in enumerate(header) if name and place not in chosen]
    held = [place for place in ignored if _any(connection, f"n{place}")]
    names = [
        name
        for column in chosen.values()
        for name in (column.name, f"{column.name}_censored")
        if name == column.name or column.kind == Kind.MEASURED
    ]
    quoted = ", ".join(f'"{name}"' for name in names)
    connection.execute(
        f"CREATE VIEW rows AS SELECT {quoted}, rowid AS impress_row FROM cells WHERE NOT blank"
    )
    return TableFile(
        file=body.file,
        connection=connection,
        columns=names,
        ignored=[header[place] for place in held],
        rows=rows,
        blank=blank,
        body=body,
    )


def _any(connection: duckdb.DuckDBPyConnection, condition: str) -> bool:
    found = connection.execute(f"SELECT count(*) FROM cells WHERE {condition}").fetchall()
    return bool(found[0][0])


def repeated_hours(table: TableFile, column: str, zone: str) -> int:
    """How many rows are stamped in an hour that the clocks of a zone show twice."""
    condition = repeated_hour(f'"{column}"', zone)
    found = table.connection.execute(f"SELECT count(*) FROM rows WHERE {condition}").fetchall()
    return int(found[0][0])
