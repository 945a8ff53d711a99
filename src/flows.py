"""The two jobs as flows for a worker of Prefect, see prefect.yaml.

Only for installations that start them from Prefect: importing this imports Prefect. The commands
`impress predict` and `impress monitor` need none of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

from src.logger import safe_output
from src.orchestration import prefect_flow
from src.pipelines import monitor_pipeline, predict_pipeline
from src.process import stoppable
from src.settings import Settings


@contextmanager
def _configured() -> Iterator[Settings]:
    """The settings of the worker's environment; its process shows no secret and can be stopped."""
    with safe_output(), stoppable():
        settings = Settings()
        settings.export()
        yield settings


predict = prefect_flow(inspect.unwrap(predict_pipeline.predict), _configured)
monitor = prefect_flow(inspect.unwrap(monitor_pipeline.monitor), _configured)
