"""The examples for other platforms: compose.yaml, kubernetes.yaml, crontabs of elsewhere.md."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from tests.deploy.conftest import DEPLOY, ROOT, plain_names, secret_names

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
ELSEWHERE = (ROOT / "Documentation" / "elsewhere.md").read_text(encoding="utf-8")
DOCUMENTS = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")))
CRON_JOBS = [each for each in DOCUMENTS if each["kind"] == "CronJob"]
STARTED = {
    "predict",
    "monitor",
    "status --pipeline predict --max-age 8d",
    "status --pipeline monitor --max-age 33d",
}


def pod(cron_job: dict[str, Any]) -> dict[str, Any]:
    """What a CronJob starts."""
    return dict(cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"])


def test_kubernetes_starts_the_tasks_and_the_checks() -> None:
    started = {
        " ".join(container["args"]) for job in CRON_JOBS for container in pod(job)["containers"]
    }
    assert started == STARTED


@pytest.mark.parametrize("job", CRON_JOBS, ids=lambda job: job["metadata"]["name"])
def test_a_job_of_kubernetes_runs_alone_and_shut_in(job: dict[str, Any]) -> None:
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert job["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0
    started = pod(job)
    (container,) = started["containers"]
    user = f"uid {started['securityContext']['runAsUser']}"
    dockerfile = (ROOT / f"Dockerfile.{container['name']}").read_text(encoding="utf-8")
    assert re.search(rf"--{user}\b", dockerfile) and started["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    (place,) = container["volumeMounts"]
    assert f"IMPRESS_HOME={place['mountPath']}" in dockerfile
    assert container["image"].endswith(f"/impress-{container['name']}:GIT_HASH")
    # A value in the file could be a secret; and the plain ones are in one place.
    assert "env" not in container and {"secretRef": {"name": "impress"}} in container["envFrom"]


def test_kubernetes_configures_what_the_code_reads() -> None:
    (config,) = [each for each in DOCUMENTS if each["kind"] == "ConfigMap"]
    assert set(config["data"]) <= plain_names()
    text = (DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"--from-literal=(\w+)", text)) <= secret_names()


@pytest.mark.parametrize("name", ["kubernetes.yaml", "backfill.yaml"])
def test_kubernetes_accepts_the_file(name: str) -> None:
    tool = shutil.which("kubernetes-validate", path=f"{ROOT}/.venv-deploy/bin")
    tool = tool or shutil.which("kubernetes-validate")
    if tool is None:
        pytest.skip("there is no kubernetes-validate: `make lint-deploy` installs and runs it")
    command = [tool, "--strict", str(DEPLOY / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "WARN" not in done.stdout, done.stdout


@pytest.mark.parametrize("task", ["predict", "monitor"])
def test_compose_lets_a_task_be_stopped_and_shuts_it_in(task: str) -> None:
    service = COMPOSE["services"][task]
    assert service["init"] and service["read_only"] and service["cap_drop"] == ["ALL"]


def crontab_of_compose() -> list[str]:
    """Lines of the scheduler's crontab."""
    return list(COMPOSE["services"]["scheduler"]["environment"]["CRONTAB"].splitlines())


def test_compose_starts_all_and_tells_of_failures_by_one_script() -> None:
    lines = crontab_of_compose()
    found = [re.fullmatch(r"(?:\S+ ){5} /impress/(\S+) (\S+) (.+)", line) for line in lines]
    assert all(found)
    assert {match[3] for match in found if match} == STARTED
    for match in found:
        assert match is not None
        assert (ROOT / match[1]).stat().st_mode & 0o111 and match[2] in COMPOSE["services"]
    mounted = COMPOSE["services"]["scheduler"]["volumes"]
    assert ".:/impress:ro" in mounted


def test_both_crontabs_of_elsewhere_start_all() -> None:
    blocks = re.findall(r"^```\w*\n(.*?)^```$", ELSEWHERE, re.S | re.M)
    crontabs = [block for block in blocks if "* * *" in block]
    assert len(crontabs) == 2
    for block in crontabs:
        for words in STARTED:
            assert re.search(rf" {re.escape(words)}( |$)", block, re.M), f"{words} not in {block}"


class _Webhook(BaseHTTPRequestHandler):
    """Takes every message, unless its path says to refuse it."""

    received: list[str] = []

    def do_POST(self) -> None:  # pylint: disable=invalid-name  # as the library wants it
        """Keep the message."""
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.received.append(text)
        self.send_response(500 if self.path == "/refused" else 200)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:  # pylint: disable=arguments-differ
        """Be quiet."""


@pytest.fixture(name="webhook")
def fixture_webhook() -> Iterator[str]:
    """Address of a server that takes messages."""
    _Webhook.received = []
    with HTTPServer(("127.0.0.1", 0), _Webhook) as server:
        Thread(target=server.serve_forever, args=[0.01]).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run_and_notify(
    folder: Path, code: int, url: str, monkeypatch: pytest.MonkeyPatch
) -> subprocess.CompletedProcess[str]:
    """Run the script where `docker` is a program that notes its words and ends with `code`."""
    if shutil.which("wget") is None:
        pytest.skip("there is no wget on this machine")
    docker = folder / "docker"
    script = f'#!/bin/sh\necho "$PWD: $*" > {folder}/words\nexit {code}\n'
    docker.write_text(script, encoding="utf-8")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{Path(sys.executable).parent}:/usr/bin:/bin")
    monkeypatch.setenv("ALERT_URL", url)
    command = [str(DEPLOY / "run-and-notify"), "predict", "status", "--max-age", "8d"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == code
    words = (folder / "words").read_text(encoding="utf-8")
    # Beside compose.yaml, and without touching the services that the task depends on.
    assert words == f"{ROOT}: compose run --rm --no-deps -T predict status --max-age 8d\n"
    return done


@pytest.mark.parametrize("code", [1, 3, 137])
def test_a_failure_is_posted_with_its_code(
    tmp_path: Path, webhook: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_and_notify(tmp_path, code, webhook, monkeypatch).stderr == ""
    assert _Webhook.received == [f"impress status --max-age 8d: exit code {code}"]


def test_success_is_not_posted(
    tmp_path: Path, webhook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_and_notify(tmp_path, 0, webhook, monkeypatch)
    assert not _Webhook.received


@pytest.mark.parametrize("path", [None, "/refused"])
def test_what_cannot_be_posted_is_in_the_log(
    tmp_path: Path, webhook: str, path: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{webhook}{path}" if path else ""
    failed = run_and_notify(tmp_path, 1, url, monkeypatch)
    assert "exit code 1; nobody was notified, because ALERT_URL" in failed.stderr
