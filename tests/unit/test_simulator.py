"""The simulator: reproducible, physical, and wrong only where a fault says so."""

# The names of the tests say it.

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from src.simulator import (
    FAULTS,
    HEADERS,
    RECIPES,
    SENSOR_FAULTS,
    SENSORS,
    SPANS,
    START,
    WATER_TENSION,
    Recipe,
    acidity,
    autocorrelated,
    conductivity,
    diluted,
    pump,
    simulate,
    surface_tension,
)

ROOT = Path(__file__).parents[2]
KEYS = ["experimentnummer", "waschen"]
TARGETS = ["oberflaechenspannung", "anionischetenside", "nichtionischentenside"]
# mg/L: zero, or far enough from it that a relative difference can be seen.
concentrations = st.one_of(st.just(0.0), st.floats(1e-3, 2000))


def read(folder: Path, name: str) -> pd.DataFrame:
    """One of the files, empty fields as NaN."""
    return pd.read_csv(folder / name, sep=";")


def made(folder: Path, **arguments: object) -> Path:
    """A folder with eight short simulated experiments, unless `arguments` say otherwise."""
    simulate(folder, **{"experiments": 8, "seconds": 100, **arguments})  # type: ignore[arg-type]
    return folder


def of_experiment(folder: Path, number: int) -> list[str]:
    """The lines of one experiment in all files, in their order."""
    texts = [(folder / name).read_text(encoding="utf-8") for name in HEADERS]
    return [line for text in texts for line in text.splitlines() if line.startswith(f"{number};")]


def valid_sensors(folder: Path) -> pd.DataFrame:
    """Sensor rows that the rig calls valid."""
    rows = read(folder, "sensors.csv")
    return rows[rows["vorschlagsnummer"] >= 0]


def before_and_with(sound: Path, folder: Path, fault: str) -> tuple[pd.Series, pd.Series]:
    """Valid readings of the sensor at fault, before and with the fault."""
    sensor = fault.partition(":")[2]
    before, after = valid_sensors(sound), valid_sensors(made(folder, fault=fault))
    return before[sensor], after[sensor]


@pytest.fixture(name="sound", scope="module")
def fixture_sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight experiments without a fault."""
    return made(tmp_path_factory.mktemp("sound"))


@pytest.fixture(name="many", scope="module")
def fixture_many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough experiments to see every recipe, peculiarity and range."""
    return made(tmp_path_factory.mktemp("many"), experiments=400, seconds=50, seed=2)


class TestReproducibility:
    """Same arguments, same bytes."""

    def test_same_arguments_give_same_bytes(self, sound: Path, tmp_path: Path) -> None:
        made(tmp_path)
        for name in HEADERS:
            assert (tmp_path / name).read_bytes() == (sound / name).read_bytes()

    def test_files_are_replaced_not_extended(self, sound: Path, tmp_path: Path) -> None:
        made(tmp_path, seed=2)
        made(tmp_path)
        assert (tmp_path / "sensors.csv").read_bytes() == (sound / "sensors.csv").read_bytes()

    def test_an_experiment_does_not_depend_on_the_others(self, sound: Path, tmp_path: Path) -> None:
        made(tmp_path, experiments=2, first=7)
        for number in (7, 8):
            assert of_experiment(tmp_path, number) == of_experiment(sound, number) != []

    def test_seeds_and_experiments_differ(self, sound: Path, tmp_path: Path) -> None:
        made(tmp_path, seed=2)
        assert set(read(tmp_path, "truth.csv")[TARGETS[0]]).isdisjoint(
            read(sound, "truth.csv")[TARGETS[0]]
        )
        assert read(sound, "truth.csv")[TARGETS[0]].is_unique

    def test_no_experiments_leave_headers(self, tmp_path: Path) -> None:
        made(tmp_path / "new" / "folder", experiments=0)
        for name, header in HEADERS.items():
            text = (tmp_path / "new" / "folder" / name).read_bytes()
            assert text == header.encode() + b"\n"


