"""Figures of a run for monitoring systems: lines for CloudWatch, or files for Prometheus (METRICS).

CloudWatch finds metrics in log lines by itself:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
Prometheus reads files with the textfile collector of its node_exporter:
https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

from src.files import write_whole
from src.settings import EMF, Settings

logger = logging.getLogger(__name__)

PREFIX = "impress"


def publish_figures(
    settings: Settings, pipeline: str, source: str, **figures: float | None
) -> None:
    """Publish figures of a pipeline as gauges; those that are None are left out.

    A run has done its work by now, so figures that cannot be written are a warning.

    Args:
        source: who publishes them; each source of a pipeline has a file of its own.
    """
    known = {name: value for name, value in figures.items() if value is not None}
    if settings.metrics is None or not known:
        return
    kind, _, namespace = settings.metrics.partition(":")
    if kind == EMF:
        sys.stdout.write(f"{_emf(namespace or PREFIX, pipeline, known)}\n")
        return
    file = Path(settings.metrics) / f"{PREFIX}-{pipeline}-{source}.prom"
    try:
        write_whole(file, _prometheus(pipeline, known).encode())
    except OSError as error:
        logger.warning("the figures of this run are not in METRICS: %s", error)


def _emf(namespace: str, pipeline: str, figures: dict[str, float]) -> str:
    """One line in the embedded metric format."""
    directive = {
        "Namespace": namespace,
        "Dimensions": [["pipeline"]],
        "Metrics": [{"Name": name} for name in figures],
    }
    about = {"Timestamp": int(1000 * time.time()), "CloudWatchMetrics": [directive]}
    return json.dumps({"_aws": about, "pipeline": pipeline, **figures})


def _prometheus(pipeline: str, figures: dict[str, float]) -> str:
    """A file in the text format."""
    lines = []
    for name, value in figures.items():
        metric = f"{PREFIX}_{name}"
        lines += [f"# TYPE {metric} gauge", f'{metric}{{pipeline="{pipeline}"}} {value!r}']
    return "\n".join(lines) + "\n"
