"""Simulated experiments from physics, with known truth and injectable faults.

An experiment is one wash (W1) and one rinse (S1). Five solutes are followed through both: dosed by
a recipe, partly held by the textile, carried over into the rinse, and washed out there. The sensors
respond to alkali, turbidity, temperature and pump; to the surfactants, which the laboratory
measures, only because these are dosed and diluted with the rest. Doses, textiles and tap water
vary, so part of the truth is out of reach of any model.

Rates are per phase: a shorter phase is a faster programme. A phase is sampled in its last
twenty-fifth, one minute of 25: `truth.csv` holds the mean concentrations during that time and their
tension.

Experiment k starts (k - 1) x 3 hours after 2026-01-05T06:00:00Z (with phases of more than an hour,
x 3 `seconds`), its rinse two minutes after its wash. Each has its own random stream, so it does not
depend on how many others there are, and a fault changes readings but no random draw.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Array = NDArray[np.float64]
Generator = np.random.Generator

SENSOR_FAULTS = ("offset", "gain", "ramp", "stuck", "noise", "dropout")
FAULTS: tuple[str, ...] = SENSOR_FAULTS + ("recipe", "mix")

# The usual span of each sensor's readings, the measure of faults and of garbage.
SPANS = {"truebung": 250.0, "druck1": 0.05, "fluss1": 0.3, "ph": 5.4, "leitfaehigkeit": 5300.0}
SENSORS = tuple(SPANS)
HEADERS = {
    "sensors.csv": "experimentnummer;timestamp;waschen;spuelen;csbeq;truebung;druck1;druck2;druck3;"
    "fluss1;fluss2;ph;leitfaehigkeit;alkalinitaet;vorschlagsnummer;bsbeq;abs254;abs360;abs210;"
    "reserv1;reserv2",
    "lab.csv": "experimentnummer;timestamp_probeentnahme;timestamp_messung;vorschlagnummer;"
    "bemerkungen;oberflaechenspannung;anionischetenside;nichtionischentenside;csb",
    "truth.csv": "experimentnummer;waschen;oberflaechenspannung;anionischetenside;"
    "nichtionischentenside;rezept",
}

START = 1_767_592_800  # 2026-01-05T06:00:00Z
SPACING = 3 * 3600  # s between the starts of two experiments
PAUSE = 120  # s to drain and refill between wash and rinse
SAMPLED_FROM = 0.96  # share of a phase after which the laboratory's sample is drawn
WATER_TENSION = 72.8  # mN/m at 20 C, IAPWS R1-76
EXCESS = 8.314 * 293.15 * 3.0e-6 * 1e3  # mN/m, R T Gamma_inf with 3.0e-6 mol/m2
ASSAY_LIMITS = (-np.inf, 0.0, 1.05), (np.inf, 445.0, 1000.0)  # low, high: mN/m, mg/L, mg/L


def column(*values: float) -> Array:
    """One value per row, (m, 1), to combine with rows of time (m, n)."""
    return np.array(values, dtype=float)[:, None]


NOISE = column(0.035, 0.005, 0.005, 0.004, 0.005)  # of the sensors, SD as share of the reading
# Of the solutes: mg/L anionic, mg/L nonionic, mmol/L alkali, NTU of detergent, NTU of soil.
DISSOLUTION = column(14, 12, 20, 16, 4)  # per phase, first order (Noyes and Whitney 1897)
RELEASE = column(2.6, 2.2, 3.5, 3.5, 2.8)  # from the textile, per phase
SORPTION = column(0.11, 0.10, 0.04, 0.05, 0.08)  # amount in the textile to that in the bath
DOSING = column(0.25, 0.25, 0.25, 0.25, 0)  # SD of ln dose, shared error; soil is not dosed
MIXING = column(0.16, 0.20, 0.06, 0.09, 0.30)  # SD of ln dose, own error
OTHER_PRODUCT = column(0.45, 2.2, 1, 1, 1)  # factors of a surfactant mix unseen before


@dataclass(frozen=True)
class Recipe:
    """A washing programme: what is dosed and how its surfactants act."""

    name: str
    solutes: Array  # (5, 1)
    acid: float  # mmol/L of charge, a souring agent at the end of the rinse
    exchanges: float  # bath volumes in a rinse per m3/h of flow
    cmc: tuple[float, float]  # mg/L, critical micelle concentrations: anionic, nonionic
    activity: tuple[float, float]  # mg/L, Szyszkowski's a: anionic, nonionic


RECIPES = (
    Recipe("baumwolle", column(190, 22, 14, 28, 50), 0.0, 4.6, (170, 42), (1.1, 0.33)),
    Recipe("berufskleidung", column(300, 80, 22, 38, 62), 0.0, 5.1, (170, 48), (1.9, 0.45)),
    Recipe("fein", column(48, 14, 2.5, 12, 16), 0.0, 3.8, (210, 55), (2.6, 0.90)),
    Recipe("hotel", column(120, 9, 8.5, 22, 26), 4.5, 4.4, (150, 42), (2.6, 0.60)),
    Recipe("fettloeser", column(75, 390, 12, 75, 60), 2.5, 5.1, (240, 110), (2.4, 0.80)),
)


@dataclass(frozen=True)
class Run:  # pylint: disable=too-many-instance-attributes  # one attribute per circumstance
    """The circumstances of one experiment."""

    recipe: Recipe  # as actually dosed
    held: Array  # (5, 1) share of the dose that the textile holds when the wash ends
    carry_over: float  # share of the wash bath that the textile takes into the rinse
    tap_conductivity: float  # uS/cm at 25 C
    tap_ph: float
    tap_temperature: float  # C
    heat: float  # K above the tap water
    speed: float  # of the pump, relative
    resistance: float  # of the circuit, bar h2/m6


@dataclass(frozen=True)
class Fault:
    """A fault, its sensor, and for how many experiments it has lasted."""

    name: str
    sensor: str
    age: int = 0


def surface_tension(anionic: Array, nonionic: Array, recipe: Recipe) -> Array:
    """Tension in mN/m at 20 C of concentrations in mg/L, of any shape.

    Szyszkowski (1908) for a mixture, gamma0 - R T Gamma_inf ln(1 + sum c_i / a_i), up to the
    critical micelle concentration of an ideal one, sum c_i / cmc_i = 1 (Clint 1975): the surplus
    goes into micelles and the tension stays.
    """
    surplus = np.maximum(anionic / recipe.cmc[0] + nonionic / recipe.cmc[1], 1)
    active = (anionic / recipe.activity[0] + nonionic / recipe.activity[1]) / surplus
    return np.asarray(WATER_TENSION - EXCESS * np.log1p(active))


def diluted(time: Array, bath: Array, textile: Array, exchange: Array, release: Array) -> Array:
    """Concentration, (m, n) over `time` (n,), in a rinse that starts with `bath` (m, 1).

    A stirred tank (Levenspiel, Chemical Reaction Engineering) into which a load `textile` desorbs
    at another rate (Lagergren 1898): c' = -exchange c + release q, q' = -release q, per phase.
    """
    washed = np.exp(-exchange * time)
    desorbed = (np.exp(-release * time) - washed) * release / (exchange - release)
    return np.asarray(bath * washed + textile * desorbed)


def conductivity(alkali: Array, acid: Array, temperature: Array, tap: float) -> Array:
    """Conductivity in uS/cm (n,) of ions in mmol/L of charge: they add up (Kohlrausch 1876).

    Sodium carbonate brings about 105 uS/cm per mmol/L; 2 % per kelvin around 25 C (ISO 7888).
    """
    return np.asarray((tap + 105 * alkali + 45 * acid) * (1 + 0.02 * (temperature - 25)))


def acidity(alkali: Array, acid: Array, tap: float) -> Array:
    """The pH (n,) of tap water with alkali and acid, in mmol/L of charge.

    The charge balance of strong bases and acids, solved for the pH, with the tap water's buffer
    (Van Slyke 1922) of 0.08 mmol/L for water's own ions: linear within it, logarithmic beyond.
    """
    return np.asarray(tap + np.arcsinh((alkali - acid) / (2 * 0.08)) / np.log(10))


def pump(speed: Array, resistance: float) -> tuple[Array, Array]:
    """Pressure in bar, flow Q in m3/h: pump 0.20 speed2 - 0.08 Q2 (affinity laws) = circuit."""
    flow = speed * np.sqrt(0.20 / (0.08 + resistance))
    return resistance * flow**2, flow


def autocorrelated(rng: Generator, shape: tuple[int, int], memory: float) -> Array:
    """AR(1) noise of unit variance along the last axis, driven by Student's t (5 degrees)."""
    shocks = rng.standard_t(5, shape) * np.sqrt(3 / 5 * (1 - memory**2))
    shocks[:, 0] /= np.sqrt(1 - memory**2)
    return np.asarray(lfilter([1.0], [1.0, -memory], shocks))


