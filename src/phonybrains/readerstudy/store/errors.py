"""What can go wrong with an answer that may be sent again, or that can never be taken."""

from __future__ import annotations

from ...errors import StudyError


class DiskFullError(StudyError):
    """The database has no room; nothing was changed, and the same again will do once there is."""


class BusyError(StudyError):
    """The database cannot be reached now; the same again will do later."""


class LostError(StudyError):
    """The database, or what belongs to it, was taken away while it was open; nothing can be taken any more."""


class ConflictError(StudyError):
    """This was answered otherwise before, or it is not its turn."""


class UnknownError(StudyError):
    """There is no such thing, or not for this reader."""


class PausedError(StudyError):
    """The study rests; the same again will do later."""


class EndedError(StudyError):
    """Finished, revoked, expired or closed: it can never be taken."""


class NoSessionError(StudyError):
    """This browser is not, or no longer, the one that this reader reads on."""
