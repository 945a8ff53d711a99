"""Every platform's file sets each variable that the code reads, or leaves it out for a reason."""

from __future__ import annotations

import re

import pytest
import yaml

from src.settings import variables
from tests.deploy.conftest import DEPLOY, ROOT

BY_THE_IMAGE = dict.fromkeys(
    ("IMPRESS_HOME", "IMPRESS_PARAMS", "GIT_HASH"), "set where the image is built"
)
TRAINING = {"MODEL_SIGNING_KEY": "models are trained elsewhere"}
DATA = dict.fromkeys(("DVC_USERNAME", "DVC_TOKEN"), "predict and monitor need no data set")
SCHEDULED_HERE = dict.fromkeys(
    ("PREFECT_API_URL", "PREFECT_CLOUD_API_TOKEN", "PREFECT_API_KEY"), "the platform schedules"
)
NO_PYARROW = {"RAW_ARCHIVE": "the images lack the extra `archive`"}
LEFT_OUT = {
    "deploy/tasks.tf": {**BY_THE_IMAGE, **TRAINING},
    "compose.yaml": {
        **BY_THE_IMAGE,
        **TRAINING,
        **DATA,
        **SCHEDULED_HERE,
        **NO_PYARROW,
        "DB_PORT": "the service listens on 5432",
        "DB_SSLROOTCERT": "the connection does not leave the machine",
        "MLFLOW_TRACKING_USERNAME": "the service wants no login",
        "MLFLOW_TRACKING_PASSWORD": "the service wants no login",
        "METRICS": "the folder of node_exporter would have to be mounted",
    },
    "deploy/kubernetes.yaml": {
        **BY_THE_IMAGE,
        **TRAINING,
        **DATA,
        **SCHEDULED_HERE,
        **NO_PYARROW,
        "DB_PORT": "5432, unless it is added",
        "DB_SSLROOTCERT": "the file would have to be mounted",
        "MLFLOW_TRACKING_USERNAME": "to be added to the secret if the registry wants a login",
        "MLFLOW_TRACKING_PASSWORD": "to be added to the secret if the registry wants a login",
        "METRICS": "the folder of node_exporter would have to be mounted",
    },
}
# Without these there is no weekly letter, no report by mail, no page.
LETTERS_AND_PAGES = {n for n in variables() if n.startswith(("SMTP_", "EMAIL_", "PAGE_"))}
TASKS = ("predict", "monitor")


def of_terraform(_: str) -> set[str]:
    """Variables and secrets; both tasks have the same."""
    tasks = (DEPLOY / "tasks.tf").read_text(encoding="utf-8")
    (plain,) = re.findall(r"not_set = \{\n(.*?)\n  \}", tasks, re.S)
    inputs = (DEPLOY / "variables.tf").read_text(encoding="utf-8")
    (secret,) = re.findall(r'variable "secrets" \{.*?default = \[\n(.*?)\n  \]', inputs, re.S)
    return {*re.findall(r"(\w+) += \"\"", plain), *re.findall(r'"(\w+)"', secret)}


def of_compose(task: str) -> set[str]:
    """Variables of a service."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return set(services[task]["environment"])


def of_kubernetes(task: str) -> set[str]:
    """Keys of the ConfigMap, and of the Secret as its command makes it, that a CronJob reads."""
    text = (DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")
    documents = {
        (each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text)
    }
    job = documents["CronJob", f"impress-{task}"]["spec"]["jobTemplate"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert {"configMapRef": {"name": "impress"}} in container["envFrom"]
    assert {"secretRef": {"name": "impress"}} in container["envFrom"]
    secret = re.findall(r"--from-literal=(\w+)", text)
    return {*documents["ConfigMap", "impress"]["data"], *secret}


PLATFORMS = {
    "deploy/tasks.tf": of_terraform,
    "compose.yaml": of_compose,
    "deploy/kubernetes.yaml": of_kubernetes,
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("file", PLATFORMS)
def test_a_variable_of_the_code_is_set_or_left_out_for_a_reason(file: str, task: str) -> None:
    given = PLATFORMS[file](task)
    assert not given & LEFT_OUT[file].keys()
    assert given | LEFT_OUT[file].keys() == set(variables())


@pytest.mark.parametrize("file", PLATFORMS)
def test_letters_and_pages_can_be_had_everywhere(file: str) -> None:
    assert not LETTERS_AND_PAGES & LEFT_OUT[file].keys()


def test_the_secret_of_elsewhere_is_that_of_the_file() -> None:
    text = (ROOT / "Documentation" / "elsewhere.md").read_text(encoding="utf-8")
    named = re.findall(r"--from-literal=(\w+)", text)
    assert set(named) == of_kubernetes("predict") & set(named) and "EMAIL_PASS" in named
