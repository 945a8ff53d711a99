"""The contract of a soft sensor: params.yaml as typed, frozen records.

Everything that is particular to a rig is stated in that file and read here. The names of all
columns that belong to a sensor or a target are derived here and nowhere else.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from src.errors import DataError, ParamsError

# PostgreSQL cuts identifiers at 63 bytes; "_out_of_bounds" is the longest suffix of a column there.
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,48}")

# Columns that the inbox and the table of rejected rows have besides those of the rig.
RESERVED_COLUMNS = frozenset({"arrived_at", "reason", "run_id", "rejected_at"})
# Columns that stand beside the keys of a phase while it is scored, trained on or purged.
RESERVED_KEYS = frozenset(
    {
        "batch",
        "clock_ahead",
        "first_row",
        "first_timestamp",
        "flags",
        "fold",
        "group",
        "holdout",
        "last_row",
        "last_timestamp",
        "loaded_at",
        "model_version",
        "n_rows",
        "n_samples",
        "predicted_at",
        "purged_at",
        "run_id",
        "scored_from",
        "share",
        "state",
        "verdict",
    }
)
_STATISTIC = re.compile(r"mean|std|median|percentile(\d{1,2})")

# s between a time stamp and now, beyond which it is a mistake
FARTHEST_STAMP = 30 * 365.25 * 86400
# A longer key would not fit into the name of a file, or into an entry of an index.
KEY_BYTES = 200


def usable_key(text: str) -> bool:
    """Whether a text can name an experiment or a phase in tables, file names, logs and mails.

    It has at most `KEY_BYTES` bytes of UTF-8 and no control character.
    """
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        return False  # Cs: half of a surrogate pair, which UTF-8 cannot encode
    return len(text.encode()) <= KEY_BYTES


def _identifier(name: str) -> str:
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a column name: letters, digits and _, at most 49, no digit first"
        )
    return name


def _statistic(name: str) -> str:
    if not _STATISTIC.fullmatch(name):
        raise ValueError(f"{name!r} is not one of mean, std, median, percentile0 to percentile99")
    return name


Identifier = Annotated[str, AfterValidator(_identifier)]
Statistic = Annotated[str, AfterValidator(_statistic)]
PhaseValue = int | str


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Columns(_Record):
    """Key columns, and all columns of the sensor table in their order."""

    experiment: Identifier
    experiment_type: Literal["integer", "text"] = "integer"
    phase: Identifier
    timestamp: Identifier
    online: tuple[Identifier, ...]

    @property
    def keys(self) -> list[str]:
        """What identifies one phase of one experiment."""
        return [self.experiment, self.phase]


class Files(_Record):
    """Names inside a data set folder."""

    sensors: str = "sensors.csv"
    laboratory: str = "lab.csv"
    archived: str = "archived.csv"  # features of phases whose sensor rows are gone
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ";"


class Phase(_Record):
    """One part of an experiment that is predicted on its own."""

    name: str
    value: PhaseValue
    label: str
    judged: bool = False


class Laboratory(_Record):
    """How to read laboratory files."""

    phase_column: Identifier
    missing_below: float | None = None


class ValidRows(_Record):
    """Sensor rows count only where `column` is at least `min` or empty."""

    column: Identifier
    min: float


class Quantity(_Record):
    """Something measured, with the range that is possible."""

    name: Identifier
    title: str
    unit: str
    low: float
    high: float

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"{self.name}: low {self.low} is not below high {self.high}")
        return self


class Sensor(Quantity):
    """What the rig measures in-line; the range is what its instrument can report."""

    price: float = 0.0

    def feature(self, statistic: str) -> str:
        """Column of one of its statistics over a phase."""
        return f"{self.name}_{statistic}"

    @property
    def level(self) -> str:
        """Column of its median over a phase."""
        return self.feature("median")

    @property
    def spread(self) -> str:
        """Column of its standard deviation over a phase."""
        return self.feature("std")

    @property
    def out_of_bounds(self) -> str:
        """Column that counts the readings of a phase outside the range."""
        return f"{self.name}_out_of_bounds"


class Limit(_Record):
    """What counts as clean."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.min is None) == (self.max is None):
            raise ValueError("a limit has either min or max")
        return self


