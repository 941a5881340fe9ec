"""Fetch the two public data sets of the paper from their publishers, checked by hash, for `phonybrains import`."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import requests

from ..errors import ConfigError, SourceError
from ..progress import progress_bars
from ..record import Record, is_published, publish
from .download import TIMEOUT_S, Refused, RemoteFile, download, refused, safe_name, unzip

PHYSIONET_PAGE = "https://physionet.org/content/ct-ich/1.3.1/"
SUMS_NAME = "SHA256SUMS.txt"
SUMS_LINE = re.compile(r"([0-9a-f]{64})\s+\*?(\S.*)")


@dataclass(frozen=True)
class PublicSet:
    """A data set that can be fetched: where it lies, how its files are listed, whose it is."""

    name: str
    version: str
    base_url: str
    list_files: Callable[[str, requests.Session], list[RemoteFile]]
    licence: str
    attribution: str
    page: str
    refuse: Refused = refused
    needs_login: bool = False


def fetch(
    name: str,
    out: str | Path,
    *,
    base_url: str | None = None,
    user: str | None = None,
    password: str | None = None,
    progress: bool = True,
) -> Path:
    """Download a public data set: `cheng2017` (3064 MR slices of 233 patients) or `ct-ich` (75 head CT scans).

    Writes  out/: the publisher's files (ZIP files unpacked); out/record.json with licence, attribution and every hash
    Raises  ConfigError for an unknown name or a missing login; SourceError if the publisher refuses, stays away, or
            sends something damaged; OutputError if `out` is something else or the disk is full.

    ct-ich is under restricted access: sign its data use agreement on PhysioNet, then give the login as PHYSIONET_USER
    and PHYSIONET_PASSWORD, or in ~/.netrc. It is sent to PhysioNet alone and written nowhere. A stopped download goes
    on when the same command is given again; one that has finished does nothing.
    """
    if name not in PUBLIC_SETS:
        raise ConfigError(f"there is no public data set '{name}'. Known: {', '.join(PUBLIC_SETS)}.")
    chosen, out = PUBLIC_SETS[name], Path(out)
    source = {"name": name, "licence": chosen.licence, "attribution": chosen.attribution, "url": chosen.page}
    record = Record("fetch", {"name": name, "version": chosen.version}, sources=[source])
    if is_published(out, record):
        return out
    base_url = (base_url or chosen.base_url).rstrip("/")
    with _session(chosen, base_url, user, password) as session, publish(out, record, resume=True) as draft:
        files = _listed(chosen, base_url, session)
        _download_all(files, draft / ".downloads", session, chosen.refuse, progress)
        _unpack(files, draft / ".downloads", draft)
        record.results["files"] = {file.name: file.known_hash for file in files}
    return out


def _session(chosen: PublicSet, base_url: str, user: str | None, password: str | None) -> requests.Session:
    """A session that says who asks, with the login where the data set needs one."""
    session = requests.Session()
    session.headers["User-Agent"] = f"phonybrains/{version('phonybrains')}"
    if not chosen.needs_login:
        return session
    user, password = user or os.environ.get("PHYSIONET_USER"), password or os.environ.get("PHYSIONET_PASSWORD")
    if user and password:
        session.auth = (user, password)
    elif requests.utils.get_netrc_auth(base_url) is None:
        raise ConfigError(
            f"{chosen.name} is under restricted access and needs your PhysioNet login. Sign its data use agreement at "
            f"{chosen.page} (section Files), then set PHYSIONET_USER and PHYSIONET_PASSWORD, or add a line for "
            "physionet.org to ~/.netrc."
        )
    address = urlsplit(base_url)
    if address.scheme != "https" and address.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ConfigError(f"{chosen.name}: a password is only sent over https, not to {address.scheme}:// addresses.")
    return session


def _listed(chosen: PublicSet, base_url: str, session: requests.Session) -> list[RemoteFile]:
    try:
        files = chosen.list_files(base_url, session)
    except requests.RequestException as error:
        raise SourceError(
            f"{chosen.name}: {urlsplit(base_url).hostname} cannot be reached ({type(error).__name__}). "
            "Check the connection and give the command again."
        ) from None
    for file in files:
        safe_name(file.name)
    return files


def _download_all(
    files: list[RemoteFile], folder: Path, session: requests.Session, refuse: Refused, progress: bool
) -> None:
    with progress_bars(progress) as bar:
        task = bar.add_task("", unit="bytes")
        for number, file in enumerate(files, start=1):
            bar.reset(task, description=f"{number}/{len(files)} {file.name}", total=file.size)

            def show(done: int, total: int | None) -> None:
                bar.update(task, completed=done, total=total)

            download(file, folder, session, show=show, refuse=refuse)


def _unpack(files: list[RemoteFile], downloads: Path, draft: Path) -> None:
    """Unpack ZIP files into folders of their names, then move the others up, and drop the downloads."""
    for file in sorted(files, key=lambda file: not _is_zip(file)):
        target = draft / file.name
        if _is_zip(file):
            unzip(downloads / file.name, target.with_suffix(""))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            (downloads / file.name).replace(target)
    shutil.rmtree(downloads, ignore_errors=True)


def _is_zip(file: RemoteFile) -> bool:
    return file.name.lower().endswith(".zip")


def _cheng2017_files(base_url: str, session: requests.Session) -> list[RemoteFile]:
    """Ask figshare for the files of article 1512427, version 5. Source: figshare API v2, `article version details`."""
    answer = session.get(f"{base_url}/articles/1512427/versions/5", timeout=TIMEOUT_S)
    if answer.status_code != 200:
        raise SourceError(refused("cheng2017, list of files", answer.status_code))
    nothing = SourceError("cheng2017: figshare sent no list of files with MD5 sums. Try again later.")
    try:
        files = [
            RemoteFile(entry["name"], entry["download_url"], f"md5:{entry['computed_md5']}", entry["size"])
            for entry in answer.json()["files"]
            if entry["computed_md5"]
        ]
    except (ValueError, KeyError, TypeError):
        raise nothing from None
    if not any(file.name.endswith(".zip") for file in files):
        raise nothing
    return files


def _ct_ich_files(base_url: str, session: requests.Session) -> list[RemoteFile]:
    """Ask PhysioNet for the release's SHA256SUMS.txt: a hash and a path in each line."""
    answer = session.get(f"{base_url}/{SUMS_NAME}", timeout=TIMEOUT_S)
    if answer.status_code != 200:
        raise SourceError(_ct_ich_refused(SUMS_NAME, answer.status_code))
    lines = [line.strip() for line in answer.text.splitlines() if line.strip()]
    found = [match.groups() for line in lines if (match := SUMS_LINE.fullmatch(line))]
    if not lines or len(found) < len(lines):
        what = f"PhysioNet sent something else than {SUMS_NAME}. Log in at {PHYSIONET_PAGE} to see why."
        raise SourceError(f"ct-ich: {what}")
    return [RemoteFile(path, f"{base_url}/{path}", f"sha256:{sha256}") for sha256, path in found if path != SUMS_NAME]


