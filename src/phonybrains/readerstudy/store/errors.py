"""What can go wrong with an answer that may be sent again, or can never be taken; `status` is HTTP's word for it."""

from __future__ import annotations

from ...errors import StudyError


class DiskFullError(StudyError):
    """The database has no room; nothing was changed, and the same again will do once there is."""

    status = 507


class BusyError(StudyError):
    """The database cannot be reached now; the same again will do later."""

    status = 503


class LostError(StudyError):
    """The database, or what belongs to it, was taken away while it was open; nothing can be taken any more."""

    status = 500


class ConflictError(StudyError):
    """This was answered otherwise before, or it is not its turn."""

    status = 409


class UnknownError(StudyError):
    """There is no such thing, or not for this reader."""

    status = 404


class PausedError(StudyError):
    """The study rests; the same again will do later."""

    status = 423


class EndedError(StudyError):
    """Finished, revoked, expired or closed: it can never be taken."""

    status = 410


class NoSessionError(StudyError):
    """This browser is not, or no longer, the one that this reader reads on."""

    status = 401
