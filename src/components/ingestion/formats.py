"""What a file is, and where its rows, lines and column names are."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from src.components.ingestion.cells import file_literal, literal
from src.errors import DataError
from src.soft_sensor import Dialect

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
class CsvBody:
    """A CSV file in UTF-8.

    Attributes:
        file: as the user named it.
        path: where its text is: itself, or a copy in another encoding.
        header: the names of the columns, empty where a separator ends the line.
        first_line: lines before the first row.
    """

    file: Path
    path: Path
    header: list[str]
    first_line: int
    dialect: Dialect
    section: str

    def source(self) -> str:
        """SQL: the rows, every cell as text, in columns c0, c1, ..."""
        types = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(self.header)))
        return f"""read_csv({file_literal(self.path)}, auto_detect = false, header = false,
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
class ParquetBody:
    """A Parquet file, whose cells become text that any column can be read from."""

    file: Path
    types: dict[str, str]

    @property
    def header(self) -> list[str]:
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
        return f"(SELECT {', '.join(cells)} FROM read_parquet({file_literal(self.file)}))"

    def place(self, row: int) -> str:
        """Where a row is."""
        return f"row {row + 1}"

    def explain(self, cause: str) -> DataError:
        """Why DuckDB could not read it."""
        return DataError(f"{self.file}: {cause}")


Body = CsvBody | ParquetBody


def open_body(file: Path, dialect: Dialect, section: str, scratch: Path) -> Body:
    """Find out what a file is.

    Args:
        section: where params.yaml describes the dialect, for messages.
        scratch: a folder for a copy in UTF-8.

    Raises:
        DataError: when it is not there, is none of these, or has no column names.
    """
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
    return CsvBody(file, path, header, first_line, dialect, section)


def _open_parquet(file: Path) -> ParquetBody:
    import duckdb

    with duckdb.connect() as connection:
        try:
            rows = connection.sql(f"FROM read_parquet({file_literal(file)})")
        except duckdb.InvalidInputException as error:
            raise DataError(f"{file} is not a Parquet file: {error}") from error
        return ParquetBody(file, dict(zip(rows.columns, map(str, rows.types))))


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
