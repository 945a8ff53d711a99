"""The examples for schedulers of Documentation/job-arrays.md take every share once."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from src.cli.history import share
from tests.deploy.conftest import DEPLOY, ROOT

DOCUMENT = (ROOT / "Documentation" / "job-arrays.md").read_text(encoding="utf-8")
JOB = yaml.safe_load((DEPLOY / "backfill.yaml").read_text(encoding="utf-8"))["spec"]
CONTAINER = JOB["template"]["spec"]["containers"][0]


def of_kubernetes() -> tuple[str, str, range]:
    """Script, name of the index, and its values."""
    (script,) = CONTAINER["args"]
    return script, "JOB_COMPLETION_INDEX", range(JOB["completions"])


def of_batch() -> tuple[str, str, range]:
    """Of AWS Batch."""
    (call,) = re.findall(r"^aws batch submit-job .*?\}'$", DOCUMENT, re.M | re.S)
    (size,) = re.findall(r"size=(\d+)", call)
    (overrides,) = re.findall(r"--container-overrides '(.*)'", call, re.S)
    *shell, script = json.loads(overrides)["command"]
    assert shell == CONTAINER["command"]
    return script, "AWS_BATCH_JOB_ARRAY_INDEX", range(int(size))


def of_slurm() -> tuple[str, str, range]:
    """Of Slurm."""
    begin, end = re.findall(r"^#SBATCH --array=(\d+)-(\d+)$", DOCUMENT, re.M)[0]
    (script,) = re.findall(r"^exec .*SLURM.*$", DOCUMENT, re.M)
    return script, "SLURM_ARRAY_TASK_ID", range(int(begin), int(end) + 1)


@pytest.mark.parametrize("scheduler", [of_kubernetes, of_batch, of_slurm])
def test_its_members_take_every_share_once(scheduler: object, tmp_path: Path) -> None:
    assert callable(scheduler)
    script, index, members = scheduler()
    program = tmp_path / "impress"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    taken = []
    for member in members:
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", index: str(member)}
        done = subprocess.run(
            ["sh", "-c", script], env=environment, check=True, capture_output=True, text=True
        )
        words = done.stdout.split("\n")
        assert words[0] == "backfill"
        taken.append(share(words[words.index("--share") + 1]))
    assert len(members) > 1
    assert sorted(each.number for each in taken) == list(range(1, len(members) + 1))
    assert {each.of for each in taken} == {len(members)}


def test_the_job_of_kubernetes_starts_again_what_died_and_is_shut_in() -> None:
    assert JOB["completionMode"] == "Indexed" and JOB["backoffLimitPerIndex"] > 0
    assert JOB["parallelism"] <= JOB["completions"]
    assert CONTAINER["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert JOB["template"]["spec"]["securityContext"]["runAsNonRoot"]
