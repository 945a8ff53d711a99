"""CSV files of a history as Parquet, read by the rules of `impress load`."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from src.components.backfill.source import Source, SourceFile
from src.components.ingestion import table_file
from src.components.ingestion.cells import literal
from src.components.ingestion.data_set import sensor_columns
from src.soft_sensor import SoftSensor


def without_rig(spec: SoftSensor) -> SoftSensor:
    """For files that we have written: their experiments are RIG/EXPERIMENT already."""
    columns = spec.columns.model_copy(update={"rig": None})
    return spec.model_copy(update={"columns": columns})


def as_parquet(file: SourceFile, source: Source, spec: SoftSensor, folder: Path) -> Path:
    """The rows of a CSV file, whose every line was checked.

    It is converted once for each content and for each way in which params.yaml reads it.

    Raises:
        DataError: naming the line and the column that is wrong.
    """
    read_as = spec.model_dump_json(include={"columns": True, "files": True, "phases": True})
    columns = " ".join(spec.required_columns)
    name = hashlib.sha256(f"{file.digest} {read_as} {columns}".encode()).hexdigest()
    converted = folder / f"{name}.parquet"
    if converted.is_file():
        return converted
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        local = Path(file.path)
        if source.is_remote:
            local = Path(scratch) / local.name
            source.filesystem.get_file(file.path, str(local))
        part = Path(scratch) / "rows.parquet"
        names = ", ".join(f'"{name}"' for name in spec.required_columns)
        with table_file.read(local, sensor_columns(spec), spec.files.of_sensors) as table:
            table.connection.execute(
                f"COPY (SELECT {names} FROM rows ORDER BY impress_row) TO {literal(part)} "
                "(FORMAT parquet, COMPRESSION zstd)"
            )
        os.replace(part, converted)
    return converted