def draw_run(rng: Generator, product: Array) -> Run:
    """Draw recipe (its solutes times `product`), textile, water and pump of one experiment."""
    recipe = RECIPES[rng.integers(len(RECIPES))]
    solutes = recipe.solutes * product * np.exp(DOSING * rng.normal() + rng.normal(0, MIXING))
    acid, exchanges = recipe.acid * rng.lognormal(0, 0.3), recipe.exchanges * rng.lognormal(0, 0.4)
    sorption = SORPTION * rng.lognormal(0, 0.5) * rng.lognormal(0, 0.4, SORPTION.shape)
    return Run(
        recipe=replace(recipe, solutes=solutes, acid=acid, exchanges=exchanges),
        held=sorption / (1 + sorption),
        carry_over=rng.uniform(0.2, 0.4),
        tap_conductivity=rng.normal(420, 45),
        tap_ph=rng.normal(7.3, 0.1),
        tap_temperature=rng.normal(14, 1.5),
        heat=rng.normal(24, 3),
        speed=rng.normal(1, 0.012),
        resistance=0.25 * rng.lognormal(0, 0.12),
    )


def wash(run: Run, time: Array) -> Array:
    """State of the bath, (7, n): five solutes (the textile takes some), acid, temperature in C."""
    solutes = run.recipe.solutes * (1 - np.exp(-DISSOLUTION * time)) * (1 - run.held * time)
    temperature = run.tap_temperature + run.heat * (1 - np.exp(-8 * time))
    return np.vstack([solutes, np.zeros_like(time), temperature])