class Target(Quantity):
    """What the laboratory measures and we predict; the range is what is physically possible.

    On the scale `log`, it is log(1 + value) that is learned.
    """

    limit: Limit | None = None
    scale: Literal["linear", "log"] = "linear"

    @property
    def lower(self) -> str:
        """Column of the lower end of its prediction interval."""
        return f"{self.name}_lower"

    @property
    def upper(self) -> str:
        """Column of the upper end of its prediction interval."""
        return f"{self.name}_upper"

    @property
    def censored(self) -> str:
        """Column of laboratory values: `<` or `>` where only a limit of the assay is known."""
        return f"{self.name}_censored"

    @property
    def measured(self) -> str:
        """Column of the laboratory value beside a prediction."""
        return f"{self.name}_measured"

    @property
    def score(self) -> str:
        """Column of the out-of-fold error in units of the trees' disagreement, see `intervals`."""
        return f"{self.name}_score"

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if self.scale == "log" and self.low < 0:
            raise ValueError(f"{self.name}: scale log needs low of at least 0, not {self.low}")
        return self


class Group(_Record):
    """Rows with one value of `column` are never split; `file` maps experiments to it."""

    column: Identifier
    file: str


class Training(_Record):
    """How a model is made."""

    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.2
    folds: Annotated[int, Field(ge=2)] = 10
    trials: Annotated[int, Field(ge=1)] = 100
    coverage: Annotated[float, Field(gt=0.5, lt=1)] = 0.9
    seed: int = 0
    min_experiments: Annotated[int, Field(ge=10)] = 10
    group: Group | None = None


class Prediction(_Record):
    """How the inbox is worked off."""

    settle_minutes: Annotated[float, Field(ge=0)] = 60
    retention_days: Annotated[float, Field(ge=0)] = 30
    clock_limit_hours: Annotated[float, Field(ge=0)] = 24
    max_phase_minutes: Annotated[float, Field(gt=0)] | None = None
    reused_after_hours: Annotated[float, Field(gt=0)] | None = None
    connections: Annotated[int, Field(ge=1)] = 2
    batch: Annotated[int, Field(ge=1)] = 1000
    min_samples: Annotated[int, Field(ge=1)] = 60


class Confirmation(_Record):
    """A sensor is in alarm when it was found in `need` of the last `of` windows."""

    need: Annotated[int, Field(ge=1)]
    of: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.need > self.of:
            raise ValueError(f"need {self.need} is more than of {self.of}")
        return self


class Monitoring(_Record):
    """Thresholds for reporting a change."""

    alarm: Annotated[float, Field(gt=0, lt=1)] = 0.01
    watch: Annotated[float, Field(gt=0, lt=1)] = 0.05
    min_shift: Annotated[float, Field(ge=0)] = 0.3
    min_rows: Annotated[int, Field(ge=4)] = 8
    confirm: Confirmation = Confirmation(need=1, of=1)


class Wording(_Record):
    """What reports call the things of this rig; the defaults fit any rig.

    Each is part of a sentence, without a capital letter or a full stop.
    """

    # What can move several sensors at once.
    influences: str = "the process, its materials or its settings"
    # A change that may not show in any sensor.
    unseen_change: str = "a change of the process"
    # What a suspicious sensor is compared with.
    sensor_check: str = "a reference instrument"
    # Which phases the laboratory should check when a sensor has drifted.
    accepted_phases: str = "some phases"