class TestSensors:
    """What a logger would have written."""

    def test_columns_are_those_of_the_contract(self) -> None:
        params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        assert HEADERS["sensors.csv"].split(";") == params["columns"]["online"]
        assert list(SENSORS) == [sensor["name"] for sensor in params["sensors"]]

    @pytest.mark.parametrize(
        ("sensor", "low", "high"),
        [
            ("truebung", 3, 250),
            ("druck1", 0.13, 0.18),
            ("fluss1", 0.64, 0.94),
            ("ph", 4.7, 10.1),
            ("leitfaehigkeit", 217, 5490),
        ],
    )
    def test_range(self, many: Path, sensor: str, low: float, high: float) -> None:
        values = valid_sensors(many)[sensor]
        span = high - low
        assert low - 0.05 * span < values.quantile(0.001) < low + 0.3 * span
        assert high - 0.4 * span < values.quantile(0.999) < high + 0.05 * span

    def test_phases(self, sound: Path) -> None:
        rows = read(sound, "sensors.csv")
        assert (rows["waschen"] + rows["spuelen"] == 1).all()
        assert rows.groupby(KEYS).size().between(0.8 * 100 - 1, 1.2 * 100).all()

    def test_a_few_phases_are_missing(self, many: Path) -> None:
        phases = read(many, "truth.csv").groupby("experimentnummer").size()
        assert len(phases) == 400
        assert 0.005 < (phases == 1).mean() < 0.06

    @pytest.mark.parametrize("seconds", [1, 100, 7000])
    def test_time_only_goes_forward(self, tmp_path: Path, seconds: int) -> None:
        made(tmp_path, experiments=2, seconds=seconds)
        rows = read(tmp_path, "sensors.csv")
        assert rows["timestamp"].iloc[0] == pytest.approx(START, abs=5)
        assert rows["timestamp"].is_unique and rows["timestamp"].is_monotonic_increasing
        within = rows.groupby(KEYS)["timestamp"].diff().dropna()
        assert within.isin([1, 2]).all() and within.mean() < 1.02 or seconds == 1

    def test_invalid_rows_are_few_and_garbage(self, many: Path) -> None:
        rows = read(many, "sensors.csv")
        invalid = rows["vorschlagsnummer"] == -1
        assert 0.003 < invalid.mean() < 0.007
        assert rows.loc[invalid, "fluss1"].std() > 3 * rows.loc[~invalid, "fluss1"].std()


class TestLaboratory:
    """Values as laboratories report them."""

    def test_ranges(self, many: Path) -> None:
        rows = read(many, "lab.csv")
        tension, anionic, nonionic = (rows.loc[rows[name] != -1, name] for name in TARGETS)
        assert 34 < tension.min() < 37 and 71.5 < tension.max() < 75
        assert anionic.min() < 1 and anionic.max() <= 445
        assert nonionic.min() == 1.05 and 400 < nonionic.max() <= 1000
        assert nonionic.median() < 20 < nonionic.mean()

    def test_assays_are_censored_but_truth_is_not(self, many: Path) -> None:
        truth = read(many, "truth.csv")
        assert (truth["nichtionischentenside"] < 1.05).any()
        assert (truth["anionischetenside"] > 445).any()
        assert (read(many, "lab.csv")["anionischetenside"] == 445).any()

    def test_every_phase_has_one_to_three_replicates_around_the_truth(self, many: Path) -> None:
        rows = read(many, "lab.csv").replace(-1, np.nan)
        rows["waschen"] = rows["bemerkungen"].map({"W1": 1, "S1": 0})
        groups = rows.dropna(subset="waschen").groupby(KEYS)
        truth = read(many, "truth.csv").set_index(KEYS)
        assert groups.size().index.sort_values().equals(truth.index.sort_values())
        assert set(groups.size()) == {1, 2, 3}
        assert (groups[TARGETS[0]].mean() - truth[TARGETS[0]]).abs().max() < 3
        assert groups[TARGETS[0]].std().mean() == pytest.approx(0.45, abs=0.1)

    def test_some_analyses_were_not_made(self, many: Path) -> None:
        for target in TARGETS:
            assert 0.01 < (read(many, "lab.csv")[target] == -1).mean() < 0.06

    def test_some_rows_are_no_phase(self, many: Path) -> None:
        assert set(read(many, "lab.csv")["bemerkungen"]) == {"W1", "S1", "Leerwert", "W2", "defekt"}

    def test_samples_are_drawn_in_their_phase_and_measured_later(self, sound: Path) -> None:
        rows = read(sound, "lab.csv")
        last = read(sound, "sensors.csv").groupby(KEYS)["timestamp"].max()
        assert set(rows["timestamp_probeentnahme"]) == set(last)
        assert (rows["timestamp_messung"] > rows["timestamp_probeentnahme"]).all()

    def test_washing_is_near_the_plateau_and_rinsing_is_diverse(self, many: Path) -> None:
        truth = read(many, "truth.csv")
        rinsed = truth[truth["waschen"] == 0]
        clean = (rinsed[TARGETS[0]] >= 60) & (rinsed[TARGETS[1:]] <= 10).all(axis=1)
        assert truth.loc[truth["waschen"] == 1, TARGETS[0]].max() < 55
        assert 0.4 < clean.mean() < 0.8
        assert set(truth["rezept"]) == {recipe.name for recipe in RECIPES}


