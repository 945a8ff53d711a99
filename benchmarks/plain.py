"""The path that most people write: the whole table into a data frame, and away with it.

With the same statistics as ours, and as little else as possible: no lock, no check, no prediction.
"""

from __future__ import annotations

import os

import pandas as pd
from sqlalchemy import create_engine, text

SENSORS = {
    "truebung": (0, 1000),
    "druck1": (0, 10),
    "fluss1": (0, 10),
    "ph": (0, 14),
    "leitfaehigkeit": (0, 20000),
}


def percentile25(values: pd.Series) -> float:
    """Lower quartile."""
    return float(values.quantile(0.25))


def percentile75(values: pd.Series) -> float:
    """Upper quartile."""
    return float(values.quantile(0.75))


def main() -> None:
    """Read, aggregate, write, delete."""
    host, name = os.environ["DB_HOSTNAME"], os.environ["DB_NAME"]
    engine = create_engine(f"postgresql+psycopg2://postgres@/{name}?host={host}")
    with engine.begin() as connection:
        rows = pd.read_sql(text("SELECT * FROM online_data"), connection)
        rows = rows[~(rows["vorschlagsnummer"] < 0)]
        for spec, (low, high) in SENSORS.items():
            rows[spec] = rows[spec].where(rows[spec].between(low, high))
        grouped = rows.groupby(["experimentnummer", "waschen"])[list(SENSORS)]
        features = grouped.agg(["mean", "std", "median", percentile25, percentile75])
        features.columns = ["_".join(column) for column in features.columns]
        features.reset_index().to_sql("plain", connection, if_exists="append", index=False)
        connection.execute(text("DELETE FROM online_data"))


if __name__ == "__main__":
    main()
