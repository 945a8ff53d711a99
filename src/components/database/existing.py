"""Tables as they are in the database, and the SQL between their types and the declared ones.

Whoever filled `online_data` before us has chosen its types. Every statement that reads or writes
its rows takes the expressions from here, so a column means the same in all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Double,
    RowMapping,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from src.components.database.tables import CONVERTED, UNIX_SECONDS

_SQL_TYPES: dict[type, str] = {
    BigInteger: "bigint",
    Double: "double precision",
    Text: "text",
    DateTime: "timestamp with time zone",
    JSONB: "jsonb",
}

# A value beyond the range of double precision would be an error, which stops the whole query.
_NUMERIC_TO_DOUBLE = """CASE
    WHEN abs({0}) BETWEEN 1e-300 AND 1e300 THEN CAST({0} AS double precision)
    WHEN abs({0}) < 1e-300 THEN 0
    WHEN {0} = 'NaN' THEN 'NaN'
    WHEN {0} > 0 THEN 'Infinity'
    WHEN {0} < 0 THEN '-Infinity' END"""
# A key is a whole number or counts as empty: rounding would mix two experiments.
_NUMERIC_TO_BIGINT = """CASE
    WHEN {0} = trunc({0}) AND {0} BETWEEN -9223372036854775808 AND 9223372036854775807
    THEN CAST({0} AS bigint) END"""
_TO_DOUBLE = "CAST({0} AS double precision)"
_TO_TEXT = "CAST({0} AS text)"  # of char(n) without the blanks that pad it

_NUMBERS = {
    "double precision": "{0}",
    "numeric": _NUMERIC_TO_DOUBLE,
    **dict.fromkeys(("smallint", "integer", "bigint"), _TO_DOUBLE),
}
# By declared type and type found, SQL that turns the column {0} into what is declared.
_READ = {
    "bigint": {
        **dict.fromkeys(("smallint", "integer", "bigint"), "{0}"),
        "numeric": _NUMERIC_TO_BIGINT,
        "boolean": "CAST({0} AS integer)",
    },
    "double precision": {
        **_NUMBERS,
        "real": _TO_DOUBLE,
        "boolean": "CAST(CAST({0} AS integer) AS double precision)",
    },
    # REAL has too few digits. A time stamp without a time zone is taken for UTC.
    UNIX_SECONDS: {
        **_NUMBERS,
        "timestamp with time zone": "date_part('epoch', {0})",
        "timestamp without time zone": "date_part('epoch', {0})",
    },
    "text": {
        "text": "{0}",
        **dict.fromkeys(("character varying", "character", "citext", "enum", "uuid"), _TO_TEXT),
    },
}
# By type found, SQL that turns a value {0} of the declared type into the column's type {1}, where
# an assignment alone does not.
_WRITE = {
    "boolean": "CAST(CAST({0} AS integer) AS boolean)",
    "timestamp with time zone": "to_timestamp({0})",
    "timestamp without time zone": "to_timestamp({0}) AT TIME ZONE 'UTC'",
    "enum": "CAST({0} AS {1})",
    "uuid": "CAST({0} AS {1})",
}
# The same for tables that nobody but IMPRESS fills: types that need no conversion.
_NATIVE = {
    "bigint": {"smallint", "integer", "bigint"},
    "double precision": {"double precision", "numeric", "real"},
    UNIX_SECONDS: {"double precision", "numeric"},
    "text": {"text", "character varying"},
    "timestamp with time zone": {"timestamp with time zone", "timestamp without time zone"},
    "jsonb": {"jsonb"},
}

# A database without an encoding (SQL_ASCII) holds whatever bytes its writers sent: what is not
# UTF-8, of which this pattern is the definition (RFC 3629, section 4) in hexadecimal digits, is
# taken for Latin-1.
_UTF8 = "|".join(
    (
        "[0-7].",
        "(c[2-9a-f]|d.)[89ab].",
        "(e0[ab].|ed[89].|e[1-9a-cef][89ab].)[89ab].",
        "(f0[9ab].|f48.|f[1-3][89ab].)[89ab].[89ab].",
    )
)
_WITHOUT_ENCODING = f"""CASE
    WHEN encode(convert_to({{0}}, 'SQL_ASCII'), 'hex') ~ '^({_UTF8})*$' THEN {{0}}
    ELSE convert_from(convert(convert_to({{0}}, 'SQL_ASCII'), 'LATIN1', 'UTF8'), 'SQL_ASCII') END"""

_FIND = """
    SELECT c.relname, c.relkind, pg_relation_is_updatable(c.oid, false) AS updatable,
           current_setting('server_encoding') AS encoding, a.attname,
           CASE WHEN beneath.typtype = 'e' THEN 'enum' ELSE format_type(beneath.oid, NULL) END
             AS kind,
           format_type(a.atttypid, a.atttypmod) AS type, a.attgenerated <> '' AS generated,
           a.atthasdef OR a.attidentity <> '' AS filled
    FROM unnest(CAST(:names AS text[])) AS name
    JOIN pg_class AS c ON c.oid = to_regclass(quote_ident(name))
    LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_type AS t ON t.oid = a.atttypid
    LEFT JOIN pg_type AS beneath
      ON beneath.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END"""

_COLUMN = ("kind", "type", "generated", "filled")
_INSERT_AND_DELETE = 8 + 16  # bits of pg_relation_is_updatable


@dataclass(frozen=True)
class ExistingColumn:
    """A column as it is.

    Attributes:
        kind: its type without length or precision; of a domain the type beneath it; "enum" for
            every enumeration.
        type: its type as it was declared.
        generated: whether it is computed from other columns.
        filled: whether it has a default.
    """

    kind: str
    type: str
    generated: bool
    filled: bool


@dataclass(frozen=True)
class Existing:
    """A table as it is in the database.

    Attributes:
        table: as it should be.
        relation: letter of its kind in pg_class.relkind; None when nothing has its name.
        changeable: whether rows can be inserted and deleted.
        encoded: whether the database has an encoding.
        columns: by name.
    """

    table: Table
    relation: str | None = None
    changeable: bool = True
    encoded: bool = True
    columns: dict[str, ExistingColumn] = field(default_factory=dict)

    @property
    def is_table(self) -> bool:
        """Whether it holds rows itself, here or in its partitions."""
        return self.relation in ("r", "p")

    @property
    def is_partitioned(self) -> bool:
        """Whether its partitions hold its rows."""
        return self.relation == "p"

    @property
    def is_foreign(self) -> bool:
        """Whether another server holds its rows."""
        return self.relation == "f"

    def lacking(self) -> list[Column[Any]]:
        """The declared columns that it does not have."""
        return [column for column in self.table.columns if column.name not in self.columns]

    def misspelt(self, column: Column[Any]) -> str | None:
        """The name of a column that is there if it is the declared one but for capital letters."""
        if column.name in self.columns:
            return None
        alike = (name for name in self.columns if name.lower() == column.name.lower())
        return next(alike, None)

    def fits(self, column: Column[Any]) -> bool:
        """Whether a column that is there can hold what is declared."""
        wanted = _declared(column)
        kinds = _READ[wanted] if column.info.get(CONVERTED) else _NATIVE[wanted]
        return self.columns[column.name].kind in kinds

    def read(self, name: str, alias: str = "") -> str:
        """SQL of a column's value in its declared type.

        A column that is missing is read by its name, so that PostgreSQL names it.
        """
        quoted = f'{alias}."{name}"' if alias else f'"{name}"'
        if name not in self.columns:
            return quoted
        wanted, column = _declared(self.table.c[name]), self.columns[name]
        value = _READ[wanted][column.kind].format(quoted)
        return value if self.encoded or wanted != "text" else _WITHOUT_ENCODING.format(value)

    def write(self, name: str) -> str:
        """SQL of what is assigned to a column: the value of its declared type, named as it is."""
        if name not in self.columns:
            return f'"{name}"'
        column = self.columns[name]
        return _WRITE.get(column.kind, "{0}").format(f'"{name}"', column.type)


def find(connection: Connection, tables: Iterable[Table]) -> list[Existing]:
    """Tables as they are where the session looks for their names, one for each that is declared."""
    declared = list(tables)
    names = {"names": [table.name for table in declared]}
    rows = connection.execute(text(_FIND), names).mappings().all()
    return [
        _existing(table, [row for row in rows if row["relname"] == table.name])
        for table in declared
    ]


def _existing(table: Table, rows: Sequence[RowMapping]) -> Existing:
    """A table as it is, from a row for each column; one without columns has one row, too."""
    if not rows:
        return Existing(table)
    columns = {}
    for row in rows:
        if row["attname"] is not None:
            columns[row["attname"]] = ExistingColumn(**{name: row[name] for name in _COLUMN})
    return Existing(
        table,
        relation=rows[0]["relkind"],
        changeable=rows[0]["updatable"] & _INSERT_AND_DELETE == _INSERT_AND_DELETE,
        encoded=rows[0]["encoding"] != "SQL_ASCII",
        columns=columns,
    )


def sql_type(column: Column[Any]) -> str:
    """The declared type of a column as PostgreSQL writes it."""
    return _SQL_TYPES[type(column.type)]


def _declared(column: Column[Any]) -> str:
    """What a column is declared to hold: a type, or Unix seconds."""
    return UNIX_SECONDS if column.info.get(UNIX_SECONDS) else sql_type(column)
