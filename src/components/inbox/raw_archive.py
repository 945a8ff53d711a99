"""Raw rows as Parquet, one file a phase, in a folder or on S3."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from src.components.database.connection import run_copy
from src.components.inbox.states import Inbox
from src.files import S3, in_file_name, put, s3_store

if TYPE_CHECKING:
    import pyarrow as pa


def store(inbox: Inbox, rows: str, root: str) -> int:
    """Write the rows of a batch of phases, a file each; returns how many rows there are.

    A file is named after its phase and a hash of its content, which includes the whole phase even
    if the name is too long for a file, and appears whole or not at all, so a
    repetition after a kill writes the same file again.

    Args:
        rows: what follows "FROM online_data AS t," in SQL: which rows.
        root: an absolute folder, or s3://bucket/prefix, as the settings have checked it.
            Credentials for S3 are found as AWS's SDKs do.
    """
    import pyarrow as pa
    from pyarrow import compute, parquet

    table = _read(inbox, rows)
    if not table.num_rows:
        return 0
    keys = inbox.spec.columns.keys
    for phase in table.group_by(keys).aggregate([]).to_pylist():
        first, second = (compute.field(key) == phase[key] for key in keys)
        sink = pa.BufferOutputStream()
        parquet.write_table(table.filter(first & second), sink, compression="zstd")
        content = sink.getvalue().to_pybytes()
        digest = hashlib.sha256(content).hexdigest()[:16]
        name = "-".join(in_file_name(str(phase[key])) for key in keys)
        put(root, f"{name}-{digest}.parquet", content, private=True)
    return int(table.num_rows)


def check(root: str) -> None:
    """Write a file and remove it, as `store` would write."""
    name = f"check-{uuid4().hex}"
    put(root, name, b"", private=True)
    if root.startswith(S3):
        store_at_s3, prefix = s3_store(root)
        store_at_s3.delete_file(f"{prefix}/{name}")
        return
    (Path(root) / name).unlink()


def _read(inbox: Inbox, rows: str) -> pa.Table:
    """The rows in one fixed order, so that the same rows make the same file."""
    import pyarrow as pa
    from pyarrow import csv

    columns = inbox.spec.columns.online
    values = ", ".join(inbox.online.read(name, "t") for name in columns)
    order = ", ".join(str(place + 1) for place in range(len(columns)))
    query = f'SELECT {values} FROM "{inbox.names.online.name}" AS t, {rows} ORDER BY {order}'
    lines = io.BytesIO()
    run_copy(inbox.connection, f"COPY ({query}) TO STDOUT (FORMAT csv)", lines)
    if not lines.getvalue():
        return pa.table({})
    arrow_types = {int: pa.int64(), str: pa.string()}
    types = dict.fromkeys(columns, pa.float64())
    types |= {key: arrow_types[kind] for key, kind in inbox.spec.key_types.items()}
    return csv.read_csv(
        io.BytesIO(lines.getvalue()),
        csv.ReadOptions(column_names=list(columns)),
        csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
