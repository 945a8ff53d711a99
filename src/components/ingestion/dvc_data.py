"""DVC: pull a data set, and compute the hash that names its version."""

from __future__ import annotations

import logging
from pathlib import Path

from src.errors import DataError
from src.settings import Settings

logger = logging.getLogger(__name__)


def version(folder: Path) -> str:
    """The hash that DVC gives to a folder with this content, tracked or not.

    Raises:
        DataError: when there is no such folder.
    """
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db import HashFileDB
    from dvc_objects.fs import LocalFileSystem

    if not folder.is_dir():
        raise DataError(
            f"{folder} not found: run `impress pull-data` or `impress simulate {folder}`"
        )
    files = LocalFileSystem()
    store = HashFileDB(files, str(folder.parent / ".unused"), tmp_dir=None)
    _, _, tree = build(store, str(folder.resolve()), files, "md5", dry_run=True)
    return str(tree.hash_info.value)


def pull(settings: Settings, repository: Path) -> list[str]:
    """Fetch the data that dvc.lock and .dvc files name from the default remote.

    The credentials of the settings reach DVC in memory; nothing is written into a config file.

    Returns:
        Paths of what was added or changed.

    Raises:
        DataError: when no remote is configured, it lacks some of the data or cannot be reached, or
            a local change would be lost.
    """
    from dvc.exceptions import CheckoutError, DownloadError, DvcException, NotDvcRepoError
    from dvc.repo import Repo

    try:
        with Repo(str(repository)) as without_credentials:
            config = without_credentials.config
        remote = config["core"].get("remote")
        if not remote:
            raise DataError("no data remote: run `dvc remote add --default origin URL` first")
        url = config["remote"][remote]["url"]
        with Repo(str(repository), remote_config=_credentials(settings, url)) as repo:
            stats = repo.pull()
    except NotDvcRepoError as error:
        raise DataError(
            f"{repository.resolve()} is not a DVC repository: see `dvc init`"
        ) from error
    except (CheckoutError, DownloadError) as error:
        raise DataError(
            f"the data remote {remote} ({url}) does not have all of the data: check it, "
            "DVC_USERNAME and DVC_TOKEN"
        ) from error
    except DvcException as error:
        raise DataError(f"DVC: {' '.join(str(error).split())}: see `dvc status`") from error
    changed = [*map(str, stats.get("added", [])), *map(str, stats.get("modified", []))]
    logger.info("pulled from %s: %s", remote, ", ".join(changed) or "nothing new")
    return changed


def _credentials(settings: Settings, url: str) -> dict[str, str]:
    if not (settings.dvc_token and url.startswith("http")):
        return {}
    return {
        "auth": "basic",
        "user": settings.dvc_username or "",
        "password": settings.dvc_token.get_secret_value(),
    }
