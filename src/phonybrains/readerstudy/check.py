"""`phonybrains study verify`: is everything there that was ever acknowledged, as it was given?"""

from __future__ import annotations

from pathlib import Path

from ..wording import count_of
from .study import Study

SHOWN = 5


def verify_study(study: Path, *, head: str | None = None, database: str | None = None) -> int:
    """Check the folder against its protocol, the log against its key and heads, the database against the log.

    head: `N:HMAC` from a reader's last page or the investigator's page.
    Prints the first events that do not fit, and what differs. Returns 1 if any does, else 0.
    Raises StudyError if the study, its database, the log's key or its heads cannot be read.
    """
    from .store import open_store

    with open_store(Study.open(study), database, read_only=True) as store:
        found = store.verify(head)
    print(f"{study}: {count_of(len(found.replay.log), 'event')}, head {found.head}")
    if found.replay.unkeyed:
        print(f"unkeyed until event {found.replay.unkeyed}: written before the log had a key, bound by hashes alone")
    if found.replay.simulated:
        print("simulated: a rehearsal, for good")
    for look in found.replay.looks:
        print(look.text)
    for fault in found.faults[:SHOWN]:
        print(f"DOES NOT FIT: {fault.text}")
    if len(found.faults) > SHOWN:
        print(f"and {len(found.faults) - SHOWN} more")
    if not found.faults:
        print("Every event fits the one before it, and every row its event.")
    return int(bool(found.faults))
