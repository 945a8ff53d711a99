"""The letter itself, and sending it at most once a week."""

from __future__ import annotations

import logging

from sqlalchemy import Engine

from src.components.database.journal import Journal
from src.components.emailer import outbox
from src.components.emailer.letter import Letter, compose, message_id
from src.components.emailer.page import render
from src.components.page.source import Source
from src.components.weekly.content import Content, content
from src.components.weekly.log import LetterLog
from src.errors import DeliveryError
from src.settings import Settings
from src.soft_sensor import SoftSensor

logger = logging.getLogger(__name__)

PACKAGE = "src.components.weekly"


def send_weekly(engine: Engine, run_id: int, spec: SoftSensor, settings: Settings) -> None:
    """Send what could not be sent earlier, then the letter of this week unless it was sent.

    Weeks are those of ISO 8601, in UTC. What cannot be sent is kept in the outbox, and a later run
    of the week tries again.

    Raises:
        DeliveryError: when a message could not be sent.
    """
    journal = Journal(engine, spec)
    source = Source(engine, settings, spec)
    week = f"{source.now:%G-W%V}"
    journal.note_sent(run_id, outbox.deliver_kept(settings))
    log = LetterLog(journal)
    said = content(source, log.last_sent())
    if said is None:
        return
    letter = weekly_letter(said, week, source)
    if not log.claim(run_id, week, message_id(letter.key)):
        logger.info("the letter of %s was sent by an earlier run", week)
        return
    try:
        destination = outbox.send(compose(letter, settings), settings)
    except DeliveryError:
        log.release(run_id)
        raise
    log.note_sent(run_id, week, destination)
    logger.info("the letter of %s went to %s", week, destination)


def weekly_letter(said: Content, week: str, source: Source) -> Letter:
    """The letter as a message.

    Args:
        week: in which it is sent, as 2026-W48.
    """
    settings = source.settings
    values = {"said": said, "spec": source.spec, "page": settings.page_url, "now": source.now}
    place = f"{settings.db_hostname or 'embedded'}/{settings.db_name}"
    return Letter(
        key=f"{place}: {source.spec.name}, week {week}",
        subject=said.subject,
        text=render(PACKAGE, "weekly.txt.j2", source.language, **values),
        html=render(PACKAGE, "weekly.html.j2", source.language, **values),
    )
