"""A finished set of fewer images of the same run, which grows: what is there is kept, and only the rest is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..files import link_or_copy
from ..imageset import METADATA_NAME, read_metadata
from ..record import Record, read_record, sha256_file


def is_smaller(out: Path, record: Record) -> bool:
    """Whether `out` holds the beginning of what a record says: the same but for a smaller n of the last request.

    Shards never do: which images are theirs depends on n.
    """
    said, wanted = read_record(out), record.config["requests"]
    if said.get("stage") != record.stage or "shard" in record.config:
        return False
    there = said["config"]["requests"]
    if not there[-1]["n"] < wanted[-1]["n"]:
        return False
    fewer = [*wanted[:-1], {**wanted[-1], "n": there[-1]["n"]}]
    return bool(said["identity"] == replace(record, config={**record.config, "requests": fewer}).identity)


def take_over(out: Path, draft: Path) -> None:
    """Have the images of a finished set in a draft, as links to the same files, but for those that are damaged."""
    for row in read_metadata(out / METADATA_NAME):
        path = out / row.file_name
        if path.is_file() and sha256_file(path) == row.sha256:
            link_or_copy(path, draft / row.file_name)
