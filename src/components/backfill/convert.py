"""CSV files of a history as Parquet, read by the rules of `impress load`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from src.components.backfill.source import Source, SourceFile
from src.components.ingestion import table_file
from src.components.ingestion.cells import literal
from src.components.ingestion.data_set import sensor_columns
from src.soft_sensor import SoftSensor


def as_parquet(file: SourceFile, source: Source, spec: SoftSensor, folder: Path) -> Path:
    """The rows of a CSV file, whose every line was checked; converted once for each content.

    Raises:
        DataError: naming the line and the column that is wrong.
    """
    converted = folder / f"{file.digest}.parquet"
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
