"""params.yaml is checked on load, and its faults are named by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.components.database.tables import tables
from src.components.ingestion import data_set
from src.components.transformation.features import feature_definition
from src.errors import ParamsError
from src.soft_sensor import (
    INBOX_COLUMNS,
    LEDGER_COLUMNS,
    SoftSensor,
    load_soft_sensor,
    usable_key,
)
from tests.conftest import ROOT


def _changed(home: Path, old: str, new: str) -> Path:
    file = home / "params.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    return file


def _line(file: Path, part: str) -> int:
    lines = file.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if part in line)


def test_features_are_named_sensor_by_sensor(spec: SoftSensor) -> None:
    assert spec.features[:5] == [
        "truebung_mean",
        "truebung_std",
        "truebung_median",
        "truebung_percentile25",
        "truebung_percentile75",
    ]
    assert len(spec.features) == 25


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("high: 14,", "high: fourteen,", "valid number"),
        ("seed: 0", "sed: 0", "training.sed: unknown key"),
        ("median, percentile25", "median, percentil25", "not one of mean"),
        ("name: ph,", 'name: "p; DROP TABLE x",', "not a column name"),
        ("limit: {min: 60}", "limit: {}", "either min or max"),
        ("coverage: 0.9 ", "coverage: 1.2 ", "less than 1"),
        ("seed: 0", "holdout: 0.2", "all experiments train"),
        ("wrong_clean: 0.03 ", "wrong_clean: 3 ", "less than 0.5"),
        ("wrong_not_clean: 0.03 ", "wrong_not_clean: 0 ", "greater than 0"),
        (
            "unit: NTU, low: 0,",
            "unit: NTU, low: -1,",
            "truebung: scale log needs low of at least 0",
        ),
        ("title: pH,", "title: pH, scale: cubic,", "'linear' or 'log'"),
    ],
)
def test_a_fault_is_named_by_its_line(home: Path, old: str, new: str, complaint: str) -> None:
    file = _changed(home, old, new)
    with pytest.raises(ParamsError, match=complaint) as caught:
        load_soft_sensor(file)
    assert f"line {_line(file, new)}:" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("name: druck1, title", "name: ph, title", "sensors named twice: ph"),
        ("low: 0, high: 14", "low: 14, high: 0", "ph: low 14.0 is not below high 0.0"),
        ("fluss2, ph, leit", "fluss2, leit", "columns.online: ph must be listed, too"),
        ("std, median, per", "std, per", "statistics: median and std are needed"),
        ("value: 0, label", "value: rinse, label", "all numbers or all text"),
        (
            "reserv1, reserv2]",
            "reserv1, run_id]",
            "columns.online.20: run_id is a column that online_data",
        ),
        ("phase: waschen", "phase: flags", "columns.phase: flags is a column that the results"),
        ("phase: waschen", "phase: Flags", "columns.phase: Flags is a column that the results"),
        ("name: anionischetenside", "name: ph_mean", "would be called ph_mean: rename"),
        ("name: anionischetenside", "name: loaded_at", "loaded_at is a column that the results"),
        ("name: anionischetenside", "name: bemerkungen", "two columns called bemerkungen"),
        ("name: anionischetenside", "name: loss", "loss is a column that the results"),
        ("name: rinsing", "name: washing", "phase names named twice: washing"),
        ("name: rinsing", "name: all", "phase names named twice: all"),
        ("fluss2, ph, leit", "fluss2, ph, Ph, leit", "Ph .as ph, but for capital letters."),
        ("timestamp: timestamp", "timestamp: waschen", "time stamp and sensors are the column"),
        ("reserv1, reserv2]", "reserv1, IMPRESS_x]", "begin with impress_ are reserved"),
        ("reserv1, reserv2]", "reserv1, ctid]", "is a column of PostgreSQL"),
        ("reused_after_hours: 24", "reused_after_hours: 0.5", "not longer than max_phase_minutes"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(
    home: Path, old: str, new: str, complaint: str
) -> None:
    file = _changed(home, old, new)
    text = file.read_text(encoding="utf-8")
    with pytest.raises(ParamsError, match=complaint) as caught:
        load_soft_sensor(file)
    # Of two entries that collide the second is named, of a list that is incomplete its beginning.
    places = (new, "phase_column:", "title: pH", "statistics:", "phases:", "online:", "prediction:")
    assert any(
        f"line {_line(file, part)}: " in str(caught.value) for part in places if part in text
    )


@pytest.mark.parametrize(
    ("rig", "kind", "place", "complaint"),
    [
        ("maschine", "integer", "experiment_type", "are called RIG/EXPERIMENT: set experiment_ty"),
        ("csbeq", "text", "online: [", "the sensor table has no column of the rig"),
        ("bemerkungen", "text", "phase_column:", "a laboratory file has two columns called"),
        ("EXPERIMENTNUMMER", "text", "experiment: ", "two of key, time stamp and sensors are"),
    ],
)
def test_a_rig_is_a_column_of_its_own(
    home: Path, rig: str, kind: str, place: str, complaint: str
) -> None:
    with_kind = _changed(home, "experiment_type: integer", f"experiment_type: {kind}")
    text = with_kind.read_text(encoding="utf-8")
    text = text.replace("columns:\n", f"columns:\n  rig: {rig}\n", 1)
    with_kind.write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError, match=complaint) as caught:
        load_soft_sensor(with_kind)
    assert f"line {_line(with_kind, place)}: " in str(caught.value)


SURPRISES = [
    ("high: 14,", "high: .inf,", ".inf is not a finite number"),
    ("high: 14,", "high: -.INF,", "-.INF is not a finite number"),
    ("high: 14,", "high: .nan,", ".nan is not a finite number"),
    ("high: 14,", 'high: "nan",', "should be a finite number"),
    ("high: 14,", "high: inf,", "should be a finite number"),
    ("high: 14,", "high: 1e999,", "should be a finite number"),
    ("high: 14,", "high: 1.0e+999,", "should be a finite number"),
    ("seed: 0", "seed: .inf", "not a finite number"),
    ("settle_minutes: 60 ", "settle_minutes: .nan ", "not a finite number"),
    ("min: 60}}", "min: .inf}}", "not a finite number"),
    ("column: vorschlagsnummer, min: 0", "column: vorschlagsnummer, min: -.inf", "not a finite"),
    ("missing_below: 0", "missing_below: .nan", "not a finite number"),
    ("value: 0,", "value: 010,", "YAML reads 010 as another number"),
    ("value: 0,", "value: 0x10,", "YAML reads 0x10 as another number"),
    ("value: 0,", "value: 12:30,", "YAML reads 12:30 as another number"),
    ("value: 0,", "value: 1_000,", "YAML reads 1_000 as another number"),
    ("value: 0,", "value: 99999999999999999999,", "has more than 64 bits"),
    ("name: rinsing", "name: a/b", "should match pattern"),
    ("value: 0,", "value: no,", "no is read as true or false: put it in quotes"),
    ("label: S1", "label: NO", "NO is read as true or false: put it in quotes"),
    ("label: S1", "label: 7", "7 is read as a number: put it in quotes"),
    ("label: S1", "label: 2024-01-01", "2024-01-01 is read as a date: put it in quotes"),
    ("label: S1", "label: ~", "the entry is empty"),
    ("label: S1", 'label: "S1 "', "has blanks at an end"),
    ("name: laundry ", "name: on ", "on is read as true or false"),
    ("reserv1, reserv2]", "reserv1, off]", "off is read as true or false"),
    ("coverage: 0.9 ", "coverage: yes ", "neither true nor false"),
    ("seed: 0", "seed: 0\n  seed: 1", "seed is there twice, the first time in line"),
    ("unit: NTU, low", "unit: NTU, unit: FNU, low", "unit is there twice"),
    ("value: 1, label", "value: 1, value: 1, label", "value is there twice"),
    ("seed: 0", "seed: 0\n  no: 0", "the key no is read as true or false"),
    ("seed: 0", "seed: 0\n  1: 0", "the key 1 is read as a number"),
    ("seed: 0", "seed: 0\n  [a]: 0", "a list or a section cannot be a key"),
    ("unit: NTU, low", "units: NTU, low", "sensors.0.units: unknown key"),
    ("price: 1900}", "prize: 1900}", "sensors.0.prize: unknown key"),
    ("seed: 0", "seed: 0\n\tfolds: 2", "indent with blanks"),
    ("seed: 0", "seed: 0 \x01", "a control character, U.0001"),
    ("seed: 0", "seed: !!python/name:os.system x", "could not determine a constructor"),
]


@pytest.mark.parametrize(("old", "new", "complaint"), SURPRISES)
def test_what_nobody_means_is_refused_by_its_line(
    home: Path, old: str, new: str, complaint: str
) -> None:
    file = _changed(home, old, new)
    with pytest.raises(ParamsError, match=complaint) as caught:
        load_soft_sensor(file)
    assert f"{file}, line {_line(file, new.splitlines()[-1])}: " in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty: begin with the params.yaml of the repository"),
        (b"# nothing but a comment\n", "is empty"),
        (b"- name: laundry\n", "line 1: file: a section with keys belongs here"),
        (b"laundry\n", "line 1: file: a section with keys belongs here"),
        (b"name: a\ntraining:\n", "line 2: training: a section .* .the entry is empty."),
        (b"name: w\xe4sche\n", "line 1: not UTF-8: save the file in this encoding"),
        (b"name: a\ncolumns: b\nfiles: \xff\n", "line 3: not UTF-8"),
        ("name: laundry\n".encode("utf-16"), "line 1: not UTF-8"),
        (b"name: a\n---\nname: b\n", "line 2: but found another document"),
        (b"name: *a\n", "line 1: found undefined alias 'a'"),
        (b"name: &a {<<: *a}\n", "line 1: name: Input should be a valid string"),
        (b"sensors: &a [*a]\n", "line 1: sensors.0: a section with keys belongs here"),
        (b"name: " + 5000 * b"[" + b"\n", "nested too deeply"),
    ],
)
def test_a_file_that_is_no_params_file_is_refused(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    file = tmp_path / "params.yaml"
    file.write_bytes(content)
    with pytest.raises(ParamsError, match=complaint):
        load_soft_sensor(file)


def test_several_faults_are_named_at_once(home: Path) -> None:
    file = _changed(home, "seed: 0", "seed: x")
    file.write_text(file.read_text(encoding="utf-8").replace("folds: 3", "folds: 1"))
    with pytest.raises(ParamsError) as caught:
        load_soft_sensor(file)
    for part in ("seed: x", "folds: 1"):
        assert f"line {_line(file, part)}: " in str(caught.value)


def test_anchors_and_merged_sections_are_read_and_their_faults_named_where_they_are(
    home: Path,
) -> None:
    old = '- {name: ph, title: pH, unit: "1", low: 0, high: 14, price: 700}'
    title = "title: {en: pressure, de: Druck}"
    base = f"- &base {{name: druck1, {title}, unit: bar, low: 0, high: 10, price: 400}}"
    file = _changed(home, base.replace("&base ", ""), base)
    file = _changed(home, old, '- {<<: *base, name: ph, title: pH, unit: "1", high: 14}')
    sensor = load_soft_sensor(file).sensor("ph")
    assert (sensor.low, sensor.high, sensor.price) == (0, 14, 400)

    own_fault = _changed(home, 'unit: "1", high: 14}', 'unit: "1", high: -1}')
    with pytest.raises(ParamsError, match=f"line {_line(file, 'high: -1}')}: sensors.3"):
        load_soft_sensor(own_fault)
    inherited = _changed(home, "price: 400}", "prize: 400}")
    with pytest.raises(ParamsError, match=f"line {_line(file, 'prize: 400}')}: sensors.3.prize"):
        load_soft_sensor(inherited)


def test_columns_that_the_tables_add_are_reserved(spec: SoftSensor) -> None:
    described = tables(spec)
    of_the_rig = {*spec.columns.online, *spec.features}
    for target in spec.targets:
        of_the_rig |= set(target.columns)
    for table in (described.archived, described.laboratory):
        assert {column.name for column in table.columns} - of_the_rig <= LEDGER_COLUMNS
    for table in (described.online, described.rejected):
        assert {column.name for column in table.columns} - of_the_rig <= INBOX_COLUMNS
    assert set(data_set.archived_columns(spec)) - of_the_rig <= LEDGER_COLUMNS


def test_the_shipped_files_have_the_same_features_as_before() -> None:
    definitions = {
        "params.yaml": "1f863546769c0cf63069773b8ef8d82f",
        "examples/hydraulics/params.yaml": "bd983d3b69c68fdc18a99a8c35b525ef",
    }
    for file, begin in definitions.items():
        assert feature_definition(load_soft_sensor(ROOT / file)).startswith(begin)


def test_broken_yaml_and_a_missing_file_say_what_to_do(home: Path) -> None:
    with pytest.raises(ParamsError, match="params.yaml, line 3: expected"):
        load_soft_sensor(_changed(home, "name: laundry ", "name: [laundry "))
    with pytest.raises(ParamsError, match="set IMPRESS_PARAMS"):
        load_soft_sensor(home / "absent.yaml")


def test_keys_have_the_type_that_params_give_them(spec: SoftSensor) -> None:
    assert spec.key_types == {"experimentnummer": int, "waschen": int}
    columns = spec.columns.model_copy(update={"experiment_type": "text"})
    phase = spec.phases[0].model_copy(update={"value": "wash"})
    named = spec.model_copy(update={"columns": columns, "phases": (phase,)})
    assert named.key_types == {"experimentnummer": str, "waschen": str}


def test_keys_that_a_table_a_file_name_and_a_mail_can_hold() -> None:
    for text in (
        "42",
        "x" * 200,
        "ä" * 100,
        "a b ",
        'q"uote',
        "\u202eright to left",
        "😀",
        "../up",
    ):
        assert usable_key(text), text
    for text in ("x" * 201, "ä" * 101, "two\nlines", "\x1b[31m", "\x85", "\x7f", "nul\0", "\ud800"):
        assert not usable_key(text), ascii(text)


@pytest.mark.parametrize(
    ("language", "title", "phase", "rinses"),
    [("en", "turbidity", "rinsing", "rinses"), ("de", "Trübung", "Spülen", "Spülgänge")],
)
def test_texts_are_those_of_the_language(
    home: Path, language: str, title: str, phase: str, rinses: str
) -> None:
    spec = load_soft_sensor(_changed(home, "language: en", f"language: {language}"))
    assert spec.sensors[0].title == title
    assert spec.sensor("ph").title == "pH"  # one text is that of all languages
    assert (spec.phase(0).shown, spec.phase(0).name) == (phase, "rinsing")
    assert spec.wording.judged_phases == rinses


def test_a_phase_without_a_title_is_called_by_its_name(home: Path) -> None:
    spec = load_soft_sensor(_changed(home, ", title: {en: rinsing, de: Spülen}", ""))
    assert spec.phase(0).shown == "rinsing"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("language: en", "language: fr", "'en' or 'de'"),
        ("{en: turbidity, de: Trübung}", "{en: turbidity}", "one for each language: en, de"),
        ("{en: turbidity, de: Trübung}", "{en: a, de: b, fr: c}", "one for each language: en, de"),
        ("{en: turbidity, de: Trübung}", "{en: a, de: 7}", "one for each language: en, de"),
    ],
)
def test_a_language_that_is_missing_is_named_by_its_line(
    home: Path, old: str, new: str, complaint: str
) -> None:
    file = _changed(home, old, new)
    with pytest.raises(ParamsError, match=complaint) as caught:
        load_soft_sensor(file)
    assert f"line {_line(file, new)}" in str(caught.value)
