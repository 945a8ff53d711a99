"""Units are whole experiments, and every worker cuts them in the same way."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.components.backfill.rows import Readable, Unreadable
from src.components.backfill.source import Source, SourceFile, find
from src.components.backfill.survey import FILE, N_ROWS, Survey, survey
from src.components.backfill.units import Share, Unit, for_model, plan
from src.components.predictor.bundle import Bundle
from src.components.predictor.scoring import Served
from src.soft_sensor import SoftSensor
from tests.builders import history

FILES = 4
# Rows by experiment and file.
HISTORIES = st.dictionaries(
    st.tuples(st.integers(-5, 30), st.integers(0, FILES - 1)), st.integers(1, 50), min_size=1
)
Rows = dict[tuple[int, int], int]


def _survey(rows: Rows, unreadable: tuple[Unreadable, ...] = ()) -> Survey:
    files = tuple(Readable(SourceFile(f"{n}", 1, "1"), f"{n}", ()) for n in range(FILES))
    counts = pd.DataFrame(
        [(experiment, file, count) for (experiment, file), count in sorted(rows.items())],
        columns=["experimentnummer", FILE, N_ROWS],
    )
    source = Source("history", cast(Any, None), tuple(each.file for each in files))
    return Survey(source, files, counts, unreadable, 0)


def _names(
    units: list[Unit], spec: SoftSensor, version: str = "1", cached: bool = False
) -> list[str]:
    bundle = SimpleNamespace(origin=SimpleNamespace(mlflow_run="run"))
    model = Served(cast(Bundle, bundle), version, cached)
    return [unit.name for unit in for_model(units, model, spec)]


@given(rows=HISTORIES, unit_rows=st.integers(1, 200))
def test_each_experiment_is_in_one_unit_with_all_of_its_files(
    spec: SoftSensor, rows: Rows, unit_rows: int
) -> None:
    units = plan(_survey(rows), spec, unit_rows)
    assert sum(unit.rows for unit in units) == sum(rows.values())
    assert [unit.first for unit in units] == sorted(cast(int, unit.first) for unit in units)
    for (experiment, file), _ in rows.items():
        (unit,) = [u for u in units if cast(int, u.first) <= experiment <= cast(int, u.last)]
        assert f"{file}" in {each.path for each in unit.files}
    sizes = Counter[int]()
    for (experiment, _), count in rows.items():
        sizes[experiment] += count
    assert all(unit.rows < unit_rows + max(sizes.values()) for unit in units)


@given(rows=HISTORIES, more=HISTORIES, unit_rows=st.integers(1, 200))
def test_later_experiments_do_not_move_earlier_cuts(
    spec: SoftSensor, rows: Rows, more: Rows, unit_rows: int
) -> None:
    before = plan(_survey(rows), spec, unit_rows)
    later = {(experiment + 100, file): count for (experiment, file), count in more.items()}
    after = plan(_survey({**rows, **later}), spec, unit_rows)
    assert _names(after, spec)[: len(before) - 1] == _names(before, spec)[:-1]


@given(count=st.integers(0, 40), of=st.integers(1, 12))
def test_shares_have_each_unit_once(count: int, of: int) -> None:
    units = [Unit(number, number, (), 1, ()) for number in range(count)]
    taken = [unit for number in range(1, of + 1) for unit in Share(number, of).take(units)]
    assert sorted(unit.first for unit in taken) == list(range(count))


def test_a_name_changes_with_the_model_the_definition_and_the_files(spec: SoftSensor) -> None:
    rows = {(1, 0): 10, (2, 0): 10, (2, 1): 10}
    units = plan(_survey(rows), spec, 10**6)
    names = {*_names(units, spec), *_names(units, spec, version="2")}
    names |= set(_names(units, spec, cached=True))
    sensor = spec.sensors[0].model_copy(update={"high": 999})
    names |= set(_names(units, spec.model_copy(update={"sensors": (sensor, *spec.sensors[1:])})))
    budget = spec.verdict.model_copy(update={"wrong_clean": 0.01})
    names |= set(_names(units, spec.model_copy(update={"verdict": budget})))
    gap = Unreadable("x", "cut", ("1",), 0, 1)
    names |= set(_names(plan(_survey(rows, (gap,)), spec, 10**6), spec))
    wider = spec.training.model_copy(update={"coverage": 0.95})
    names |= set(_names(units, spec.model_copy(update={"training": wider})))
    assert len(names) == 7
    wording = spec.wording.model_copy(update={"influences": "the weather"})
    weekly = spec.prediction.model_copy(update={"connections": 4, "retention_days": 7})
    for same in ({"wording": wording}, {"prediction": weekly}):
        assert _names(units, spec.model_copy(update=same))[0] in names


def test_a_name_changes_with_the_way_in_which_csv_is_read(spec: SoftSensor, tmp_path: Path) -> None:
    rows = history.Rows(spec).add(1, 1, 3)
    rows.to_csv(tmp_path / "1.csv", sep=spec.files.separator, index=False)
    marked = spec.files.model_copy(update={"missing": ("999",)})
    names = set()
    for each in (spec, spec.model_copy(update={"files": marked})):
        found = survey(find(str(tmp_path / "1.csv")), each, tmp_path / "converted")
        names |= set(_names(plan(found, each, 10), each))
    assert len(names) == 2


def test_a_gap_concerns_the_units_whose_files_are_beside_it(spec: SoftSensor) -> None:
    rows = {(1, 0): 10, (2, 1): 10, (3, 2): 10, (4, 3): 10}
    gap = Unreadable("1b", "cut", ("1", "2"), 0, 1)
    units = plan(_survey(rows, (gap,)), spec, 10)
    assert [bool(unit.gaps) for unit in units] == [False, True, True, False]


@pytest.mark.parametrize("only", [{2}, {1, 4}])
def test_only_some_experiments(spec: SoftSensor, only: set[int]) -> None:
    rows = {(1, 0): 10, (2, 1): 10, (3, 2): 10, (4, 3): 10}
    units = plan(_survey(rows), spec, 10**6, only=only)
    assert [unit.only for unit in units] == [tuple(sorted(only))]
    assert units[0].rows == 10 * len(only)
