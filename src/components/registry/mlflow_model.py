"""A bundle as an MLflow model like any other, for `mlflow.pyfunc`, `mlflow models` and its pages.

Such a model predicts phases whose features are known. There is no pickle in it: MLflow imports this
module, so impress must be installed, and everything is checked as always.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.components.registry import bundle_files
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pandas as pd

    from src.components.predictor.bundle import Bundle

EXAMPLES = 5  # rows
TEXTS = ("flags", "verdict")


def write(bundle: Bundle, folder: Path) -> None:
    """Write what MLflow wants beside a bundle: MLmodel with the signature, and an example."""
    from mlflow.models import Model, ModelSignature

    spec = bundle.spec
    folder.mkdir(parents=True, exist_ok=True)
    model = Model(
        artifact_path=folder.name,
        signature=ModelSignature(inputs=_inputs(spec), outputs=_outputs(spec)),
        saved_input_example_info={
            "artifact_path": "input_example.json",
            "type": "dataframe",
            "pandas_orient": "split",
        },
        metadata={"units": units(spec)},
    )
    python = platform.python_version()
    model.add_flavor("python_function", loader_module=__name__, python_version=python, env={})
    rows = example(bundle).to_json(orient="split", index=False)
    (folder / "input_example.json").write_text(rows, encoding="utf-8")
    served = f'{{"dataframe_split": {rows}}}'  # as `mlflow models predict` and a server want it
    (folder / "serving_input_example.json").write_text(served, encoding="utf-8")
    model.save(folder / "MLmodel")


def units(spec: SoftSensor) -> dict[str, str]:
    """Unit of each feature and target; an interval has that of its target."""
    found: dict[str, str] = {}
    for sensor in spec.sensors:
        found |= dict.fromkeys(spec.features_of(sensor), sensor.unit)
    for target in spec.targets:
        found |= dict.fromkeys((target.name, target.lower, target.upper), target.unit)
    return found


def described(spec: SoftSensor) -> str:
    """What the model predicts, for MLflow's page of a version."""
    lines = [f"- {target.title} (`{target.name}`), {target.unit}" for target in spec.targets]
    return "Predicts for each phase, with intervals, flags and a verdict:\n\n" + "\n".join(lines)


def example(bundle: Bundle) -> pd.DataFrame:
    """Some phases of the training, as they would be asked for."""
    rows = bundle.reference.head(EXAMPLES)
    return rows.assign(
        n_samples=bundle.spec.prediction.min_samples, first_timestamp=rows["last_timestamp"]
    )[_input_columns(bundle.spec)]


def _input_columns(spec: SoftSensor) -> list[str]:
    """What `features_query` gives."""
    counts = [sensor.out_of_bounds for sensor in spec.sensors]
    known = ["n_samples", "first_timestamp", "last_timestamp"]
    return [*spec.columns.keys, *known, *spec.features, *counts]


def _inputs(spec: SoftSensor) -> Any:
    from mlflow.types import ColSpec, DataType, Schema

    kinds = {
        key: DataType.long if kind is int else DataType.string
        for key, kind in spec.key_types.items()
    }
    return Schema(
        [ColSpec(kinds.get(name, DataType.double), name) for name in _input_columns(spec)]
    )


def _output_columns(spec: SoftSensor) -> list[str]:
    numbers = []
    for target in spec.targets:
        numbers += [target.name, target.lower, target.upper]
    return [*numbers, *TEXTS]


def _outputs(spec: SoftSensor) -> Any:
    from mlflow.types import ColSpec, DataType, Schema

    kinds = dict.fromkeys(TEXTS, DataType.string)
    return Schema(
        [ColSpec(kinds.get(name, DataType.double), name) for name in _output_columns(spec)]
    )


class Predictor:
    """What MLflow asks for predictions."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """See `Bundle.predict`; `params` are MLflow's and not used."""
        del params
        spec = self.bundle.spec
        return self.bundle.predict(model_input, spec)[_output_columns(spec)]


def _load_pyfunc(path: str) -> Predictor:
    """Called by MLflow: the model of a folder, to which MLflow has added a file of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in [bundle_files.MANIFEST, *bundle_files.names(Path(path))]:
            shutil.copy(Path(path) / name, scratch)
        return Predictor(bundle_files.load(Path(scratch)))
