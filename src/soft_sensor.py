"""The contract of a soft sensor: params.yaml as typed, frozen records.

Everything that is particular to a rig is stated in that file and read here. The names of all
columns that belong to a sensor or a target are derived here and nowhere else.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from src.errors import DataError, ParamsError
from src.language import CODES, Code, chosen
from src.params_file import Misplaced, Place, fault_of, params_error, parsed

# PostgreSQL cuts identifiers at 63 bytes; "_out_of_bounds" is the longest suffix of a column there.
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,48}")

# Columns that no user ever sees begin with it, so they cannot collide with those of a rig.
PREFIX = "impress_"
# Columns that the inbox and the table of rejected rows have besides those of the rig.
INBOX_COLUMNS = frozenset({"arrived_at", "reason", "run_id", "rejected_at"})
# Columns that stand beside keys and targets in archived_data, laboratory_data and archived.csv.
LEDGER_COLUMNS = frozenset(
    {
        "adaptation",
        "definition",
        "first_timestamp",
        "flags",
        "laboratory_from",
        "laboratory_to",
        "laboratory_values",
        "last_timestamp",
        "loaded_at",
        "model_version",
        "n_samples",
        "predicted_at",
        "purged_at",
        "run_id",
        "sample",
        "verdict",
    }
)
# Columns that stand beside the targets in the sensors.csv of `impress study`.
STUDY_COLUMNS = frozenset({"set", "sensors", "price", "relative", "loss", "loss_se", "pareto"})
# Every table of PostgreSQL has the first six; pandas marks the rows of a merge with the last one.
OTHERS_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid", "_merge"})
_STATISTIC = re.compile(r"mean|std|median|percentile(\d{1,2})")

# s between a time stamp and now, beyond which it is a mistake
FARTHEST_STAMP = 30 * 365.25 * 86400
# A longer key would not fit into the name of a file, or into an entry of an index.
KEY_BYTES = 200
# Between a rig and its experiment in the name of an experiment, see `Columns.rig`.
OF_RIG = "/"


def usable_key(text: str) -> bool:
    """Whether a text can name an experiment or a phase in tables, file names, logs and mails.

    It has at most `KEY_BYTES` bytes of UTF-8 and no control character.
    """
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        return False  # Cs: half of a surrogate pair, which UTF-8 cannot encode
    return len(text.encode()) <= KEY_BYTES


def rig_of(experiment: str) -> str:
    """The rig that an experiment has run on, see `Columns.rig`; empty where its name has none."""
    rig, sign, _ = experiment.partition(OF_RIG)
    return rig if sign else ""


def _identifier(name: str) -> str:
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a column name: letters, digits and _, at most 49, no digit first"
        )
    if name.casefold().startswith(PREFIX):
        raise ValueError(
            f"{name!r}: names that begin with {PREFIX} are reserved: rename the column"
        )
    if name in OTHERS_COLUMNS:
        raise ValueError(f"{name!r} is a column of PostgreSQL or pandas: rename yours")
    return name


def _statistic(name: str) -> str:
    if not _STATISTIC.fullmatch(name):
        raise ValueError(f"{name!r} is not one of mean, std, median, percentile0 to percentile99")
    return name


def _encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError as error:
        raise ValueError(f"{name!r} is not an encoding that Python knows") from error
    return name


def _stamp(how: str) -> str:
    if how not in ("seconds", "milliseconds", "excel") and "%" not in how:
        raise ValueError(
            f"{how!r} is not seconds, milliseconds, excel or a format such as '%d.%m.%Y %H:%M:%S'"
        )
    return how


def _in_language(text: Any, info: ValidationInfo) -> Any:
    context = info.context or {}
    return chosen(text, context.get("language", "en"))


Identifier = Annotated[str, AfterValidator(_identifier)]
# One text for all languages, or in the file `{en: ..., de: ...}`, of which that of the key
# `language` is read.
Words = Annotated[str, BeforeValidator(_in_language)]
Statistic = Annotated[str, AfterValidator(_statistic)]
PhaseValue = int | str


def _refuse_repeated(message: str, columns: Iterable[tuple[str, Place]]) -> None:
    """Refuse columns of the same name; DuckDB, unlike PostgreSQL, ignores capital letters."""
    first_of = dict[str, str]()
    for name, place in columns:
        first = first_of.get(name.casefold())
        if first is not None:
            capitals = "" if first == name else f" (as {first}, but for capital letters)"
            raise Misplaced(f"{message} {name}{capitals}: rename one of them", place)
        first_of[name.casefold()] = name


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_not_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false, which count as 1 and 0, where anything else is expected."""
        field = cls.__pydantic_fields__[info.field_name or ""]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError("neither true nor false is possible here")
        return value


