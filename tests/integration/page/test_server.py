"""The pages live: a process of its own, on loopback, for this machine only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Browser
from sqlalchemy import text

from src.components.database.connection import connect
from src.components.page.site import INDEX, MENU
from src.settings import Settings
from tests.integration.page.browser import DESK, opened
from tests.processes import DEADLINE, answers, free_port, running, wait_for


@pytest.fixture(name="live")
def fixture_live(laundry: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of `impress ui` on the laundry."""
    for name in ("impress_params", "db_hostname", "db_name", "db_username", "mlflow_tracking_uri"):
        monkeypatch.setenv(name.upper(), str(getattr(laundry, name)))
    port = free_port()
    command = [sys.executable, "-m", "src.cli", "ui", "--port", str(port)]
    with running(command, stdout=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{port}"
        wait_for(
            lambda: answers(f"{address}/state.html"),
            "an answer of impress ui",
            alive=lambda: process.poll() is None,
        )
        yield address


def test_it_answers_with_the_same_pages_and_no_others(live: str, chromium: Browser) -> None:
    for name in MENU:
        answer = requests.get(f"{live}/{name}", timeout=DEADLINE)
        assert answer.status_code == 200 and "<h1>" in answer.text
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert requests.get(live, timeout=DEADLINE).url == f"{live}/{INDEX}"
    look = opened(chromium, f"{live}/{INDEX}", viewport=DESK)
    assert not look.troubles
    look.page.locator("tbody a").first.click()
    assert "What each sensor moved" in look.page.locator("main").inner_text()
    for name in ("phase-999999-0.html", "phase-x-0.html", "phase-101-7.html", "..%2Fparams.yaml"):
        assert requests.get(f"{live}/{name}", timeout=DEADLINE).status_code == 404
    foreign = requests.get(f"{live}/{INDEX}", headers={"Host": "evil.example"}, timeout=DEADLINE)
    assert foreign.status_code == 400
    assert requests.post(f"{live}/{INDEX}", timeout=DEADLINE).status_code == 405


def test_what_was_just_committed_is_on_the_page(live: str, laundry: Settings) -> None:
    with connect(laundry) as engine, engine.begin() as connection:
        query = "INSERT INTO runs (pipeline, started_at, outcome) VALUES ('load', now(), 'done')"
        number = connection.scalar(text(f"{query} RETURNING id"))
    page = requests.get(f"{live}/state.html", timeout=DEADLINE).text
    assert f">{number} Data" in page
