"""Files that cannot be read are named before anything is computed, and nothing false is written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from src.components.predictor.flags import Flag, has_flag
from src.errors import DataError
from src.soft_sensor import SoftSensor
from tests.builders.history import Rows, odd_rows, write
from tests.integration.backfill.conftest import UNIT_ROWS, Command, Score, content, phases

EXPERIMENTS = 24
BROKEN = 1  # place of the broken file, among three


@pytest.fixture(name="history")
def fixture_history(spec: SoftSensor, tmp_path: Path) -> Path:
    """Three files; each border cuts through a phase."""
    rows = Rows(spec)
    for experiment in range(1, EXPERIMENTS + 1):
        rows.add(experiment, 1)
        rows.add(experiment, 0)
    whole = rows.frame()
    third = len(whole) // 3 + 50
    (tmp_path / "history").mkdir()
    for number in range(3):
        part = whole.iloc[number * third : (number + 1) * third]
        write(part, tmp_path / "history" / f"{number}.parquet")
    return tmp_path / "history"


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-200])


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _noise(file: Path) -> None:
    file.write_bytes(np.random.default_rng(1).bytes(5000))


def _without_column(file: Path) -> None:
    table = parquet.read_table(file)
    parquet.write_table(table.drop_columns(["ph"]), file)


def _text(file: Path) -> None:
    table = parquet.read_table(file)
    place = table.schema.get_field_index("ph")
    parquet.write_table(table.set_column(place, "ph", table["ph"].cast(pa.string())), file)


def _float_key(file: Path) -> None:
    table = parquet.read_table(file)
    place = table.schema.get_field_index("experimentnummer")
    keys = table["experimentnummer"].cast(pa.float64())
    parquet.write_table(table.set_column(place, "experimentnummer", keys), file)


FAULTS: dict[Callable[[Path], None], str] = {
    _cut: "magic bytes",
    _empty: "0 bytes",
    _noise: "magic bytes",
    _without_column: "column ph is missing",
    _text: "column ph holds string where numbers belong",
    _float_key: "column experimentnummer holds double where whole numbers belong",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_it_is_named_and_what_is_beside_it_is_not_scored(
    score: Score, history: Path, spec: SoftSensor, tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    score(out=str(tmp_path / "whole"))
    whole = phases(tmp_path / "whole", spec)
    fault(history / f"{BROKEN}.parquet")
    summary = score()
    assert summary.is_partial
    (unreadable,) = summary.history.unreadable
    assert unreadable.path.endswith(f"{BROKEN}.parquet") and FAULTS[fault] in unreadable.why
    assert summary.missing and len(summary.failures) == summary.missing
    assert all("--skip-unreadable" in words for words in summary.failures)
    skipped = score(skip_unreadable=True)
    assert not skipped.missing and not skipped.is_partial
    found = phases(tmp_path / "out", spec)
    flagged = has_flag(found["flags"], Flag.MAY_LACK_ROWS)
    # What has no flag is what it would be without the fault; and the phase that was cut has one.
    assert flagged.any() and not flagged.all()
    sound = found[~flagged].merge(whole, how="left", indicator=True)
    assert (sound["_merge"] == "both").all()
    both = found.merge(whole, on=spec.columns.keys, suffixes=("", "_whole"))
    cut = both["n_samples"] < both["n_samples_whole"]
    assert cut.any() and has_flag(both.loc[cut, "flags"], Flag.MAY_LACK_ROWS).all()


def test_bytes_that_flipped_are_found_when_the_unit_is_computed(
    score: Score, history: Path, spec: SoftSensor, tmp_path: Path
) -> None:
    file = history / f"{BROKEN}.parquet"
    group = parquet.ParquetFile(file).metadata.row_group(0)
    column = next(
        column
        for column in (group.column(place) for place in range(group.num_columns))
        if column.path_in_schema == "ph"
    )
    content_of = bytearray(file.read_bytes())
    begin = column.dictionary_page_offset or column.data_page_offset
    content_of[begin : begin + 40] = b"\xff" * 40
    file.write_bytes(bytes(content_of))
    summary = score()
    assert not summary.history.unreadable
    assert summary.failures and all(str(file) in words for words in summary.failures)
    skipped = score(skip_unreadable=True)
    assert not skipped.missing
    unread = skipped.counts.unread_rows
    assert 0 < unread <= len(parquet.read_table(file, columns=["waschen"]))
    assert f"{unread:,} in damaged files" in str(skipped.counts)
    assert [words.startswith(str(file)) for words in skipped.counts.damaged] == [True]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["damaged"] == skipped.counts.damaged
    flags = phases(tmp_path / "out", spec)["flags"]
    assert has_flag(flags, Flag.MAY_LACK_ROWS).any()


def test_a_repaired_file_is_scored_and_its_flags_go(
    score: Score, history: Path, spec: SoftSensor, tmp_path: Path
) -> None:
    score(out=str(tmp_path / "whole"))
    file = history / f"{BROKEN}.parquet"
    sound, stat = file.read_bytes(), file.stat()
    _cut(file)
    score(skip_unreadable=True)
    file.write_bytes(sound)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not score(skip_unreadable=True).is_partial
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert not has_flag(phases(tmp_path / "out", spec)["flags"], Flag.MAY_LACK_ROWS).any()


def test_numbers_of_another_type_in_one_file_change_nothing(
    score: Score, history: Path, spec: SoftSensor, tmp_path: Path
) -> None:
    """One file has whole numbers where the next has fractions; one has a column of only NULL."""
    file = history / "0.parquet"
    table = parquet.read_table(file)
    place = table.schema.get_field_index("leitfaehigkeit")
    whole = table["leitfaehigkeit"].to_pandas().round()
    for kind, name in ((pa.float64(), "floats"), (pa.int32(), "integers")):
        column = pa.array(whole).cast(kind)
        parquet.write_table(table.set_column(place, "leitfaehigkeit", column), file)
        score(out=str(tmp_path / name))
    # The sums of a phase that lies in two kinds of files are added up, in another order.
    pd.testing.assert_frame_equal(
        phases(tmp_path / "floats", spec), phases(tmp_path / "integers", spec), rtol=1e-12
    )
    nothing = pa.nulls(len(table))
    parquet.write_table(table.set_column(place, "leitfaehigkeit", nothing), file)
    score()
    flags = phases(tmp_path / "out", spec)["flags"]
    assert has_flag(flags, "leitfaehigkeit_missing").any()


def test_nothing_but_broken_files_is_an_error(score: Score, history: Path) -> None:
    for file in history.iterdir():
        _empty(file)
    with pytest.raises(DataError, match="no file can be read: .*0.parquet"):
        score()


def test_an_address_without_files_is_an_error(score: Score, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="holds no file whose name ends with"):
        score(source=str(tmp_path / "nothing"))


def test_csv_files_are_read_as_load_reads_them(
    score: Score, history: Path, spec: SoftSensor, tmp_path: Path
) -> None:
    score(out=str(tmp_path / "parquet"))
    texts = tmp_path / "texts"
    texts.mkdir()
    for file in sorted(history.iterdir()):
        rows = parquet.read_table(file).to_pandas()
        rows.to_csv(texts / f"{file.stem}.csv", sep=spec.files.separator, index=False)
    score(source=str(texts / "*.csv"))
    pd.testing.assert_frame_equal(
        phases(tmp_path / "out", spec), phases(tmp_path / "parquet", spec), check_exact=True
    )
    lines = (texts / "1.csv").read_text(encoding="utf-8").splitlines()
    lines[7] = lines[7].replace(";", ";x", 1)
    (texts / "1.csv").write_text("\n".join(lines), encoding="utf-8")
    summary = score(source=str(texts / "*.csv"))
    (unreadable,) = summary.history.unreadable
    assert "1.csv, line 8" in unreadable.why


def test_the_command_says_what_is_wrong_and_ends_with_3(
    command: Command, history: Path, tmp_path: Path
) -> None:
    _without_column(history / f"{BROKEN}.parquet")
    arguments = ["backfill", str(history), str(tmp_path / "out"), "--unit-rows", str(UNIT_ROWS)]
    done = command(*arguments)
    assert done.exit_code == 3
    assert f"cannot be read: {history}/{BROKEN}.parquet: column ph is missing" in done.stdout
    assert "not done: experiments" in done.stdout


def test_a_model_of_other_features_is_refused_before_anything_is_computed(
    command: Command, history: Path, params: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.yaml"
    content_of = params.read_text(encoding="utf-8").replace("percentile75", "percentile90")
    other.write_text(content_of, encoding="utf-8")
    monkeypatch.setenv("IMPRESS_PARAMS", str(other))
    done = command("backfill", str(history), str(tmp_path / "out"))
    assert done.exit_code == 1 and "trained for other features" in done.stderr
    assert not (tmp_path / "out").exists()


def test_odd_rows_beside_a_broken_file(score: Score, history: Path, spec: SoftSensor) -> None:
    write(odd_rows(spec), history / "3.parquet")
    _cut(history / "2.parquet")
    assert score(skip_unreadable=True).counts.phases > 0
