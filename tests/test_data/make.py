"""Make the three small files of this folder again: python tests/test_data/make.py"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from sqlalchemy import text

from src import simulator
from src.components.database.connection import connect
from src.components.database.schema import initialise
from src.components.ingestion.load import load_sensor_rows
from src.pipelines.predict_pipeline import predict
from src.pipelines.promote_pipeline import promote
from src.pipelines.train_pipeline import train
from src.settings import Settings, variables
from src.soft_sensor import load_soft_sensor

HERE = Path(__file__).resolve().parent
EXPERIMENTS, SECONDS, SEED = 14, 40, 2


def main() -> None:
    """Simulate, train, predict, and keep what a reader wants to see of it."""
    for name in variables():
        os.environ.pop(name, None)
    params = HERE.parents[1] / "params.yaml"
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)  # for root PostgreSQL runs as another user
        os.environ.update(IMPRESS_HOME=scratch, IMPRESS_PARAMS=str(params))
        dataset = Path(scratch) / "Dataset"
        simulator.simulate(dataset, EXPERIMENTS, SECONDS, SEED)
        shutil.copy(dataset / "sensors.csv", HERE / "synthetic_online.csv")
        shutil.copy(dataset / "lab.csv", HERE / "synthetic_offline.csv")
        spec = load_soft_sensor(params)
        train(Settings(), str(dataset), trials=1)
        promote(Settings())
        with connect(Settings(), create=True) as engine:
            initialise(engine, spec)
            load_sensor_rows(engine, spec, dataset / "sensors.csv")
            predict(Settings())
            order = ", ".join(spec.columns.keys)
            query = text(f"SELECT * FROM archived_data ORDER BY {order}")
            with engine.connect() as connection, open(
                HERE / "synthetic_archived_data.csv", "w", encoding="utf-8"
            ) as file:
                rows = connection.execute(query)
                file.write(spec.files.separator.join(rows.keys()) + "\n")
                for row in rows:
                    cells = ("" if value is None else str(value) for value in row)
                    file.write(spec.files.separator.join(cells) + "\n")


if __name__ == "__main__":
    main()
