"""The site as files: in a folder or on S3, all of its pages or none."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from uuid import uuid4

from src.components.page.reports import newest_report
from src.components.page.site import INDEX, all_pages
from src.components.page.source import Source
from src.errors import DataError
from src.files import S3, put, write_whole

logger = logging.getLogger(__name__)

HTML = "text/html; charset=utf-8"
MARKER = ".impress-site"  # a folder that has it may be replaced

Page = tuple[str, bytes]  # name and content


def publish(source: Source, target: str) -> int:
    """Write the site; returns the number of its pages.

    A folder is replaced as a whole, but for the reports on drift that are in it: a reader sees the
    old site or the new one. On S3 the pages are
    replaced one by one, the index last; pages that the new site lacks stay there.

    Args:
        target: an absolute folder, or s3://bucket/prefix, as the settings have checked it.

    Raises:
        DataError: when the folder holds something other than a site.
    """
    on_s3 = target.startswith(S3)
    reports = _newest_report(source)
    there = set() if on_s3 else {file.name for file in _reports_in(Path(target))}
    linked = replace(source, report_pages=frozenset({*reports, *there}))
    pages = ((name, html.encode()) for name, html in all_pages(linked))
    if on_s3:
        count = _to_s3(chain(pages, reports.items()), target)
    else:
        count = _to_folder(chain(pages, reports.items()), Path(target))
    logger.info("%d pages are in %s", count, target)
    return count


def _newest_report(source: Source) -> dict[str, bytes]:
    """The page of the newest report on drift, if it was written on this machine."""
    report = None if source.unusable else newest_report(source)
    if report is None or not report.page:
        return {}
    file = Path(report.page).resolve()
    # The address comes from the database: no other file of this machine may be published.
    if not file.is_relative_to(source.settings.artifacts / "reports") or not file.is_file():
        return {}
    return {report.name: file.read_bytes()}


def _reports_in(folder: Path) -> list[Path]:
    """Pages of reports in a site."""
    return sorted(folder.glob("report-*.html")) if _is_site(folder) else []


def _to_folder(pages: Iterable[Page], folder: Path) -> int:
    if folder.exists() and not _is_site(folder):
        raise DataError(
            f"{folder} is not empty and holds no site of impress: name another folder, which "
            "impress may replace"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = (folder.with_name(f"{folder.name}.{uuid4().hex}.{end}") for end in ("new", "old"))
    fresh.mkdir()
    try:
        write_whole(fresh / MARKER, b"")
        for report in _reports_in(folder):
            shutil.copy(report, fresh)
        count = sum(_write(fresh, page) for page in pages)
        _exchange(folder, fresh, old)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return count


def _exchange(folder: Path, fresh: Path, old: Path) -> None:
    """Put a fresh site into the place of the present one, or leave that where it is."""
    if folder.exists():
        folder.rename(old)
    try:
        fresh.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise


def _is_site(folder: Path) -> bool:
    return folder.is_dir() and ((folder / MARKER).is_file() or not os.listdir(folder))


def _write(folder: Path, page: Page) -> int:
    name, content = page
    (folder / name).write_bytes(content)
    return 1


def _to_s3(pages: Iterable[Page], target: str) -> int:
    complete = sorted(pages, key=lambda page: page[0] == INDEX)
    for name, content in complete:
        put(target.rstrip("/"), name, content, kind=HTML)
    return len(complete)