class SoftSensor(_Record):
    """The whole of params.yaml."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    columns: Columns
    files: Files = Files()
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    laboratory: Laboratory
    valid_rows: ValidRows | None = None
    sensors: Annotated[tuple[Sensor, ...], Field(min_length=1)]
    statistics: Annotated[tuple[Statistic, ...], Field(min_length=1)]
    targets: Annotated[tuple[Target, ...], Field(min_length=1)]
    training: Training = Training()
    prediction: Prediction = Prediction()
    monitoring: Monitoring = Monitoring()
    wording: Wording = Wording()

    @property
    def features(self) -> list[str]:
        """Names of the features, sensor by sensor."""
        return [feature for sensor in self.sensors for feature in self.features_of(sensor)]

    def features_of(self, sensor: Sensor) -> list[str]:
        """Names of one sensor's features."""
        return [sensor.feature(statistic) for statistic in self.statistics]

    def sensor(self, name: str) -> Sensor:
        """The sensor of that name; KeyError when there is none."""
        return {sensor.name: sensor for sensor in self.sensors}[name]

    def target(self, name: str) -> Target:
        """The target of that name; KeyError when there is none."""
        return {target.name: target for target in self.targets}[name]

    def phase(self, value: PhaseValue) -> Phase:
        """The phase of that value; KeyError when there is none."""
        return {phase.value: phase for phase in self.phases}[value]

    def experiment_key(self, words: str) -> int | str:
        """The value of the experiment column that a user means.

        Raises:
            DataError: when experiments are numbered and it is not a number.
        """
        if self.columns.experiment_type == "text":
            return words
        if not words.isdecimal():
            raise DataError(f"{words!r} is not an experiment: they are numbered, see params.yaml")
        return int(words)

    @property
    def target_names(self) -> list[str]:
        """Names of the targets."""
        return [target.name for target in self.targets]

    @property
    def key_types(self) -> dict[str, type[int] | type[str]]:
        """Type of the values of each key column."""
        numbered = self.columns.experiment_type == "integer"
        numeric_phases = isinstance(self.phases[0].value, int)
        return {
            self.columns.experiment: int if numbered else str,
            self.columns.phase: int if numeric_phases else str,
        }

    @property
    def required_columns(self) -> list[str]:
        """Columns that every sensor file and the sensor table must have."""
        valid = [self.valid_rows.column] if self.valid_rows else []
        sensors = [sensor.name for sensor in self.sensors]
        return [*self.columns.keys, self.columns.timestamp, *valid, *sensors]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        lists: dict[str, list[Any]] = {
            "sensors": [sensor.name for sensor in self.sensors],
            "targets": self.target_names,
            "statistics": list(self.statistics),
            "phase values": [phase.value for phase in self.phases],
            "phase labels": [phase.label for phase in self.phases],
            "columns.online": list(self.columns.online),
        }
        for what, names in lists.items():
            if repeated := sorted({str(name) for name in names if names.count(name) > 1}):
                raise ValueError(f"{what} named twice: {', '.join(repeated)}")
        return self

    @model_validator(mode="after")
    def _phase_values_have_one_type(self) -> Self:
        if len({type(phase.value) for phase in self.phases}) > 1:
            raise ValueError("phase values must be all numbers or all text")
        return self

    @model_validator(mode="after")
    def _statistics_include_what_monitoring_needs(self) -> Self:
        if not {"median", "std"} <= set(self.statistics):
            raise ValueError("statistics lacks median or std, which monitoring needs")
        return self

    @model_validator(mode="after")
    def _columns_are_complete_and_free(self) -> Self:
        if taken := [name for name in self.columns.online if name in RESERVED_COLUMNS]:
            raise ValueError(f"columns.online has {', '.join(taken)}, which the tables add")
        if taken := [name for name in self.columns.keys if name in RESERVED_KEYS]:
            raise ValueError(f"a key column is named {', '.join(taken)}, which is reserved")
        if missing := [name for name in self.required_columns if name not in self.columns.online]:
            raise ValueError(f"columns.online lacks {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _columns_of_the_ledger_are_unique(self) -> Self:
        intervals = [end for target in self.targets for end in (target.lower, target.upper)]
        counts = [sensor.out_of_bounds for sensor in self.sensors]
        names = [*self.columns.keys, *self.target_names, *intervals, *self.features, *counts]
        names += RESERVED_KEYS
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two columns of the ledger would be called {', '.join(repeated)}")
        return self


def load_soft_sensor(path: Path) -> SoftSensor:
    """Read and check a params file.

    Raises:
        ParamsError: when it is missing, is not YAML, or breaks the contract; the message names
            the line of each fault; a contradiction between entries has that of the first entry.
    """
    if not path.is_file():
        raise ParamsError(f"{path} not found: run from the repository or set IMPRESS_PARAMS")
    text = path.read_text(encoding="utf-8")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return SoftSensor.model_validate(yaml.safe_load(text))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ParamsError(f"{path}, line {line}: {error.problem}") from error
    except ValidationError as error:
        faults = [
            f"{path}, line {_line(node, fault['loc'])}: "
            f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise ParamsError("; ".join(faults)) from error


def _line(node: yaml.Node | None, location: tuple[int | str, ...]) -> int:
    """Line of the deepest part of `location` that exists in the file."""
    for part in location:
        child = None
        if isinstance(node, yaml.MappingNode):
            child = next((value for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            child = node.value[part] if part < len(node.value) else None
        if child is None:
            break
        node = child
    return node.start_mark.line + 1 if node else 1