class TestPhysics:
    """Laws that hold for all inputs."""

    @given(concentrations, concentrations, st.floats(1, 10), st.sampled_from(RECIPES))
    def test_more_surfactant_never_raises_the_tension(
        self, anionic: float, nonionic: float, factor: float, recipe: Recipe
    ) -> None:
        less, more = surface_tension(
            np.array([anionic, factor * anionic]), np.array([nonionic, factor * nonionic]), recipe
        )
        assert 30 < more <= less + 1e-9 <= WATER_TENSION + 2e-9

    @given(st.floats(0, 1), st.floats(1, 50), st.sampled_from(RECIPES))
    def test_tension_stays_above_the_cmc(self, share: float, excess: float, recipe: Recipe) -> None:
        at_cmc = np.array([share * recipe.cmc[0], (1 - share) * recipe.cmc[1]])
        anionic, nonionic = np.stack([at_cmc, excess * at_cmc], axis=1)
        tensions = surface_tension(anionic, nonionic, recipe)
        assert tensions[1] == pytest.approx(tensions[0])

    @given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 12), st.floats(0.1, 5))
    def test_a_rinse_creates_nothing(
        self, bath: float, textile: float, exchange: float, release: float
    ) -> None:
        if abs(exchange - release) < 1e-3:
            exchange += 0.1
        time = np.linspace(0, 1, 50)
        arrays = (np.array([[value]]) for value in (bath, textile, exchange, release))
        course = diluted(time, *arrays)[0]
        assert course[0] == pytest.approx(bath)
        assert (course >= -1e-9).all()
        left = textile * np.exp(-release * time)
        assert (course + left <= bath + textile + 1e-6).all()

    def test_a_rinse_without_exchange_keeps_everything(self) -> None:
        one, none = np.ones((1, 1)), np.zeros((1, 1))
        end = diluted(np.array([50.0]), one, one, none, one)
        assert end == pytest.approx(2)

    def test_a_rinse_solves_its_differential_equation(self) -> None:
        time = np.linspace(0, 1, 2001)
        arrays = (np.array([[value]]) for value in (3.0, 7.0, 4.0, 2.5))
        course = diluted(time, *arrays)[0]
        slope = np.gradient(course, time)
        expected = -4.0 * course + 2.5 * 7.0 * np.exp(-2.5 * time)
        assert slope[1:-1] == pytest.approx(expected[1:-1], abs=1e-3)

    def test_rinsed_phases_hold_less_than_washed_ones(self, many: Path) -> None:
        truth = read(many, "truth.csv").set_index(KEYS)
        washed, rinsed = (truth.xs(phase, level="waschen")[TARGETS] for phase in (1, 0))
        both = washed.index.intersection(rinsed.index)
        assert (rinsed.loc[both, TARGETS[1:]] < washed.loc[both, TARGETS[1:]]).to_numpy().all()
        assert (rinsed.loc[both, TARGETS[0]] > washed.loc[both, TARGETS[0]]).all()

    @given(st.floats(0, 50), st.floats(0, 50), st.floats(0.01, 10))
    def test_alkali_raises_and_acid_lowers_the_ph(
        self, alkali: float, acid: float, more: float
    ) -> None:
        here, up, down = acidity(
            np.array([alkali, alkali + more, alkali]), np.array([acid, acid, acid + more]), 7.3
        )
        assert down < here < up

    def test_tap_water_reads_as_itself(self) -> None:
        none = np.zeros(1)
        assert acidity(none, none, 7.3) == pytest.approx(7.3)
        assert conductivity(none, none, np.array([25.0]), 420.0) == pytest.approx(420)

    def test_conductivity_rises_two_percent_per_kelvin(self) -> None:
        alkali, acid = np.full(2, 10.0), np.zeros(2)
        cold, warm = conductivity(alkali, acid, np.array([25.0, 26.0]), 420.0)
        assert warm / cold == pytest.approx(1.02)

    def test_throttling_raises_pressure_and_lowers_flow(self) -> None:
        pressure, flow = pump(np.ones(1), 0.24)
        throttled, less = pump(np.ones(1), 0.30)
        assert throttled > pressure and less < flow

    def test_noise_remembers_and_has_unit_variance(self) -> None:
        noise = autocorrelated(np.random.default_rng(0), (4, 50_000), 0.8)
        assert noise.std() == pytest.approx(1, abs=0.03)
        assert np.corrcoef(noise[0, 1:], noise[0, :-1])[0, 1] == pytest.approx(0.8, abs=0.02)
        kurtosis = (noise**4).mean() / (noise**2).mean() ** 2
        assert kurtosis > 3.2


