"""An inbox whose experiments have names."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from src.components.database.schema import initialise
from src.soft_sensor import SoftSensor
from tests.integration.workbench import Workbench


@pytest.fixture(name="named")
def fixture_named(engine: Engine, spec: SoftSensor) -> Workbench:
    """A rig whose experiments and phases are named."""
    phases = tuple(
        phase.model_copy(update={"value": value})
        for phase, value in zip(spec.phases, ("wa:sch'en", "spülen"))
    )
    columns = spec.columns.model_copy(update={"experiment_type": "text"})
    renamed = spec.model_copy(update={"columns": columns, "phases": phases})
    bench = Workbench(engine, renamed)
    bench.execute("DROP TABLE online_data, archived_data, rejected_data, runs CASCADE")
    initialise(engine, renamed)
    bench.set(retention_days=0)
    return bench
