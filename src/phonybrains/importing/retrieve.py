"""Fetch what a PACS holds for a query into a folder, for import; what was stopped is taken up again."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from ..errors import PeerError, SourceError
from ..files import write_whole
from ..pacs.address import SERIES_KEYS, STUDY_KEYS, PeerAddress
from ..pacs.asking import connect, images_of, series_matching
from ..pacs.peer import IMAGES, Peer, Uids
from ..progress import progress_bars
from ..record import Record, is_published, publish
from ..wording import count_of
from .pseudonym import keyed, pseudonym

Wanted = dict[Uids, dict[str, Path]]
"""By series, where each of its images is to lie, by SOP instance UID."""


def retrieve(address: PeerAddress, place: Path, key: bytes, *, show: bool = True) -> Path:
    """Have all CT and MR images sent that match the query of an address, as they are, into a folder of their own.

    Writes  place/pacs-…/: DICOM files, which are those of patients, so that `place` is for its owner alone; record.json
    Raises  PeerError if the PACS cannot be reached, refuses or breaks off; SourceError if nothing matches, or the
            address asks for nothing; OutputError if the disk is full.

    What has come is kept, and a stopped call goes on; one that has finished asks for nothing. UIDs, ids and dates are
    in no name and no record: keyed hashes stand for them (`pseudonym.keyed`), years for dates.
    """
    if not address.query:
        keys = ", ".join((*STUDY_KEYS, *SERIES_KEYS))
        raise SourceError(f"{address.name}: say what to fetch, as ?modality=CT&description=HEAD*. Keys: {keys}.")
    record = _record(address, key)
    out = place / f"pacs-{record.config['query_id']}"
    if is_published(out, record):
        return out
    place.mkdir(parents=True, exist_ok=True)
    place.chmod(0o700)
    with publish(out, record, resume=True) as draft, connect(address) as peer:
        wanted, other = _wanted(peer, address, draft, key, show)
        left_out = _fetch_all(peer, address, wanted, show)
        images = sum(path.exists() for paths in wanted.values() for path in paths.values())
        record.results.update(images=images, not_sent=dict(left_out), other_objects=other)
    return out


def _record(address: PeerAddress, key: bytes) -> Record:
    """What a fetch is called: the PACS, and the query as far as it tells of nobody; the whole of it as a keyed hash."""
    shown = dict(address.query)
    for name in {"patient", "accession"} & set(shown):
        shown[name] = pseudonym(shown[name], key)
    if "study_date" in shown:  # 45 CFR 164.514(b)(2)(i)(C): no date finer than the year
        shown["study_date"] = "-".join(dict.fromkeys(re.findall(r"(\d{4})\d{4}", shown["study_date"])))
    whole = f"{address.name} {sorted(address.query.items())}"
    return Record("fetch", {"pacs": address.name, "query": shown, "query_id": keyed(whole, key)})


def _wanted(peer: Peer, address: PeerAddress, draft: Path, key: bytes, show: bool) -> tuple[Wanted, int]:
    """All that matches, and how many objects of these series are no images that import reads."""
    wanted: Wanted = {}
    other = 0
    with progress_bars(show, vanish=True) as bar:
        task = bar.add_task(f"asking {address.host}", total=None, unit="series")
        for series in series_matching(peer, address):
            kinds = images_of(peer, series)
            images = [image for image, kind in kinds.items() if not kind or kind in IMAGES]
            other += len(kinds) - len(images)
            folder = draft / keyed(series[1], key)
            wanted[series] = {image: folder / f"{keyed(image, key)}.dcm" for image in images}
            bar.advance(task)
    if not any(wanted.values()):
        raise SourceError(f"{address.name}: no CT or MR image matches the query. Try it wider, with * for any letters.")
    return wanted, other


def _fetch_all(peer: Peer, address: PeerAddress, wanted: Wanted, show: bool) -> Counter[str]:
    """Fetch what is missing: whole series at once, else image by image. Counts why what did not come."""
    total = sum(map(len, wanted.values()))
    have = sum(path.exists() for paths in wanted.values() for path in paths.values())
    left_out: Counter[str] = Counter()
    with progress_bars(show) as bar:
        task = bar.add_task(f"from {address.host}", total=total, completed=have, unit="images")
        for series, paths in wanted.items():

            def keep(image: str, content: bytes, paths: dict[str, Path] = paths) -> None:
                if image in paths and not paths[image].exists():
                    write_whole(paths[image], content, sync=False)
                    bar.advance(task)

            if paths:
                next(iter(paths.values())).parent.mkdir(exist_ok=True)
            try:
                if not any(path.exists() for path in paths.values()):
                    peer.fetch(series, keep)
                for image in [image for image, path in paths.items() if not path.exists()]:
                    why = peer.fetch((*series, image), keep)
                    if not paths[image].exists():
                        left_out[why or "the PACS says nothing of it"] += 1
            except PeerError as error:
                done = int(bar.tasks[task].completed)
                kept = f"What came is kept, {done} of {count_of(total, 'image')}: give the same command again to go on."
                raise PeerError(f"{error} {kept}") from None
    return left_out
