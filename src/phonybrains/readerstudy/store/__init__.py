"""The database of a reader study: who reads, what they answered, and an audit log that shows any change."""

from .audit import LogEntry
from .clock import Clock
from .departures import Departure
from .errors import (
    BusyError,
    ConflictError,
    DiskFullError,
    EndedError,
    LostError,
    NoSessionError,
    PausedError,
    UnknownError,
)
from .opening import open_store
from .readers import Reader
from .store import Store

__all__ = [
    "BusyError",
    "Clock",
    "ConflictError",
    "Departure",
    "DiskFullError",
    "EndedError",
    "LogEntry",
    "LostError",
    "NoSessionError",
    "PausedError",
    "Reader",
    "Store",
    "UnknownError",
    "open_store",
]