class TestFaults:
    """A fault changes what it says and nothing else."""

    @pytest.mark.parametrize("sensor", SENSORS)
    @pytest.mark.parametrize("fault", SENSOR_FAULTS)
    def test_only_valid_readings_of_its_sensor_change(
        self, sound: Path, tmp_path: Path, fault: str, sensor: str
    ) -> None:
        made(tmp_path, fault=f"{fault}:{sensor}")
        before, after = read(sound, "sensors.csv"), read(tmp_path, "sensors.csv")
        valid = before["vorschlagsnummer"] >= 0
        pd.testing.assert_frame_equal(before.drop(columns=sensor), after.drop(columns=sensor))
        pd.testing.assert_frame_equal(before[~valid], after[~valid])
        assert (before.loc[valid, sensor] != after.loc[valid, sensor]).mean() > 0.5
        for name in ("lab.csv", "truth.csv"):
            assert (sound / name).read_bytes() == (tmp_path / name).read_bytes()

    @pytest.mark.parametrize("fault", SENSOR_FAULTS)
    def test_conductivity_is_the_usual_suspect(self, tmp_path: Path, fault: str) -> None:
        plain = made(tmp_path / "plain", experiments=2, fault=fault)
        named = made(tmp_path / "named", experiments=2, fault=f"{fault}:leitfaehigkeit")
        assert (plain / "sensors.csv").read_bytes() == (named / "sensors.csv").read_bytes()

    def test_offset(self, sound: Path, tmp_path: Path) -> None:
        before, after = before_and_with(sound, tmp_path, "offset:ph")
        assert (after - before).to_numpy() == pytest.approx(0.15 * SPANS["ph"], abs=0.01)

    def test_gain(self, sound: Path, tmp_path: Path) -> None:
        before, after = before_and_with(sound, tmp_path, "gain:leitfaehigkeit")
        assert (after / before).to_numpy() == pytest.approx(1.3, rel=2e-3)

    def test_ramp_grows_from_the_first_experiment(self, tmp_path: Path) -> None:
        sound = made(tmp_path / "sound", first=31, experiments=4)
        faulty = made(tmp_path / "faulty", first=31, experiments=4, fault="ramp:ph")
        change = valid_sensors(faulty)["ph"] - valid_sensors(sound)["ph"]
        steps = change.groupby(valid_sensors(sound)["experimentnummer"]).mean() / SPANS["ph"]
        assert steps.to_numpy() == pytest.approx([0.01, 0.02, 0.03, 0.04], abs=1e-3)

    def test_stuck(self, tmp_path: Path) -> None:
        rows = valid_sensors(made(tmp_path, fault="stuck:truebung"))
        assert (rows.groupby("experimentnummer")["truebung"].nunique() == 1).all()
        assert rows["truebung"].nunique() > 1

    def test_noise(self, sound: Path, tmp_path: Path) -> None:
        before, after = before_and_with(sound, tmp_path, "noise:ph")
        steps = [values.diff().abs().median() for values in (before, after)]
        assert steps[1] / steps[0] == pytest.approx(8, rel=0.2)
        assert after.mean() == pytest.approx(before.mean(), rel=0.01)

    def test_dropout(self, sound: Path, tmp_path: Path) -> None:
        before, after = before_and_with(sound, tmp_path, "dropout:ph")
        assert 0.7 < after.isna().mean() < 0.95
        assert after.dropna().equals(before[after.notna()])
        assert ";nan" not in (tmp_path / "sensors.csv").read_text(encoding="utf-8")

    def test_recipe_moves_the_targets_and_no_sensor(self, many: Path, tmp_path: Path) -> None:
        made(tmp_path, experiments=400, seconds=50, seed=2, fault="recipe")
        assert (many / "sensors.csv").read_bytes() == (tmp_path / "sensors.csv").read_bytes()
        before, after = (read(folder, "truth.csv") for folder in (many, tmp_path))
        assert before[KEYS].equals(after[KEYS])
        assert (after[TARGETS[1]] / before[TARGETS[1]]).to_numpy() == pytest.approx(0.45, rel=1e-4)
        assert (after[TARGETS[2]] / before[TARGETS[2]]).to_numpy() == pytest.approx(2.2, rel=1e-4)
        assert (after[TARGETS[0]] - before[TARGETS[0]]).abs().mean() > 1

    def test_mix_drops_rinses_and_touches_no_wash(self, many: Path, tmp_path: Path) -> None:
        made(tmp_path, experiments=400, seconds=50, seed=2, fault="mix")
        truth = read(tmp_path, "truth.csv")
        assert truth["waschen"].mean() == pytest.approx(0.8, abs=0.05)
        complete = read(many, "truth.csv").groupby("experimentnummer")["waschen"].nunique() == 2
        numbers = {str(number) for number in complete.index[complete]}
        for name in HEADERS:
            before, after = (
                set((folder / name).read_text(encoding="utf-8").splitlines())
                for folder in (many, tmp_path)
            )
            assert {line for line in after if line.split(";")[0] in numbers} <= before

    @pytest.mark.parametrize("fault", ["", "Gain", "unknown", ":ph", "unknown:ph"])
    def test_unknown_fault(self, tmp_path: Path, fault: str) -> None:
        with pytest.raises(ValueError, match="unknown fault") as error:
            made(tmp_path / "new", fault=fault)
        assert all(name in str(error.value) for name in FAULTS)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "new").exists()

    @pytest.mark.parametrize("fault", ["gain:", "gain:pH", "ramp:temperatur", "gain:ph:ph"])
    def test_unknown_sensor(self, tmp_path: Path, fault: str) -> None:
        with pytest.raises(ValueError, match="unknown sensor") as error:
            made(tmp_path / "new", fault=fault)
        assert all(name in str(error.value) for name in SENSORS)

    @pytest.mark.parametrize("fault", ["recipe:ph", "mix:", "mix:unknown"])
    def test_no_sensor_is_at_fault(self, tmp_path: Path, fault: str) -> None:
        with pytest.raises(ValueError, match="has no sensor"):
            made(tmp_path / "new", fault=fault)
