"""Versions on a real MLflow server: trained, promoted, rolled back, fetched, and tampered with."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine

from src.components.ingestion import dvc_data
from src.components.predictor.bundle import Bundle
from src.components.registry import bundle_files, signing
from src.components.registry.bundle_files import MANIFEST
from src.components.registry.cache import fetch_production
from src.components.registry.production import history, production, promote, rollback
from src.components.registry.versions import Registry
from src.errors import BundleRefused, NoModel, RegistryFault, VersionLost
from src.pipelines.predict_pipeline import predict
from src.settings import Settings

Publish = Callable[..., str]


@pytest.fixture(name="laundry")
def fixture_laundry(mlflow: Path) -> Registry:
    """The model whose version 1 was trained and promoted."""
    assert mlflow.is_dir()
    return Registry(Settings(), "laundry")


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(trained: Path) -> Bundle:
    """The trained bundle."""
    first = min(trained.glob("*/*/artifacts/bundle"), key=lambda folder: folder.stat().st_mtime)
    return bundle_files.load(first)


@pytest.fixture(name="registry")
def fixture_registry(mlflow: Path, tmp_path: Path) -> Registry:
    """A model of this test alone, without versions yet."""
    assert mlflow.is_dir()
    return Registry(Settings(), tmp_path.name)


@pytest.fixture(name="publish")
def fixture_publish(registry: Registry, bundle: Bundle, tmp_path: Path) -> Publish:
    """Register one more version of this test's model, as this or another client of the registry."""
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "page.html").write_text("<p>", encoding="utf-8")
    return lambda by=registry: by.log(bundle, {"mae": 0.5}, {}, tmp_path / "pages")


@pytest.fixture(name="cached")
def fixture_cached(registry: Registry, publish: Publish) -> Path:
    """The cached bundle of this test's model, whose version 1 is Production."""
    promote(registry, publish(), "good")
    fetch_production(registry)
    return Settings().ml_downloads / f"{registry.name}-1"


@pytest.fixture(name="down")
def fixture_down(
    closed_port: int, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Registry]:
    """Let the server be down from a call on: the same model, asked for at a closed port."""

    def go_down() -> Registry:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
        return Registry(Settings(), registry.name)

    return go_down


def refusal(call: Callable[[], object], error: type[Exception] = NoModel) -> str:
    """The one line that an error says."""
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def served(registry: Registry) -> tuple[str, bool]:
    """Which version serves, and whether it is the cached one."""
    model = fetch_production(registry)
    return model.version, model.cached


def tries_again(caplog: pytest.LogCaptureFixture) -> int:
    """How often a server that did not answer was asked again: by MLflow's default for minutes."""
    return sum(record.getMessage().startswith("Retrying (") for record in caplog.records)