class Columns(_Record):
    """Key columns, and all columns of the sensor table in their order.

    Where `rig` is given, it is the column of files that names one of several rigs. Experiments are
    then called RIG/EXPERIMENT everywhere: each rig may count its own from 1.
    """

    rig: Identifier | None = None
    experiment: Identifier
    experiment_type: Literal["integer", "text"] = "integer"
    phase: Identifier
    timestamp: Identifier
    online: tuple[Identifier, ...]

    @property
    def keys(self) -> list[str]:
        """What identifies one phase of one experiment."""
        return [self.experiment, self.phase]

    @model_validator(mode="after")
    def _experiments_of_rigs_have_names(self) -> Self:
        if self.rig is None:
            return self
        if self.experiment_type != "text":
            raise Misplaced(
                "experiments of several rigs are called RIG/EXPERIMENT: set experiment_type: text",
                ("experiment_type",),
            )
        if self.rig in self.online:
            raise Misplaced(
                "the sensor table has no column of the rig, which is in the names of experiments: "
                "remove it here",
                ("online", self.online.index(self.rig)),
            )
        return self


class Dialect(_Record):
    """How the tables of a plant or a laboratory are written."""

    separator: Annotated[str, Field(min_length=1, max_length=1)] = ";"
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", " ", "'"] | None = None
    missing: tuple[str, ...] = ()  # words that stand for an empty cell
    skip_rows: Annotated[int, Field(ge=0)] = 0  # lines before that of the column names
    units_row: bool = False  # the line after that of the column names holds units
    # `seconds` or `milliseconds` since 1970, `excel` days, or a format such as "%d.%m.%Y %H:%M:%S".
    # ISO 8601 is read in any case.
    timestamp: Annotated[str, AfterValidator(_stamp)] = "seconds"
    time_zone: str | None = None  # of stamps that name none, for example Europe/Berlin

    def contradiction(self) -> str | None:
        """What does not go together, None when all does."""
        if self.thousands == self.decimal:
            return f"decimal and thousands are both {self.decimal!r}"
        names_its_zone = self.timestamp in ("seconds", "milliseconds") or "%z" in self.timestamp
        if not names_its_zone and self.time_zone is None:
            return f"timestamp {self.timestamp!r} names no time zone: set time_zone"
        return None


class Files(Dialect):
    """Names inside a data set folder, and how files are written."""

    sensors: str = "sensors.csv"
    laboratory: str = "lab.csv"
    archived: str = "archived.csv"  # features of phases whose sensor rows are gone
    laboratory_dialect: Dialect = Dialect()  # where laboratory files differ

    @property
    def of_sensors(self) -> Dialect:
        """How sensor files and grouping files are written."""
        return Dialect(**self.model_dump(include=set(dict(Dialect.model_fields))))

    @property
    def of_laboratory(self) -> Dialect:
        """How laboratory files are written."""
        different = self.laboratory_dialect
        changes = {name: getattr(different, name) for name in different.model_fields_set}
        return self.of_sensors.model_copy(update=changes)

    @property
    def own(self) -> Dialect:
        """How we write files ourselves."""
        return Dialect(separator=self.separator)

    @model_validator(mode="after")
    def _dialects_are_possible(self) -> Self:
        for dialect in (self.of_sensors, self.of_laboratory):
            if contradiction := dialect.contradiction():
                raise ValueError(contradiction)
        return self


class Phase(_Record):
    """One part of an experiment that is predicted on its own."""

    # It becomes part of the names of files and of figures in MLflow.
    name: Annotated[str, Field(pattern=r"^[\w .:-]+$", max_length=100)]
    value: PhaseValue
    label: str
    title: Words = ""  # by default the name
    judged: bool = False

    @property
    def shown(self) -> str:
        """What people read."""
        return self.title or self.name

    @field_validator("value", "label")
    @classmethod
    def _can_be_found(cls, value: PhaseValue) -> PhaseValue:
        """Keys of tables and files have no blanks at their ends, and fit into 64 bits."""
        if isinstance(value, int):
            if not -(2**63) <= value < 2**63:
                raise ValueError(f"{value} has more than 64 bits: no table can hold it")
        elif not value or value != value.strip() or not usable_key(value):
            raise ValueError(
                f"{value!r} is empty, too long, or has blanks at an end or a control character"
            )
        return value