def rinse(run: Run, time: Array) -> Array:
    """State of the bath as in `wash`: solutes are washed out, and some recipes end by souring."""
    _, flow = pump(np.array(run.speed), run.resistance)
    exchange = run.recipe.exchanges * flow
    held = run.recipe.solutes * run.held
    carried = run.carry_over * (run.recipe.solutes - held)
    acid = run.recipe.acid * (1 - np.exp(-30 * np.maximum(time - 0.65, 0)))
    temperature = run.tap_temperature + run.carry_over * run.heat * np.exp(-exchange * time)
    return np.vstack([diluted(time, carried, held, exchange, RELEASE), acid, temperature])


def read_fault(fault: str | None) -> Fault:
    """Name and sensor of a fault; the name is empty without one."""
    name, colon, sensor = (fault or "").partition(":")
    if fault is not None and name not in FAULTS:
        raise ValueError(f"unknown fault {name!r}: choose from {', '.join(FAULTS)}")
    if colon and name not in SENSOR_FAULTS:
        raise ValueError(f"fault {name!r} has no sensor; these have: {', '.join(SENSOR_FAULTS)}")
    if colon and sensor not in SENSORS:
        raise ValueError(f"unknown sensor {sensor!r}: choose from {', '.join(SENSORS)}")
    return Fault(name, sensor or "leitfaehigkeit")


