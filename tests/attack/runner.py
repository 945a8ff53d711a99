"""Attacks in a process that may die, hang or run out of memory without taking the tests with it."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import resource
import shutil
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from src.soft_sensor import load_soft_sensor
from tests.attack import bundles, registries

PATIENCE = 60.0  # s for one input on a busy machine
MEMORY = 1_500_000_000  # bytes that an input may take beyond what the process has
ROOT = Path(__file__).resolve().parent.parent.parent

ATTACKS: dict[str, type[bundles.AlteredBundles | registries.HostileRegistry]] = {
    "bundles": bundles.AlteredBundles,
    "registries": registries.HostileRegistry,
}


@dataclass
class Tally:
    """What became of the inputs.

    Attributes:
        faults: number and cause of the inputs that were neither refused nor answered.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        known = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items()))
        total = self.outcomes.total() + len(self.faults)
        lines = [f"{total} inputs tried: {known}, {len(self.faults)} crashed or hung"]
        return "\n".join([*lines, *self.faults[:10]])


def attack_for(seconds: float, name: str, scratch: Path) -> Tally:
    """Attack with ever new inputs."""
    end = time.monotonic() + seconds
    return attack_with(
        itertools.takewhile(lambda _: time.monotonic() < end, itertools.count()), name, scratch
    )


def attack_with(seeds: Iterable[int], name: str, scratch: Path) -> Tally:
    """Attack with given inputs, each made from its seed."""
    spec = load_soft_sensor(ROOT / "params.yaml")
    bundles.make(spec, scratch / "genuine")
    tally = Tally()
    worker = _Worker(name, scratch)
    try:
        for seed in seeds:
            outcome, fault = worker.attack(seed)
            if fault:
                tally.faults.append(f"{name} {seed}: {fault}")
                worker.end()
                worker = _Worker(name, scratch)
            else:
                tally.outcomes[outcome] += 1
    finally:
        worker.end()
    return tally


class _Worker:
    """A process of its own that makes and tries inputs."""

    def __init__(self, name: str, scratch: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_work, args=(name, scratch, other))
        self._process.start()
        other.close()

    def attack(self, seed: int) -> tuple[str, str]:
        """Try one input. Returns what became of it, and what went wrong otherwise."""
        try:
            self._connection.send(seed)
            if not self._connection.poll(PATIENCE):
                return "", f"no answer within {PATIENCE:g} s"
            answer: tuple[str, str] = self._connection.recv()
            return answer
        except (EOFError, ConnectionError):
            self._process.join()
            return "", f"the process ended with code {self._process.exitcode}"

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.join()
        self._connection.close()


def _work(name: str, scratch: Path, connection: Connection) -> None:
    logging.disable()
    warnings.simplefilter("ignore")  # of numbers that are none
    attack = _attacker(name, scratch)
    taken = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    limit = taken * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    while True:
        try:
            seed = connection.recv()
        except EOFError:
            return
        try:
            answer = attack(seed), ""
        except Exception:  # pylint: disable=broad-exception-caught  # that is what is looked for
            answer = "", traceback.format_exc()
        connection.send(answer)


def _attacker(name: str, scratch: Path) -> Callable[[int], str]:
    spec = load_soft_sensor(ROOT / "params.yaml")
    genuine = scratch / "genuine"
    asked = bundles.phases(spec)
    own = scratch / name
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    attack = ATTACKS[name](genuine, own, asked, spec)
    return attack.attack