def change_a_byte(file: Path) -> None:
    """Flip the lowest bit of a file's last byte."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def stored_bundle(mlflow: Path, registry: Registry) -> Path:
    """The only version's bundle in the server's artifact store."""
    (version,) = registry.versions()
    return next(mlflow.glob(f"*/{version.run_id}/artifacts/bundle"))


def test_a_run_holds_everything_that_came_out_of_it(laundry: Registry, small_dataset: Path) -> None:
    version = production(laundry)
    assert version is not None
    run = laundry.client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["oberflaechenspannung_all_mae"] > 0
    assert laundry.run_metrics(version) == run.data.metrics
    assert int(run.data.params["random_forest_max_depth"]) >= 3
    assert run.data.tags["data_version"] == dvc_data.version(small_dataset)
    assert run.data.tags["code_version"]
    pages = {
        f.path: f.file_size for f in laundry.client.list_artifacts(run.info.run_id, "evaluation")
    }
    assert pages.keys() >= {
        "evaluation/importance.png",
        "evaluation/model_card.md",
        "evaluation/shapley_rinsing.png",
        "evaluation/predicted_against_measured.png",
        "evaluation/regression.html",
        "evaluation/metrics.csv",
    }
    assert all(size for size in pages.values())


def test_a_version_says_where_it_comes_from(
    laundry: Registry, mlflow: Path, small_dataset: Path
) -> None:
    (version,) = laundry.versions()
    manifest = stored_bundle(mlflow, laundry) / MANIFEST
    assert version.tags["data_version"] == dvc_data.version(small_dataset)
    assert version.tags["code_version"]
    assert version.tags["bundle_sha256"] == sha256(manifest.read_bytes()).hexdigest()


def test_the_promoted_version_predicts_the_inbox_and_goes_on_while_the_server_is_down(
    laundry: Registry,
    inbox: Engine,
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert production(laundry) is not None
    first = predict(Settings())
    assert first and first.phases > 40 and first.rejected == 0
    fresh = pd.read_sql("SELECT * FROM archived_data ORDER BY 1, 2", inbox)
    assert set(fresh["model_version"]) == {"1"}
    assert not fresh["flags"].str.contains("cached_model").any()

    with inbox.begin() as connection:
        connection.exec_driver_sql("DELETE FROM archived_data")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
    caplog.clear()
    predict(Settings())
    assert tries_again(caplog) == 2
    assert "does not answer; version 1 from" in caplog.text
    cached = pd.read_sql("SELECT * FROM archived_data ORDER BY 1, 2", inbox)
    assert cached["flags"].str.contains("cached_model").all()
    same = ["experimentnummer", "waschen", "oberflaechenspannung", "model_version"]
    pd.testing.assert_frame_equal(cached[same], fresh[same])


def test_an_unknown_version_is_named_with_those_that_exist(
    registry: Registry, publish: Publish
) -> None:
    assert "impress train" in refusal(registry.existing)
    publish()
    assert registry.existing() == registry.existing("1") == "1"
    assert "it has 1" in refusal(lambda: registry.existing("7"))


def test_without_production_the_way_to_it_is_told(registry: Registry, publish: Publish) -> None:
    assert "impress promote" in refusal(lambda: fetch_production(registry))
    publish()
    assert production(registry) is None
    assert "impress promote" in refusal(lambda: fetch_production(registry))
    assert "before the present one" in refusal(lambda: rollback(registry))


def test_the_next_prediction_uses_what_was_promoted(
    registry: Registry, publish: Publish, cached: Path
) -> None:
    assert cached.is_dir()
    newest = publish()
    assert registry.existing() == newest == "2"
    assert served(registry) == ("1", False)
    promote(registry, newest, "good")
    assert served(registry) == ("2", False)


def test_rollbacks_go_back_one_by_one(registry: Registry, publish: Publish) -> None:
    for _ in range(3):
        promote(registry, publish(), "good")
    assert rollback(registry) == "2"
    assert fetch_production(registry).version == "2"
    assert rollback(registry) == "1"
    assert fetch_production(registry).version == "1"
    assert "before the present one" in refusal(lambda: rollback(registry))
    assert fetch_production(registry).version == "1"


def test_no_rollback_returns_to_what_was_rolled_back(registry: Registry, publish: Publish) -> None:
    for _ in range(4):
        publish()
    for version in ("1", "2", "3"):
        promote(registry, version, "good")
    assert rollback(registry) == "2"
    promote(registry, "4", "good")
    assert rollback(registry) == "2"
    assert rollback(registry) == "1"


def test_without_server_and_cache_there_is_no_model(
    down: Callable[[], Registry], caplog: pytest.LogCaptureFixture
) -> None:
    line = refusal(lambda: fetch_production(down()))
    assert tries_again(caplog) == 2
    assert "does not answer" in line and Settings().registry_uri in line


def test_a_damaged_cache_is_refused_while_the_server_is_down(
    cached: Path, down: Callable[[], Registry]
) -> None:
    change_a_byte(cached / "reference.csv")
    assert "reference.csv" in refusal(lambda: fetch_production(down()), BundleRefused)


@pytest.mark.parametrize("name", ["reference.csv", MANIFEST])
def test_a_damaged_cache_is_fetched_again_while_the_server_is_up(
    name: str, registry: Registry, cached: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = (cached / name).read_bytes()
    change_a_byte(cached / name)
    assert served(registry) == ("1", False)
    assert (cached / name).read_bytes() == good
    assert "fetching it again" in caplog.text


def test_a_bundle_changed_in_the_store_is_refused(
    mlflow: Path, registry: Registry, cached: Path
) -> None:
    shutil.rmtree(cached)
    change_a_byte(stored_bundle(mlflow, registry) / "members.npz")
    assert "members.npz" in refusal(lambda: fetch_production(registry), BundleRefused)
    assert not cached.exists()


def test_a_bundle_changed_in_the_store_with_its_manifest_is_refused(
    mlflow: Path, registry: Registry, cached: Path
) -> None:
    shutil.rmtree(cached)
    folder = stored_bundle(mlflow, registry)
    contract = folder / "contract.json"
    contract.write_text(contract.read_text().replace("weights", "weights "))
    hashes = json.loads((folder / MANIFEST).read_text())
    hashes[contract.name] = sha256(contract.read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(hashes))
    assert "not the one that was registered" in refusal(
        lambda: fetch_production(registry), BundleRefused
    )


def test_a_bundle_lost_from_the_store_leaves_the_cached_one_to_serve(
    mlflow: Path, registry: Registry, publish: Publish, cached: Path
) -> None:
    lost = publish()
    promote(registry, lost, "good")
    (run,) = [v.run_id for v in registry.versions() if v.number == lost]
    shutil.rmtree(next(mlflow.glob(f"*/{run}/artifacts/bundle")))
    assert served(registry) == ("1", True)
    shutil.rmtree(cached.parent)
    line = refusal(lambda: fetch_production(registry))
    assert "version 2" in line and "holds no bundle" in line


def test_a_version_that_was_registered_by_other_means_is_refused(
    registry: Registry, publish: Publish
) -> None:
    publish()
    (own,) = registry.versions()
    registry.client.create_model_version(registry.name, source=own.source, run_id=own.run_id)
    promote(registry, "2", "good")
    assert "impress train" in refusal(lambda: fetch_production(registry), BundleRefused)


def test_a_wrong_login_is_named_and_the_password_not_told(
    guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", guarded)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "impress")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "an0ther-w0rd")
    line = refusal(lambda: fetch_production(Registry(Settings(), "laundry")), RegistryFault)
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in line
    assert "an0ther-w0rd" not in line


def test_a_rollback_leaves_out_a_version_that_was_deleted(
    registry: Registry, publish: Publish
) -> None:
    for _ in range(3):
        promote(registry, publish(), "good")
    registry.client.delete_model_version(registry.name, "2")
    assert rollback(registry) == "1"
    assert [change.event for change in history(registry)] == 3 * ["promoted"] + ["rolled back"]


def test_a_failed_rollback_leaves_no_trace(registry: Registry, publish: Publish) -> None:
    for _ in range(2):
        promote(registry, publish(), "good")
    registry.client.delete_model_version(registry.name, "1")
    before = history(registry)
    assert "still exists" in refusal(lambda: rollback(registry))
    assert history(registry) == before
    assert served(registry) == ("2", False)


def test_the_cached_model_serves_while_production_is_a_version_that_is_gone(
    mlflow: Path, registry: Registry, publish: Publish, cached: Path
) -> None:
    assert cached.is_dir()
    promote(registry, publish(), "good")
    with closing(sqlite3.connect(mlflow.parent / "mlflow.db")) as database:
        for table in ("model_version_tags", "model_versions"):
            database.execute(f"DELETE FROM {table} WHERE name = ? AND version = 2", [registry.name])
        database.commit()
    with pytest.raises(VersionLost, match="no longer has"):
        production(registry)
    assert served(registry) == ("1", True)
    promote(registry, "1", "the other one is gone")
    assert served(registry) == ("1", False)


def test_a_signed_version_serves_those_who_trust_its_key(
    registry: Registry,
    publish: Publish,
    down: Callable[[], Registry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    promote(registry, publish(), "good")
    private, public = signing.make_pair()
    monkeypatch.setenv("MODEL_TRUSTED_KEYS", public)
    careful = Registry(Settings(), registry.name)
    assert "is not signed" in refusal(lambda: fetch_production(careful), BundleRefused)

    monkeypatch.setenv("MODEL_SIGNING_KEY", private)
    signed = publish(Registry(Settings(), registry.name))
    assert signing.signer_shown(registry.name, registry.version(signed).tags) == public[:12]
    promote(registry, signed, "signed")
    assert served(careful) == (signed, False)

    monkeypatch.setenv("MODEL_TRUSTED_KEYS", signing.make_pair()[1])
    elsewhere = Registry(Settings(), registry.name)
    assert "is signed by" in refusal(lambda: fetch_production(elsewhere), BundleRefused)
    cached = down()
    assert "is signed by" in refusal(lambda: fetch_production(cached), BundleRefused)
    monkeypatch.setenv("MODEL_TRUSTED_KEYS", public)
    assert served(down()) == (signed, True)


PYFUNC = """
import sys
from pathlib import Path
import mlflow
import pandas as pd
from src.components.registry import bundle_files
features = pd.read_json(sys.argv[2], orient="split")
features = features.astype(dict.fromkeys(features.columns[2:], float))
model = mlflow.pyfunc.load_model(sys.argv[1])
own = bundle_files.load(Path(sys.argv[3]))
expected = own.predict(features, own.spec)
pd.testing.assert_frame_equal(model.predict(features)[expected.columns], expected)
names, units = model.metadata.signature.inputs.input_names(), model.metadata.metadata["units"]
print(names[:2], units["leitfaehigkeit_mean"])
"""


def test_a_version_is_an_mlflow_model_like_any_other(
    mlflow: Path, laundry: Registry, tmp_path: Path
) -> None:
    folder = stored_bundle(mlflow, laundry)
    example = folder / "input_example.json"
    address = f"models:/{laundry.name}@Production"
    done = subprocess.run(
        [sys.executable, "-c", PYFUNC, address, str(example), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "['experimentnummer', 'waschen'] uS/cm"
    answers = tmp_path / "answers.json"
    asked = folder / "serving_input_example.json"
    command = f"mlflow models predict -m {address} -i {asked} -o {answers} --env-manager local"
    done = subprocess.run(
        [sys.executable, "-m", *command.split()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"verdict"' in answers.read_text(encoding="utf-8")


def test_a_home_that_was_moved_keeps_its_models(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the embedded registry, whose database names files by their whole path."""
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "page.html").write_text("<p>", encoding="utf-8")
    monkeypatch.setenv("IMPRESS_HOME", str(tmp_path / "before"))
    before = Registry(Settings(), "moved")
    promote(before, before.log(bundle, {}, {}, tmp_path / "pages"), "good")
    (tmp_path / "before").rename(tmp_path / "after")
    monkeypatch.setenv("IMPRESS_HOME", str(tmp_path / "after"))
    after = Registry(Settings(), "moved")
    assert served(after) == ("1", False)
    promote(after, after.log(bundle, {}, {}, tmp_path / "pages"), "good")
    assert served(after) == ("2", False)
    assert not (tmp_path / "before").exists()