class Laboratory(_Record):
    """How to read laboratory files."""

    phase_column: Identifier
    missing_below: float | None = None
    sample_column: Identifier | None = None  # what tells the samples of a phase apart


class ValidRows(_Record):
    """Sensor rows count only where `column` is at least `min` or empty."""

    column: Identifier
    min: float


class Quantity(_Record):
    """Something measured, with the range that is possible, and the scale on which models see it."""

    name: Identifier
    title: Words
    unit: Words
    low: float
    high: float
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"{self.name}: low {self.low} is not below high {self.high}")
        return self

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if self.scale == "log" and self.low < 0:
            raise ValueError(f"{self.name}: scale log needs low of at least 0, not {self.low}")
        return self


class Sensor(Quantity):
    """What the rig measures in-line; the range is what its instrument can report.

    On the scale `log`, models see log(1 + value), see `features.model_inputs`.
    """

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

    @property
    def outside_training(self) -> str:
        """Column that tells whether a phase is outside the range of the training phases."""
        return f"{self.name}_outside_training"


class Limit(_Record):
    """What counts as clean."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.min is None) == (self.max is None):
            raise ValueError("a limit has either min or max")
        return self

    @property
    def bound(self) -> float:
        """The value that still keeps it."""
        bound = self.min if self.max is None else self.max
        assert bound is not None
        return bound

    @property
    def side(self) -> int:
        """1 for the most that is clean, -1 for the least."""
        return -1 if self.max is None else 1


class Target(Quantity):
    """What the laboratory measures and we predict; the range is what is physically possible.

    On the scale `log`, it is log(1 + value) that is learned. What is learned from values beyond a
    limit of the assay, such as <5 and >1000, see `censoring.substituted`.
    """

    limit: Limit | None = None
    below_detection: Literal["half", "limit", "zero", "missing"] = "half"
    above_range: Literal["limit", "missing"] = "limit"

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
    def inside(self) -> str:
        """Column of laboratory values: whether the prediction interval contains the value."""
        return f"{self.name}_inside"

    @property
    def off(self) -> str:
        """Column of the laboratory value minus the prediction, in the unit."""
        return f"{self.name}_off"

    @property
    def alone(self) -> str:
        """Column of what the model alone predicts, see `correction`."""
        return f"{self.name}_alone"

    @property
    def adapted(self) -> str:
        """Column of that prediction as recent laboratory values correct it."""
        return f"{self.name}_adapted"

    @property
    def bias(self) -> str:
        """Column of that correction, on the working scale."""
        return f"{self.name}_bias"

    @property
    def widening(self) -> str:
        """Column of the factor by which recent laboratory values change its interval."""
        return f"{self.name}_widening"

    @property
    def correction(self) -> list[str]:
        """Columns of the ledger that hold what recent laboratory values change."""
        return [self.alone, self.adapted, self.bias, self.widening]

    @property
    def columns(self) -> list[str]:
        """All columns that belong to it."""
        interval = [self.lower, self.upper]
        checked = [self.measured, self.censored, self.inside, self.off, self.score, self.spread]
        return [self.name, *interval, *checked, *self.correction]

    @property
    def score(self) -> str:
        """Column of the out-of-fold error in units of the spread, see `intervals`."""
        return f"{self.name}_score"

    @property
    def spread(self) -> str:
        """Column of that spread itself, on the working scale, see `votes_and_spread`."""
        return f"{self.name}_spread"

    @model_validator(mode="after")
    def _zero_is_lowest(self) -> Self:
        if self.below_detection == "zero" and self.low != 0:
            raise ValueError(f"{self.name}: below_detection zero needs low: 0, not {self.low}")
        return self


class Group(_Record):
    """Rows with one value of `column` are never split; `file` maps experiments to it."""

    column: Identifier
    file: str


class Training(_Record):
    """How a model is made."""

    folds: Annotated[int, Field(ge=2)] = 10
    trials: Annotated[int, Field(ge=1)] = 100
    coverage: Annotated[float, Field(gt=0.5, lt=1)] = 0.9
    seed: int = 0
    min_experiments: Annotated[int, Field(ge=10)] = 10
    group: Group | None = None

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_held_out(cls, content: Any) -> Any:
        if isinstance(content, dict) and "holdout" in content:
            raise Misplaced(
                "all experiments train, and are judged by models that have not seen them: remove "
                "this line",
                ("holdout",),
            )
        return content


class Budget(_Record):
    """Which share of all judged phases a verdict may at most get wrong, see `predictor.risk`."""

    wrong_clean: Annotated[float, Field(gt=0, lt=0.5)] = 0.03
    wrong_not_clean: Annotated[float, Field(gt=0, lt=0.5)] = 0.03


class Prediction(_Record):
    """How the inbox is worked off."""

    settle_minutes: Annotated[float, Field(ge=0)] = 60
    retention_days: Annotated[float, Field(ge=0)] = 30
    retention: Literal["rows", "partitions"] = "rows"
    clock_limit_hours: Annotated[float, Field(ge=0)] = 24
    max_phase_minutes: Annotated[float, Field(gt=0)] | None = None
    reused_after_hours: Annotated[float, Field(gt=0)] | None = None
    connections: Annotated[int, Field(ge=1)] = 2
    batch: Annotated[int, Field(ge=1)] = 1000
    min_samples: Annotated[int, Field(ge=1)] = 60

    @model_validator(mode="after")
    def _reused_after_a_phase(self) -> Self:
        longest = self.max_phase_minutes
        if longest and self.reused_after_hours and 60 * self.reused_after_hours <= longest:
            raise ValueError("reused_after_hours is not longer than max_phase_minutes")
        return self


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
    """What mails, pages and reports call the things of this rig; the defaults fit any rig.

    Each is part of a sentence, without a capital letter or a full stop.
    """

    # The phases that get a verdict.
    judged_phases: Words = "phases"
    # What can move several sensors at once.
    influences: Words = "the process, its materials or its settings"
    # A change that may not show in any sensor.
    unseen_change: Words = "a change of the process"
    # What a suspicious sensor is compared with.
    sensor_check: Words = "a reference instrument"
    # Which phases the laboratory should check when a sensor has drifted.
    accepted_phases: Words = "some phases"


Adaptation = Literal["on", "shadow", "off"]
_SWITCH: dict[Any, Adaptation] = {True: "on", False: "off"}  # what YAML makes of on and off


class SoftSensor(_Record):
    """The whole of params.yaml."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    language: Code = "en"
    columns: Columns
    files: Files = Files()
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    laboratory: Laboratory
    valid_rows: ValidRows | None = None
    sensors: Annotated[tuple[Sensor, ...], Field(min_length=1)]
    statistics: Annotated[tuple[Statistic, ...], Field(min_length=1)]
    targets: Annotated[tuple[Target, ...], Field(min_length=1)]
    training: Training = Training()
    verdict: Budget = Budget()
    prediction: Prediction = Prediction()
    adaptation: Adaptation = "on"
    monitoring: Monitoring = Monitoring()
    wording: Wording = Wording()

    @model_validator(mode="before")
    @classmethod
    def _switch(cls, content: Any) -> Any:
        if isinstance(content, dict) and isinstance(content.get("adaptation"), bool):
            return {**content, "adaptation": _SWITCH[content["adaptation"]]}
        return content

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
        if not words.removeprefix("-").isdecimal():
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
        for section in ("sensors", "targets"):
            names = [quantity.name for quantity in getattr(self, section)]
            places = [(section, number, "name") for number in range(len(names))]
            _refuse_repeated(f"{section} named twice:", zip(names, places))
        online = enumerate(self.columns.online)
        _refuse_repeated(
            "columns.online names twice", ((name, ("columns", "online", n)) for n, name in online)
        )
        lists: dict[str, list[Any]] = {
            "statistics": list(self.statistics),
            "phase names": ["all", *(phase.name for phase in self.phases)],
            "phase values": [phase.value for phase in self.phases],
            "phase labels": [phase.label for phase in self.phases],
        }
        for what, values in lists.items():
            if repeated := sorted({str(value) for value in values if values.count(value) > 1}):
                place = "statistics" if what == "statistics" else "phases"
                raise Misplaced(f"{what} named twice: {', '.join(repeated)}", (place,))
        return self

    @model_validator(mode="after")
    def _phase_values_have_one_type(self) -> Self:
        if len({type(phase.value) for phase in self.phases}) > 1:
            raise Misplaced("phase values must be all numbers or all text", ("phases",))
        return self

    @model_validator(mode="after")
    def _statistics_include_what_monitoring_needs(self) -> Self:
        if not {"median", "std"} <= set(self.statistics):
            raise Misplaced("median and std are needed for monitoring", ("statistics",))
        return self

    @model_validator(mode="after")
    def _columns_of_the_ledger_are_unique(self) -> Self:
        own: list[tuple[str, Place]] = [
            (getattr(self.columns, role), ("columns", role)) for role in ("experiment", "phase")
        ]
        for number, sensor in enumerate(self.sensors):
            names = [*self.features_of(sensor), sensor.out_of_bounds, sensor.outside_training]
            own += [(name, ("sensors", number, "name")) for name in names]
        for number, target in enumerate(self.targets):
            own += [(name, ("targets", number, "name")) for name in target.columns]
        for name, place in own:
            if name.casefold() in LEDGER_COLUMNS or name in STUDY_COLUMNS & set(self.target_names):
                raise Misplaced(
                    f"{name} is a column that the results have already, with another meaning: "
                    "rename yours, here and in the files",
                    place,
                )
        _refuse_repeated("two columns of the results would be called", own)
        return self

    @model_validator(mode="after")
    def _sensor_rows_have_their_columns(self) -> Self:
        online = self.columns.online
        for number, name in enumerate(online):
            if name.casefold() in INBOX_COLUMNS:
                raise Misplaced(
                    f"{name} is a column that online_data and rejected_data have already: rename "
                    "yours, here and in the files",
                    ("columns", "online", number),
                )
        if missing := [name for name in self.required_columns if name not in online]:
            raise Misplaced(
                f"{', '.join(missing)} must be listed, too: they are used elsewhere in this file",
                ("columns", "online"),
            )
        roles: list[tuple[str, Place]] = [
            (getattr(self.columns, role), ("columns", role))
            for role in ("rig", "experiment", "phase", "timestamp")
            if getattr(self.columns, role)
        ]
        sensors = enumerate(self.sensors)
        roles += [(sensor.name, ("sensors", number, "name")) for number, sensor in sensors]
        _refuse_repeated("two of key, time stamp and sensors are the column", roles)
        return self

    @model_validator(mode="after")
    def _laboratory_files_have_their_columns(self) -> Self:
        experiment = self.columns.experiment
        columns: list[tuple[str, Place]] = [(experiment, ("columns", "experiment"))]
        if self.columns.rig:
            columns.append((self.columns.rig, ("columns", "rig")))
        for number, target in enumerate(self.targets):
            columns.append((target.name, ("targets", number, "name")))
        label = (self.laboratory.phase_column, ("laboratory", "phase_column"))
        columns.append(label)
        if self.laboratory.sample_column:
            columns.append((self.laboratory.sample_column, ("laboratory", "sample_column")))
        _refuse_repeated("a laboratory file has two columns called", columns)
        if self.training.group:
            group = (self.training.group.column, ("training", "group", "column"))
            _refuse_repeated("a file of groups has two columns called", [columns[0], group])
        return self


def load_soft_sensor(path: Path) -> SoftSensor:
    """Read and check a params file.

    Raises:
        ParamsError: when it is missing, is not YAML in UTF-8, or breaks the contract; the message
            names the line of each fault: that of its key, or where a part is missing that of the
            section.
    """
    if not path.is_file():
        raise ParamsError(f"{path} not found: run from the repository or set IMPRESS_PARAMS")
    node, content = parsed(path)
    try:
        return SoftSensor.model_validate(content, context={"language": _language(content)})
    except ValidationError as error:
        faults = [fault_of(node, dict(fault)) for fault in error.errors()]
        raise params_error(path, faults) from error


def _language(content: Any) -> Code:
    """The language of a params file; English where it names none that we have."""
    named = content.get("language") if isinstance(content, dict) else None
    return next((code for code in CODES if code == named), "en")
