"""Errors a person can act on: what is wrong, where, and what to do."""

from __future__ import annotations


class PhonyBrainsError(Exception):
    """Base of every error this package raises on purpose; its text is one line for the person at the keyboard."""


class ConfigError(PhonyBrainsError):
    """An option or a configuration file says something that cannot be."""


class SourceError(PhonyBrainsError):
    """A source file or folder cannot be read; import lists it and goes on with the rest."""


class ImageSetError(PhonyBrainsError):
    """A folder is not an image set, or is one that has been damaged."""


class ModelError(PhonyBrainsError):
    """A model folder is missing a part, or a part is damaged or foreign."""


class StudyError(PhonyBrainsError):
    """A study folder, its answers or its database are not what was frozen, or do not fit one another."""


class ServiceError(PhonyBrainsError):
    """A text-to-image service did not bring what it was asked for; what it brought is kept."""


class PeerError(PhonyBrainsError):
    """A PACS cannot be reached, refuses, or breaks off; what has come or gone by then is kept."""


class TrainingError(PhonyBrainsError):
    """Training cannot start or had to stop; the last good checkpoint is kept."""


class OutputError(PhonyBrainsError):
    """The output folder cannot be written: it exists with other content, or the disk is full."""
