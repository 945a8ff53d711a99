"""From a registered version to Production, through the gate; on a real MLflow server."""

from __future__ import annotations

import getpass
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from src.cli.commands import main
from src.components.predictor.bundle import Bundle
from src.components.registry.cache import fetch
from src.components.registry.production import history, production, promote, rollback
from src.components.registry.versions import Registry
from src.components.trainer import gate
from src.errors import NoModel
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.builders.training import made_from, phase_table


@pytest.fixture(name="registry")
def fixture_registry(mlflow: Path, home: Path) -> Registry:
    """A model of this test alone, which params.yaml names."""
    assert mlflow.is_dir()
    params = home / "params.yaml"
    content = params.read_text(encoding="utf-8")
    params.write_text(content.replace("name: laundry ", f"name: {home.name} "), encoding="utf-8")
    (home / "pages").mkdir()
    return Registry(Settings(), home.name)


@pytest.fixture(name="table", scope="module")
def fixture_table(spec: SoftSensor) -> pd.DataFrame:
    """80 experiments."""
    return phase_table(80, spec, noise=0.05)


@pytest.fixture(name="good", scope="module")
def fixture_good(table: pd.DataFrame, spec: SoftSensor) -> Bundle:
    """A bundle that has learned something."""
    return made_from(table, spec)


@pytest.fixture(name="bad", scope="module")
def fixture_bad(spec: SoftSensor) -> Bundle:
    """A bundle that has learned little, from noisy laboratory values of other experiments."""
    return made_from(phase_table(20, spec, seed=3, noise=0.1, first=200), spec)


def _register(registry: Registry, bundle: Bundle) -> str:
    return registry.log(bundle, {"mae": 0.5}, {}, Path("pages"))


def _promote(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["promote", *words])
    return result.exit_code, result.output


def _production(registry: Registry) -> str:
    version = production(registry)
    assert version is not None
    return version.number


def test_a_worse_model_stays_out_unless_somebody_insists_and_says_why(
    registry: Registry, good: Bundle, bad: Bundle
) -> None:
    _register(registry, good)
    assert _promote()[0] == 0
    _register(registry, bad)
    code, output = _promote()
    assert code == 1
    (line,) = [line for line in output.splitlines() if "ERROR" in line]
    assert "version 2 stays out: worse than version 1" in line and "--force" in line
    assert _production(registry) == "1"
    assert len(history(registry)) == 1

    assert _promote("2", "--force", "the old probe is gone")[0] == 0
    assert _production(registry) == "2"
    entry = history(registry)[-1]
    assert entry.event == "promoted" and entry.version == "2"
    assert entry.by == getpass.getuser()
    assert "because the old probe is gone; worse than version 1" in entry.why
    assert entry.at <= datetime.now(UTC)


def test_a_model_that_is_as_good_passes_and_the_journal_is_shown(
    registry: Registry, good: Bundle
) -> None:
    for _ in range(2):
        _register(registry, good)
        assert _promote()[0] == 0
    assert rollback(registry) == "1"
    events = [(entry.event, entry.version) for entry in history(registry)]
    assert events == [("promoted", "1"), ("promoted", "2"), ("rolled back", "1")]
    shown = CliRunner().invoke(main, ["models"]).output
    assert "version 1 rolled back" in shown and "from version 2" in shown
    assert "not worse than version 1" in shown


def test_after_a_change_by_other_means_rollback_goes_to_what_the_journal_knows(
    registry: Registry, good: Bundle
) -> None:
    for _ in range(3):
        _register(registry, good)
    for version in ("1", "2"):
        assert _promote(version)[0] == 0
    registry.client.set_registered_model_alias(registry.name, "Production", "3")
    assert rollback(registry) == "2"
    registry.client.set_registered_model_alias(registry.name, "Production", "1")
    with pytest.raises(NoModel, match="before the present one"):
        rollback(registry)


def test_what_was_rolled_back_from_stays_out_of_later_rollbacks(
    registry: Registry, good: Bundle
) -> None:
    for _ in range(4):
        _register(registry, good)
    for version in ("1", "2"):
        promote(registry, version, "good")
    registry.client.set_registered_model_alias(registry.name, "Production", "3")
    assert rollback(registry) == "2"
    promote(registry, "4", "good")
    assert rollback(registry) == "2", "it was Production before the fourth"


def test_a_production_version_that_is_lost_can_be_replaced_by_force(
    registry: Registry, good: Bundle, mlflow: Path
) -> None:
    _register(registry, good)
    assert _promote()[0] == 0
    _register(registry, good)
    (run,) = [v.run_id for v in registry.versions() if v.number == "1"]
    shutil.rmtree(next(mlflow.glob(f"*/{run}/artifacts/bundle")))
    shutil.rmtree(Settings().ml_downloads)
    code, output = _promote()
    assert code == 1 and "version 1" in output
    assert _promote("--force", "the store lost version 1")[0] == 0
    assert _production(registry) == "2"


def test_a_model_of_another_contract_is_not_promoted_by_force_either(
    registry: Registry, good: Bundle, home: Path
) -> None:
    _register(registry, good)
    params = home / "params.yaml"
    content = params.read_text(encoding="utf-8")
    params.write_text(content.replace("high: 14,", "high: 13,"))
    code, output = _promote("--force", "now")
    assert code == 1 and "has since redefined" in output
    assert production(registry) is None


def test_a_database_that_lacks_a_column_of_the_model_refuses_it(
    registry: Registry, good: Bundle, engine: Engine, spec: SoftSensor
) -> None:
    _register(registry, good)
    with engine.begin() as connection:
        connection.execute(text("DROP VIEW latest_predictions"))
        connection.execute(text("ALTER TABLE archived_data DROP COLUMN ph_std"))
    code, output = _promote()
    assert code == 1 and "archived_data lacks ph_std" in output and "impress init" in output
    assert production(registry) is None
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE archived_data, online_data"))
    gate.check_database(engine, spec)
    assert _promote()[0] == 0


def test_a_search_and_a_retraining_use_what_production_was_made_with(
    registry: Registry, small_dataset: Path, table: pd.DataFrame, spec: SoftSensor
) -> None:
    train = ["train", "--dataset", str(small_dataset), "--retrain"]
    refused = CliRunner().invoke(main, train)
    assert refused.exit_code == 1 and "train without --retrain" in refused.stderr

    params = {"extra_trees": {"n_estimators": 7, "max_features": 0.9}}
    _register(registry, made_from(table, spec, params))
    promote(registry, "1", "the first")
    assert CliRunner().invoke(main, train).exit_code == 0
    made = fetch(registry, "2").origin.params
    assert made["extra_trees"] == params["extra_trees"]
