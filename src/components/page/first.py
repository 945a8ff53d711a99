"""What to do first where a page has nothing to show yet."""

from __future__ import annotations

from sqlalchemy import exists, select

from src.components.database.tables import tables
from src.components.page.source import Source

Step = tuple[str, str]  # what, and the command

NEEDED = {
    "index.html": ("predictions",),
    "history.html": ("predictions",),
    "sensors.html": ("predictions", "reports"),
    "model.html": ("model",),
    "state.html": (),
}


def first_steps(name: str, source: Source) -> list[Step]:
    """What is to be done before a page has anything to show; empty when it has."""
    if source.unusable:
        return [(source.language.say("Prepare the database"), source.unusable)]
    needed = NEEDED.get(name, ("predictions",))
    lacking = [what for what in needed if not _there(what, source)]
    if not lacking:
        return []
    say, steps = source.language.say, [] if _there("model", source) else _model_steps(source)
    if "predictions" in lacking:
        steps.append((say("Load sensor rows"), "impress load FILE"))
        steps.append((say("Score them"), "impress predict"))
    if "reports" in lacking:
        steps.append((say("Compare the results with the training"), "impress monitor"))
    return steps


def _model_steps(source: Source) -> list[Step]:
    """How to get a model; where the registry is at fault, what it says."""
    say = source.language.say
    if not source.registry_answers:
        return [(say("Look at the model registry"), str(source.fetched))]
    return [
        (say("Train a model on a data set"), "impress train"),
        (say("Let it predict from now on"), "impress promote"),
    ]


def _there(what: str, source: Source) -> bool:
    if what == "model":
        return source.model is not None
    names = tables(source.spec)
    query = select(names.archived.c.run_id)
    if what == "reports":
        query = select(names.runs.c.id).where(
            names.runs.c.pipeline == "monitor", names.runs.c.outcome.is_not(None)
        )
    with source.engine.connect() as connection:
        return bool(connection.scalar(select(exists(query.limit(1)))))