def faulty(fault: Fault, readings: Array, noise: Array, rng: Generator) -> Array:
    """Readings (n,) of the faulty sensor, from the correct ones and their noise."""
    # A loose plug loses runs of readings, not single ones.
    lost = np.repeat(rng.random(readings.size // 40 + 1) < 0.85, 40)[: readings.size]
    effects: dict[str, Array] = {
        "offset": readings + 0.15 * SPANS[fault.sensor],
        "gain": readings * 1.3,
        "ramp": readings + 0.01 * SPANS[fault.sensor] * fault.age,
        "stuck": np.full_like(readings, readings[0]),
        "noise": np.maximum(readings + 7 * noise, 0),
        "dropout": np.where(lost, np.nan, readings),
    }
    return effects.get(fault.name, readings)


def sensor_readings(rng: Generator, run: Run, state: Array, fault: Fault) -> Array:
    """What the sensors show, (5, n) in the order of SENSORS; the pump's speed wanders slowly."""
    _, _, alkali, haze, soil, acid, temperature = state
    wander = autocorrelated(rng, (1, alkali.size), 0.998)[0]
    pressure, flow = pump(run.speed * (1 + 0.008 * wander), run.resistance)
    ph = acidity(alkali, acid, run.tap_ph)
    charge = conductivity(alkali, acid, temperature, run.tap_conductivity)
    true = np.stack([3.5 + haze + soil, pressure, flow, ph, charge])
    noise = autocorrelated(rng, true.shape, 0.8) * NOISE * true
    readings: Array = np.maximum(true + noise, 0)
    at = SENSORS.index(fault.sensor)
    # A spawned stream leaves the state of the experiment's own stream as it is.
    readings[at] = faulty(fault, readings[at], noise[at], rng.spawn(1)[0])
    return readings


def sensor_lines(columns: dict[str, NDArray[Any]]) -> str:
    """Lines of sensors.csv; columns that are not simulated and NaN are left empty."""
    names = HEADERS["sensors.csv"].split(";")
    formats = {name: "%d" if data.dtype.kind == "i" else "%.4g" for name, data in columns.items()}
    # One format per line is several times faster than a data frame's writer.
    line = ";".join(formats.get(name, "") for name in names) + "\n"
    rows = zip(*(columns[name].tolist() for name in names if name in columns))
    return "".join(map(line.__mod__, rows)).replace("nan", "")


def lab_lines(rng: Generator, number: int, stamp: int, label: str, truth: Array) -> Iterator[str]:
    """Lines of lab.csv: one to three replicates, sometimes a row of no phase; -1: not measured."""
    stray = str(rng.choice(["Leerwert", "W2", "defekt"]))
    for remark in [label] * int(rng.integers(1, 4)) + [stray] * (rng.random() < 0.1):
        true = truth if remark == label else np.array([WATER_TENSION, 0, 0])
        values = true * (1 + rng.normal(0, [0, 0.04, 0.04])) + rng.normal(0, [0.5, 0.2, 0.2])
        reported = [*np.clip(values, *ASSAY_LIMITS), 40 + 2.2 * true[1:].sum()]
        texts = ";".join(f"{value:.4g}" for value in np.where(rng.random(4) < 0.03, -1, reported))
        yield f"{number};{stamp};{stamp + 3600 * rng.integers(4, 72)};{number};{remark};{texts}\n"


def phases_run(chance: float, fault: Fault) -> list[int]:
    """Phases that take place: 3 % of experiments lack one; with `mix`, 75 % lack the rinse."""
    if fault.name == "mix":
        return [1, 0] if chance < 0.25 else [1]
    return [1, 0] if chance < 0.97 else [int(chance < 0.985)]


def experiment(number: int, seconds: int, seed: int, fault: Fault) -> tuple[str, str, str]:
    """Lines of one experiment for each of the files, in the order of HEADERS."""
    rng = np.random.default_rng([seed, number])
    phases = phases_run(rng.random(), fault)
    run = draw_run(rng, OTHER_PRODUCT if fault.name == "recipe" else np.ones((5, 1)))
    sizes = np.maximum(seconds * rng.uniform(0.8, 1.2, 2), 1).astype(int)
    times = [np.arange(1, size + 1) / size for size in sizes]
    washing, time = np.repeat([1, 0], sizes), np.concatenate(times)
    state = np.hstack([wash(run, times[0]), rinse(run, times[1])])
    readings = sensor_readings(rng, run, state, fault)
    garbage = column(*SPANS.values()) * rng.uniform(-0.5, 3, readings.shape)
    invalid, skipped = rng.random((2, time.size)) < [[0.005], [0.003]]
    stamps = START + (number - 1) * max(SPACING, 3 * seconds) + PAUSE * (1 - washing)
    stamps += np.cumsum(1 + skipped)
    lab, truth = "", ""
    for phase, label in ((1, "W1"), (0, "S1")):
        sampled = (washing == phase) & (time > SAMPLED_FROM)
        anionic, nonionic, *_ = state[:, sampled].mean(axis=1)
        true = np.array([surface_tension(anionic, nonionic, run.recipe), anionic, nonionic])
        lines = "".join(lab_lines(rng, number, stamps[sampled][-1], label, true))
        if phase in phases:
            lab += lines
            truth += f"{number};{phase};{';'.join(f'{v:.6g}' for v in true)};{run.recipe.name}\n"
    columns = dict(zip(SENSORS, np.where(invalid, garbage, readings)))
    columns |= {"timestamp": stamps, "waschen": washing, "spuelen": 1 - washing}
    columns["experimentnummer"] = np.full_like(washing, number)
    columns["vorschlagsnummer"] = np.where(invalid, -1, number)
    done = np.isin(washing, phases)
    return sensor_lines({name: data[done] for name, data in columns.items()}), lab, truth


def simulate(
    folder: Path,
    experiments: int = 50,
    seconds: int = 1500,
    seed: int = 1,
    first: int = 1,
    fault: str | None = None,
) -> None:
    """Write sensors.csv, lab.csv and truth.csv of experiments `first`, `first` + 1, ...

    A phase has 80 to 120 % of `seconds` rows. `fault` is one of FAULTS, optionally with a sensor
    (`gain:ph`; by default conductivity); a ramp grows from `first` on.

    Raises:
        ValueError: for an unknown fault or sensor.
    """
    wrong = read_fault(fault)
    folder.mkdir(parents=True, exist_ok=True)
    for name, header in HEADERS.items():
        (folder / name).write_text(header + "\n", encoding="utf-8", newline="\n")
    for age in range(experiments):
        texts = experiment(first + age, seconds, seed, replace(wrong, age=age + 1))
        for name, text in zip(HEADERS, texts):
            with (folder / name).open("a", encoding="utf-8", newline="\n") as file:
                file.write(text)
