"""Laboratory files with <5 and >1000, from the file to the model card and the monthly report."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine

from src.components.backfill.training import DataSet
from src.components.database.tables import tables
from src.components.ingestion import data_set, laboratory
from src.components.ingestion.analysed import analysed
from src.components.trainer import fitting
from src.components.trainer.evaluation import metrics
from src.components.trainer.model_card import weaknesses
from src.pipelines.train_pipeline import prepare
from src.soft_sensor import SoftSensor
from tests.builders.training import FOREST

NONIONIC, LIMIT = "nichtionischentenside", "1.05"


@pytest.fixture(name="folder")
def fixture_folder(small_dataset: Path, tmp_path: Path) -> Path:
    """A data set whose laboratory says `<1.05` where the simulator's assay ends."""
    folder = shutil.copytree(small_dataset, tmp_path / "limits")
    file = folder / "lab.csv"
    content = file.read_text(encoding="utf-8")
    limited = re.sub(rf";{re.escape(LIMIT)}(?=[;\n])", f";< {LIMIT}", content)
    assert limited.count("<") > 10
    file.write_text(limited, encoding="utf-8")
    return folder


def test_they_are_counted_learned_and_named_in_the_card(folder: Path, spec: SoftSensor) -> None:
    table, account = prepare(DataSet(folder), spec)
    target = spec.target(NONIONIC)
    limited = table[target.censored] == "<"
    assert limited.any() and (table.loc[limited, NONIONIC] == float(LIMIT)).all()
    (line,) = [line for line in account.lines() if "below detection" in line]
    assert f"values of {NONIONIC} are below detection, rule `half`" in line

    bundle = fitting.assemble(table, FOREST, spec)
    figures = metrics(bundle.out_of_fold(spec), bundle.labels(spec), spec)
    card = "\n".join(weaknesses(bundle, figures, spec))
    assert f"values of {NONIONIC} are below detection" in card


def test_the_report_reads_them_from_the_database(
    engine: Engine, folder: Path, spec: SoftSensor
) -> None:
    laboratory.load(engine, spec, folder / spec.files.laboratory)
    described = tables(spec)
    target = spec.target(NONIONIC)
    with engine.connect() as connection:
        stored = pd.read_sql(described.laboratory.select(), connection)
    limited = stored[stored[target.censored] == "<"]
    assert len(limited) > 10 and (limited[NONIONIC] == float(LIMIT)).all()

    features = data_set.read_features(folder, spec)
    ledger = features[[*spec.columns.keys, "n_samples", "last_timestamp", *spec.features]]
    now = pd.Timestamp.now("UTC")
    rows = ledger.assign(predicted_at=now, model_version="1", flags="", verdict="")
    rows.to_sql(described.archived.name, engine, if_exists="append", index=False)
    with engine.connect() as connection:
        measured = analysed(connection, spec, pd.Timestamp.now("UTC"))
    phases = measured[measured[target.censored] == "<"]
    assert len(phases) > 3 and (phases[target.measured] == float(LIMIT)).all()
