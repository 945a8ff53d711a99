"""A run that fails leaves no secret behind: on the console, in a file, the journal, or MLflow.

Each secret that can be configured is a canary, and the servers repeat what they are sent.
"""

from __future__ import annotations

import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.repo import Repo
from mlflow import MlflowClient
from pydantic import SecretStr
from sqlalchemy import Engine, text

from src.components.emailer import outbox
from src.components.emailer.letter import Letter, compose
from src.errors import DeliveryError
from src.settings import Settings
from tests.integration.mail_servers import Clerk
from tests.integration.workbench import Workbench

Impress = Callable[..., subprocess.CompletedProcess[str]]
MARK = "canary"
SECRETS = {
    name.upper(): f"Canary{place}/pass#{place}"
    for place, (name, field) in enumerate(dict(Settings.model_fields).items())
    if field.annotation == SecretStr | None
}
PASSWORD = "Canary/in an address"


@pytest.fixture(autouse=True)
def fixture_canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every secret is set."""
    assert len(SECRETS) > 5
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    # Shorter lines would make Python's tracebacks hide what they should be searched for.
    monkeypatch.setenv("COLUMNS", "1000")


def left_behind(done: subprocess.CompletedProcess[str], engine: Engine) -> dict[str, bytes]:
    """Everything that a run has written, by its place."""
    with engine.connect() as connection:
        runs = connection.execute(text("SELECT * FROM runs")).mappings().all()
    written = {"stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
    written["journal"] = str(runs).encode()
    for folder in ("logs", "artifacts", "ml_downloads"):
        for file in Path(folder).rglob("*"):
            if file.is_file():
                written[str(file)] = file.read_bytes()
    return written


def in_base64(secret: str) -> list[bytes]:
    """What Base64 makes of a secret at any place in a text, without its ends."""
    encoded = [b64encode(bytes(before) + secret.encode()) for before in range(3)]
    return [each[4:-4] for each in encoded]


def assert_no_secret(written: dict[str, bytes], *more: str) -> None:
    """No canary in any of the places, however it is spelled."""
    for place, content in written.items():
        assert MARK.encode() not in content.lower(), place
        for secret in (*SECRETS.values(), PASSWORD, *more):
            assert not [code for code in in_base64(secret) if code in content], place


def test_the_places_are_searched(engine: Engine, impress: Impress) -> None:
    """What is not a secret is found in all of them."""
    done = impress("predict")
    assert done.returncode == 0, done.stderr
    written = left_behind(done, engine)
    assert b"0 phases" in written["stderr"] or b"predict" in written["stderr"]
    assert b"predict" in written["journal"]
    assert any(place.startswith("logs/predict") for place in written)


@pytest.mark.parametrize(
    "address",
    [
        "http://somebody:{password}@{echo}",
        "http://somebody:{password}@{echo}/with/a/path?token={password}",
        "http://somebody:{encoded}@{echo}",
        "http://somebody:{encoded}@{echo}port",
        "postgresql://{echo}/mlflow?user=somebody&password={encoded}",
    ],
)
def test_an_address_of_the_registry_is_shown_without_its_login(
    address: str,
    bench: Workbench,
    echo: str,
    impress: Impress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded = PASSWORD.replace("/", "%2F").replace(" ", "%20")
    uri = address.format(password=PASSWORD.replace(" ", ""), encoded=encoded, echo=echo)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    bench.add(1, 1, 100)
    for command in ("predict", "models"):
        done = impress(command)
        assert done.returncode == 1, done.stderr
        assert_no_secret(left_behind(done, bench.engine))


def test_a_registry_that_repeats_the_login_is_quoted_without_it(
    bench: Workbench, echo: str, impress: Impress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{echo}")
    bench.add(1, 1, 100)
    done = impress("predict")
    assert done.returncode == 1 and "***" in done.stderr
    written = left_behind(done, bench.engine)
    assert b"failed" in written["journal"]
    assert_no_secret(written)


@pytest.mark.parametrize(
    "name, command",
    [
        ("DB_HOSTNAME", "predict"),
        ("DB_NAME", "monitor"),
        ("SMTP_HOST", "monitor"),
        ("RAW_ARCHIVE", "predict"),
        ("PREFECT_API_URL", "predict"),
    ],
)
def test_a_connection_string_in_the_wrong_variable_is_not_shown(
    name: str,
    command: str,
    bench: Workbench,
    closed_port: int,
    impress: Impress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(name, f"https://somebody:{PASSWORD}@127.0.0.1:{closed_port}/db")
    keep_a_message()
    done = impress(command)
    if name in ("DB_HOSTNAME", "DB_NAME", "RAW_ARCHIVE"):
        assert done.returncode == 1 and name in done.stderr
    assert_no_secret(left_behind(done, bench.engine))


def keep_a_message() -> None:
    """Leave a message for the next run to send."""
    with pytest.raises(DeliveryError), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMTP_HOST", "127.0.0.1")
        patch.setenv("SMTP_PORT", "9")
        for variable in ("DB_HOSTNAME", "RAW_ARCHIVE", "PREFECT_API_URL"):
            patch.delenv(variable, raising=False)
        patch.setattr(outbox, "WAITS", ())
        outbox.send(compose(Letter("key", "subject", "text"), Settings()), Settings())


def test_a_mail_server_that_repeats_the_login_is_quoted_without_it(
    engine: Engine,
    serve_mail: Callable[..., None],
    impress: Impress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = SECRETS["EMAIL_PASS"]
    monkeypatch.setenv("EMAIL_PASS", secret)
    keep_a_message()
    clerk = Clerk("somebody", "another password")
    login = b64encode(f"\0impress@example.org\0{secret}".encode()).decode()
    clerk.refusal = f"535 5.7.8 not {secret}, nor {login}"
    serve_mail(clerk, authenticator=clerk.check)
    done = impress("monitor")
    assert done.returncode == 1 and "5.7.8 not ***" in done.stderr
    written = left_behind(done, engine)
    assert b"5.7.8 not ***" in written["journal"]
    assert_no_secret(written)


def test_a_data_remote_that_repeats_the_login_is_quoted_without_it(
    engine: Engine, echo: str, home: Path, impress: Impress
) -> None:
    with Repo.init(str(home), no_scm=True):
        (home / ".dvc" / "config").write_text(
            "[core]\n    no_scm = True\n    remote = origin\n"
            f"['remote \"origin\"']\n    url = http://somebody:Canary@{echo}\n",
            encoding="utf-8",
        )
    (home / "data.dvc").write_text(
        "outs:\n- md5: 0123456789abcdef0123456789abcdef\n  hash: md5\n  path: data\n",
        encoding="utf-8",
    )
    done = impress("pull-data")
    assert done.returncode == 1 and "origin" in done.stderr
    assert_no_secret(left_behind(done, engine))


def test_what_is_kept_in_the_registry_has_no_secret(
    engine: Engine,
    trained_home: Path,
    home: Path,
    impress: Impress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reason of a forced promotion is stored as a tag."""
    (home / "artifacts").mkdir()
    registry = shutil.copy(trained_home / "artifacts" / "mlflow.db", home / "artifacts")
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{registry}")
    client = MlflowClient(f"sqlite:///{registry}")
    present = client.get_model_version("laundry", "1")
    client.create_model_version("laundry", present.source, present.run_id, tags=present.tags)
    client.set_model_version_tag("laundry", "1", "bundle_sha256", "0" * 64)
    why = f"postgresql://somebody:Canary@host says {SECRETS['DB_PASSWORD']}"
    done = impress("promote", "2", "--force", why)
    assert done.returncode == 0, done.stderr
    written = left_behind(done, engine)
    assert b"says ***" in written["artifacts/mlflow.db"]
    assert_no_secret(written)


def test_logs_and_mail_are_for_this_user_alone(engine: Engine, impress: Impress) -> None:
    assert engine.dialect.name == "postgresql"
    keep_a_message()
    assert impress("predict").returncode == 0
    files = [*Path("logs").glob("*.log"), *Path("artifacts/outbox").rglob("*.eml")]
    assert len(files) == 2
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
