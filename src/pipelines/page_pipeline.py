"""Pages: the site from the database, as files.

`impress page` writes them; predict and monitor publish them last, if PAGE_TARGET is set.
"""

from __future__ import annotations

import logging

from src.components.database.connection import connect
from src.errors import advice
from src.orchestration import task
from src.settings import Settings
from src.soft_sensor import load_soft_sensor

logger = logging.getLogger(__name__)


def write_site(settings: Settings, target: str) -> int:
    """Write the site to a folder or to s3://..., from what is committed now.

    Returns the number of pages. It reads only, over a connection of its own.
    """
    from src.components.page.publish import publish
    from src.components.page.source import Source

    spec = load_soft_sensor(settings.impress_params)
    with connect(settings, read_only=True) as engine:
        return publish(Source(engine, settings, spec), target)


@task()
def publish_site(settings: Settings) -> None:
    """The last step of a run. What the run has done stands, whatever becomes of the pages."""
    if settings.page_target is None:
        return
    try:
        write_site(settings, settings.page_target)
    except Exception as error:  # pylint: disable=broad-exception-caught  # see above
        logger.warning("the pages were not published: %s", advice(error) or repr(error))
        logger.info("traceback:", exc_info=True, extra={"file_only": True})