CT_ICH_ADVICE = {
    401: "PhysioNet does not accept the login (HTTP 401). Check PHYSIONET_USER and PHYSIONET_PASSWORD, or the line for "
    "physionet.org in ~/.netrc.",
    403: f"PhysioNet refuses access (HTTP 403). Sign the data use agreement at {PHYSIONET_PAGE} (section Files). If "
    "you have, PhysioNet may not take logins from this program yet: download with the wget command of that section, "
    "and give the folder to 'phonybrains import'.",
}


def _ct_ich_refused(name: str, status: int) -> str:
    return f"{name}: {CT_ICH_ADVICE[status]}" if status in CT_ICH_ADVICE else refused(name, status)


CHENG2017 = PublicSet(
    "cheng2017",
    version="5",
    base_url="https://api.figshare.com/v2",
    list_files=_cheng2017_files,
    licence="CC BY 4.0",
    attribution="Jun Cheng, brain tumor dataset, figshare, version 5, doi:10.6084/m9.figshare.1512427.v5",
    page="https://figshare.com/articles/dataset/brain_tumor_dataset/1512427/5",
)
CT_ICH = PublicSet(
    "ct-ich",
    version="1.3.1",
    base_url="https://physionet.org/files/ct-ich/1.3.1",
    list_files=_ct_ich_files,
    refuse=_ct_ich_refused,
    needs_login=True,
    licence="PhysioNet restricted access: its LICENSE.txt and data use agreement apply",
    attribution="M. Hssayeni, Computed Tomography Images for Intracranial Hemorrhage Detection and Segmentation, "
    "PhysioNet, version 1.3.1, doi:10.13026/4nae-zg36; M. Hssayeni et al., Data 2020, 5(1):14",
    page=PHYSIONET_PAGE,
)
PUBLIC_SETS = {chosen.name: chosen for chosen in (CHENG2017, CT_ICH)}
