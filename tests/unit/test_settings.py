"""The environment, read in one place, with its secrets kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.components.emailer.letter import Letter, compose
from src.errors import SettingsError
from src.settings import Settings, variables

ROOT = Path(__file__).resolve().parents[2]
SECRETS = (
    "DB_PASSWORD",
    "MLFLOW_TRACKING_PASSWORD",
    "DVC_TOKEN",
    "EMAIL_PASS",
    "PREFECT_CLOUD_API_TOKEN",
    "PREFECT_API_KEY",
)


def test_nothing_set_means_embedded_parts(home: Path) -> None:
    settings = Settings()
    assert settings.db_hostname is None and settings.smtp_host is None
    assert settings.registry_uri == f"sqlite:///{home / 'artifacts' / 'mlflow.db'}"


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "hush-hush")
    assert "hush-hush" not in repr(Settings())
    assert "hush-hush" not in Settings().model_dump_json()


def test_a_dotenv_file_is_read_and_the_environment_wins(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".env").write_text("DB_HOSTNAME=file\nDB_NAME=file\nDB_PORT=\n", encoding="utf-8")
    monkeypatch.setenv("DB_NAME", "environment")
    settings = Settings()
    found = (settings.db_hostname, settings.db_name, settings.db_port)
    assert found == ("file", "environment", 5432)


def test_the_example_names_every_variable_and_no_other() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    named = {line.lstrip("# ").split("=")[0] for line in lines if "=" in line}
    assert named == set(variables())


@pytest.mark.parametrize("name", variables())
@pytest.mark.parametrize("bad", ["hush-hush", "postgresql://u:hush-hush@host", "\x1b hush-hush;"])
def test_no_bad_value_is_quoted(name: str, bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, bad)
    try:
        Settings()
    except SettingsError as error:
        assert str(error).startswith(f"{name} ")
        assert "hush" not in str(error) and error.__suppress_context__
    else:
        assert name not in ("DB_PORT", "SMTP_PORT", "SMTP_SECURITY", "EMAIL_MAX_MB")


def test_all_bad_values_are_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PORT", "abc")
    monkeypatch.setenv("EMAIL_MAX_MB", "-1")
    with pytest.raises(SettingsError, match="^DB_PORT .*; EMAIL_MAX_MB .*$"):
        Settings()


@pytest.mark.parametrize(
    "written, meant",
    [
        ("raw", "{home}/raw"),
        ("/data/raw", "/data/raw"),
        ("~/raw", "{user}/raw"),
        ("file:///data/a%20b", "/data/a b"),
        ("FILE:///data", "/data"),
        ("s3://bucket", "s3://bucket"),
        ("S3://Bucket/Prefix?region=eu-central-1", "s3://Bucket/Prefix?region=eu-central-1"),
    ],
)
def test_a_raw_archive_is_an_absolute_folder_or_on_s3(written: str, meant: str, home: Path) -> None:
    expected = meant.format(home=home, user=Path.home())
    assert Settings(raw_archive=written).raw_archive == expected


@pytest.mark.parametrize(
    "written, fault",
    [
        *[
            (address, "must be a path, ~/path, file:///path or s3://bucket/prefix")
            for address in ("gs://b/x", "gs:b", "s3a://b", "file:raw", "file://host/x", "C:\\raw")
        ],
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3:/bucket", "names no bucket"),
        ("s3://AKIA:hush/hush@bucket/prefix", "holds a key"),
        ("~nobody-here/raw", "begins with a user or variable that is unknown"),
        ("$HOME/raw", "begins with a user or variable that is unknown"),
    ],
)
def test_a_raw_archive_elsewhere_is_refused(written: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=f"^RAW_ARCHIVE {fault}") as caught:
        Settings(raw_archive=written)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("name", ["IMPRESS_HOME", "IMPRESS_PARAMS"])
def test_a_path_is_of_this_machine(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for written in ("~/plant", f"file://{Path.home()}/plant"):
        monkeypatch.setenv(name, written)
        assert dict(Settings())[name.lower()] == Path.home() / "plant"
    monkeypatch.setenv(name, "s3://bucket/plant")
    with pytest.raises(SettingsError, match=f"^{name} must be a path, ~/path or file:///path$"):
        Settings()


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_URI", "PREFECT_API_URL"])
@pytest.mark.parametrize("address", ["mlflow.example.org", "localhost:5000", "./mlruns"])
def test_an_address_has_a_scheme(name: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, address)
    with pytest.raises(SettingsError, match=f"^{name} lacks a scheme such as https://$"):
        Settings()


@pytest.mark.parametrize(
    "host", ["db.example.org", "db-1,db-2", "10.0.0.1", "fe80::1%eth0", "/run/post gresql"]
)
def test_a_host_is_a_name_an_address_or_a_folder(host: str) -> None:
    assert Settings(db_hostname=host).db_hostname == host


@pytest.mark.parametrize(
    "connection", ["postgresql://u:hush@host/db", "u:hush@host", "host=x password=hush", "hush@x"]
)
def test_a_connection_string_is_not_a_host(connection: str) -> None:
    with pytest.raises(SettingsError, match="^DB_HOSTNAME is not .*DB_PASSWORD") as caught:
        Settings(db_hostname=connection)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "written, meant",
    [
        ("a@x.de, b@x.de", "a@x.de, b@x.de"),
        ("a@x.de; b@x.de", "a@x.de, b@x.de"),
        (" a@x.de;;\nb@x.de,", "a@x.de, b@x.de"),
        ("Lab <a@x.de>;Dr. Hans Müller <b@x.de>", "Lab <a@x.de>, Dr. Hans Müller <b@x.de>"),
        ('"Müller, Hans; Lab" <a@x.de>, b@x.de', '"Müller, Hans; Lab" <a@x.de>, b@x.de'),
    ],
)
def test_recipients_are_separated_by_commas_or_semicolons(written: str, meant: str) -> None:
    assert Settings(email_recipient=written).email_recipient == meant


@pytest.mark.parametrize(
    "written, fault",
    [
        ("Müller, Hans <h@x.de>", "has no address in entry 1: .* in quotation marks"),
        ("a@x.de b@x.de", "has no address in entry 1: separate addresses with commas"),
        ("a@x.de, b@x.de / c@x.de", "has no address in entry 2: separate addresses with commas"),
        ("a@x.de, nobody", "has no address in entry 2"),
        ('"Lab <a@x.de>', "has no address in entry 1"),
        ('"Lab\nBcc: thief@x.de" <a@x.de>', "has no address in entry 1"),
        ("a@x.de\nBcc: b@x.de", "has no address in entry 1"),
        (" ,; ", "contains no address"),
    ],
)
def test_what_is_not_a_list_of_recipients_is_refused(written: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=f"^EMAIL_RECIPIENT {fault}"):
        Settings(email_recipient=written)


def test_there_is_one_sender() -> None:
    with pytest.raises(SettingsError, match="^EMAIL_SENDER names more than one sender"):
        Settings(email_sender="a@x.de; b@x.de")


WORD = st.text("ab.\"'<>@,;: \\()[]=?ü\x00\n", max_size=12)


@given(words=st.lists(WORD, max_size=4))
def test_whoever_is_accepted_as_a_recipient_gets_the_message(words: list[str]) -> None:
    written = "a@x.de".join([*words, ""])
    try:
        settings = Settings(email_recipient=written)
    except SettingsError:
        return
    found = compose(Letter("x", "x", "x"), settings)["To"].addresses
    assert all(each.username and each.addr_spec in written for each in found)
    assert len(found) == written.count("@") or '"' in written
