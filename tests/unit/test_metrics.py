"""Figures of a run, as CloudWatch and Prometheus read them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from src.errors import SettingsError
from src.metrics import publish_figures
from src.settings import Settings

# A line of https://prometheus.io/docs/instrumenting/exposition_formats, for what we write.
SAMPLE = r'[a-zA-Z_:][a-zA-Z0-9_:]*\{[a-z]+="[^"\\]*"\} -?[0-9.e+-]+'


def emf(capsys: pytest.CaptureFixture[str], metrics: str) -> dict[str, object]:
    """The line of a run with two figures, one of which is unknown."""
    publish_figures(Settings(metrics=metrics), "predict", "run", rows_scored=40, rows_odd=None)
    (line,) = capsys.readouterr().out.splitlines()
    return dict(json.loads(line))


def test_a_line_for_cloudwatch_names_its_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    line = emf(capsys, "emf:laundry-2")
    about = line.pop("_aws")
    assert line == {"pipeline": "predict", "rows_scored": 40}
    assert isinstance(about, dict)
    assert abs(about["Timestamp"] / 1000 - time.time()) < 300
    (directive,) = about["CloudWatchMetrics"]
    # Every metric and every dimension is a member of the line, or CloudWatch drops it.
    assert directive["Namespace"] == "laundry-2"
    assert [each["Name"] for each in directive["Metrics"]] == ["rows_scored"]
    assert directive["Dimensions"] == [["pipeline"]]


def test_the_namespace_is_impress_unless_it_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    about = emf(capsys, "emf")["_aws"]
    assert isinstance(about, dict) and about["CloudWatchMetrics"][0]["Namespace"] == "impress"


def test_a_file_for_prometheus_is_replaced_by_the_next_run(home: Path) -> None:
    settings = Settings(metrics=str(home))
    for rows in (40, 1234567):
        publish_figures(settings, "predict", "run", rows_scored=rows, rows_waiting=0.5)
    publish_figures(settings, "predict", "status", last_good_run_age_hours=3)
    assert {file.name for file in home.glob("*.prom*")} == {
        "impress-predict-run.prom",
        "impress-predict-status.prom",
    }
    text = (home / "impress-predict-run.prom").read_text("utf-8")
    assert text.endswith("\n")
    kinds, samples = text.splitlines()[::2], text.splitlines()[1::2]
    assert samples == [
        'impress_rows_scored{pipeline="predict"} 1234567',
        'impress_rows_waiting{pipeline="predict"} 0.5',
    ]
    assert all(re.fullmatch(SAMPLE, sample) for sample in samples)
    assert kinds == [f"# TYPE {sample.partition('{')[0]} gauge" for sample in samples]


def test_nothing_is_published_unless_it_is_asked_for(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    publish_figures(Settings(), "predict", "run", rows_scored=40)
    assert capsys.readouterr().out == "" and not list(home.glob("*.prom"))


def test_figures_that_cannot_be_written_are_a_warning(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "figures").mkdir()
    settings = Settings(metrics=str(home / "figures"))
    (home / "figures").rmdir()
    (home / "figures").touch()
    publish_figures(settings, "predict", "run", rows_scored=40)
    assert "the figures of this run are not in METRICS" in caplog.text


@pytest.mark.parametrize("value", ["nowhere", "emf:", "https://example.org", "emf:a b"])
def test_a_place_that_is_not_there_is_refused_before_the_run(value: str) -> None:
    with pytest.raises(SettingsError, match="METRICS "):
        Settings(metrics=value)
