"""Provenance and atomic publishing: a folder appears whole, with the record of how it came to be, or not at all.

`record.json` holds the record of each input inside it, so that one file leads from a synthetic image back to the
scans its model was trained on. Only base names are written, never the paths of a machine.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from typing_extensions import TypedDict

from .documents import read_json
from .drafts import RECORD_NAME, appear, empty, move_in
from .errors import OutputError, PhonyBrainsError
from .files import only_writer, write_whole
from .fingerprints import beside_images as beside_images
from .fingerprints import fingerprint as fingerprint
from .fingerprints import hashes_of as hashes_of
from .fingerprints import sha256_file as sha256_file
from .fingerprints import sha256_of_setting as sha256_of_setting
from .replacing import NEVER, check_replaceable, gives_way, settle, unlike

TABLE_NAME = "metadata.csv"
SEAL, UNSEALED = "sha256", "0" * 64
"""The key of a record's own SHA-256, and what stands in its place while that is computed."""
PACKAGES = ("phonybrains", "torch", "diffusers", "numpy", "pillow", "pydicom", "nibabel")


class Input(TypedDict, total=False):
    """What a stage read: base name, fingerprint and its own record."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    name: str
    sha256: str
    record: Content | None


class Content(TypedDict, total=False):
    """What a `record.json` holds."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    stage: str
    identity: str
    created: str
    config: dict[str, Any]
    inputs: list[Input] | None
    sources: list[dict[str, str | None]] | None
    results: dict[str, Any]
    files: dict[str, str]


@dataclass(frozen=True)
class Record:
    """What determines a stage's output: its name, configuration, seed and inputs; `results` is what it found."""

    stage: str
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    inputs: Sequence[Mapping[str, Any]] = ()
    sources: Sequence[Mapping[str, str]] = ()
    results: dict[str, Any] = field(default_factory=dict)
    created: str = ""
    """When it was made, in ISO 8601; now, where nothing is said."""

    @property
    def identity(self) -> str:
        """SHA-256 over stage, configuration, seed and the hashes of the inputs: equal identity, equal output."""
        hashes = [item["sha256"] for item in self.inputs]
        text = json.dumps([self.stage, self.config, self.seed, hashes], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def run_identity(self) -> str:
        """The identity without a shard and without how many images were asked for: what each image of a run carries."""
        config = {key: self.config[key] for key in self.config if key != "shard"}
        if requests := config.get("requests"):
            config["requests"] = [{key: one[key] for key in one if key != "n"} for one in requests]
        return replace(self, config=config).identity

    def write(self, folder: Path) -> None:
        """Write `record.json` into a folder, with the time, the versions and the machine's kind added."""
        content = {
            "stage": self.stage,
            "identity": self.identity,
            "created": self.created or now(),
            "config": self.config,
            "seed": self.seed,
            "inputs": self.inputs,
            "sources": self.sources,
            "results": self.results,
            "versions": versions(),
        }
        write_record(folder, content)


def now() -> str:
    """The time as records tell it: UTC, in ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_record(folder: Path, content: Mapping[str, Any]) -> None:
    """Write `record.json` with the hashes that protect it: of what an image set has beside its images, and its own."""
    said = {key: value for key, value in content.items() if key not in ("files", SEAL)}
    if (folder / TABLE_NAME).is_file():
        said["files"] = beside_images(folder)
    text = json.dumps(said | {SEAL: UNSEALED}, indent=2, default=_plain) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    write_whole(folder / RECORD_NAME, f"{text.removesuffix(_end(UNSEALED))}{_end(digest)}".encode())


def is_sealed(text: bytes, content: Mapping[str, Any]) -> bool | None:
    """Whether the text of a `record.json` is what its own SHA-256 says; None where it has none, as those of before."""
    digest = content.get(SEAL)
    if digest is None:
        return None
    ends = _end(digest).encode()
    zeroed = text.removesuffix(ends) + _end(UNSEALED).encode()
    return text.endswith(ends) and hashlib.sha256(zeroed).hexdigest() == digest


def _end(digest: str) -> str:
    return f'"{digest}"\n}}\n'


def _plain(value: Any) -> Any:
    """A scalar of NumPy or torch as a number, not as the text of one; anything else that JSON lacks as text."""
    return value.item() if getattr(value, "ndim", None) == 0 else str(value)


UNSAFE = "not patient-safe"


def split_methods(record: Mapping[str, Any]) -> dict[str, str]:
    """By modality, how a set was split, by its record or those it was made from; what is not patient-safe wins."""
    own = record.get("results", {}).get("split")
    if isinstance(own, dict) and own:
        return {str(modality): str(method) for modality, method in own.items()}
    found: dict[str, str] = {}
    for item in record.get("inputs") or ():
        for modality, method in split_methods(item.get("record") or {}).items():
            if UNSAFE not in found.get(modality, ""):
                found[modality] = method
    return found


def watermark_of(record: Mapping[str, Any]) -> str:
    """The name of the key whose watermark a set's images carry, by its record or those of the sets it was made from."""
    if record.get("stage") in ("train", "finetune", "predict-train"):  # what a model learnt from is not in the files
        return ""
    own = (record.get("config") or {}).get("watermark") if record.get("stage") == "generate" else ""
    nested = (watermark_of(item.get("record") or {}) for item in record.get("inputs") or ())
    return str(own or next(filter(None, nested), ""))


def versions() -> dict[str, str]:
    """Name and version of Python, the platform and the packages that can change a result."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def read_record(folder: Path) -> dict[str, Any]:
    """The content of a folder's `record.json`; empty where there is none."""
    path = folder / RECORD_NAME
    if not path.is_file():
        return {}
    return dict(read_json(path, Content, "Restore the folder from where it was made."))


def check_files(folder: Path) -> None:
    """Raise OutputError for a file that a folder's record lists in its results and that is gone or another."""
    for name, digest in (read_record(folder).get("results", {}).get("files") or {}).items():
        path = folder / name
        if not path.is_file() or sha256_file(path) != digest:
            raise OutputError(f"{path} is missing, or not as it was made.")


def as_input(folder: Path) -> dict[str, Any]:
    """Describe a folder or a single file as the input of a stage: name, fingerprint and its own record, nested.

    The name is the base name; scans, imported or of unknown origin, get a digest instead: folders of scans are called
    after people.
    """
    record, sha256 = read_record(folder), fingerprint(folder)
    known = not folder.is_dir() or record.get("stage", "import") != "import"
    name = folder.resolve().name if known else f"{'import' if record else 'folder'} {sha256[:12]}"
    return {"name": name, "sha256": sha256, "record": record}


def is_published(out: Path, record: Record, whole: Callable[[Path], object] | None = None) -> bool:
    """Whether `out` already holds the finished result of this record. Raises OutputError if it holds anything else.

    whole: raises a PhonyBrainsError where a finished folder has lost something; OutputError then says so. What may be
    replaced (replacing.py) is no error.
    """
    settle(out)
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if out.is_dir() and (read_record(out).get("identity") == record.identity or _moved_in(out, record)):
        try:
            _ = whole and whole(out)
        except PhonyBrainsError as error:
            if not gives_way(out):
                lost = f"{out} was finished, but is no longer whole: {str(error).partition('. ')[0].rstrip('.')}"
                raise OutputError(f"{lost}. Remove it, and give the command again.") from None
        else:
            if read_record(left := draft_folder(out, record)).get("identity", record.identity) != record.identity:
                shutil.rmtree(left, ignore_errors=True)  # the one that was replaced as a stop came
            return True
    if gives_way(out):
        _check_replaceable(out, record)
        return False
    other = "" if record.stage in NEVER else " --overwrite has it replaced once the new one is complete."
    how = unlike(read_record(out) if out.is_dir() else {}, record.stage, record.config)
    raise OutputError(
        f"{out} already exists and was not made by this command with these settings{how}. "
        f"Choose another --out, or remove it first.{other}"
    )


def draft_folder(out: Path, record: Record) -> Path:
    """Where the draft of `out` lies until it is published: beside it, named after the record's identity."""
    out = out.resolve()  # `.` and links have a place of their own
    return out.parent / f".{out.name}.{record.stage}-{record.identity[:12]}.partial"


@contextmanager
def publish(out: Path, record: Record, *, resume: bool = False) -> Iterator[Path]:
    """Yield a draft folder beside `out`; on success add the record and rename it to `out`, in one step.

    With `resume`, an interrupted draft is kept, and the next call with the same record identity goes on in it; without,
    it is removed. Add to `record.results` before leaving. Raises OutputError when the disk is full or not writable,
    when `out` exists, finished or foreign, and while another process is making it.
    """
    _check_unpublished(out, record)
    with appear(out, draft_folder(out, record), keep=resume) as draft:
        _check_unpublished(out, record)  # another process may have been quicker
        if read_record(draft).get("identity", record.identity) != record.identity:
            empty(draft)  # what was replaced as a stop came
        yield draft
        record.write(draft)
        _check_unpublished(out, record)


def _moved_in(out: Path, record: Record) -> bool:
    """Whether a stopped run had begun to move its draft in; the rest of it is then moved now."""
    draft = draft_folder(out, record)
    if (out / RECORD_NAME).exists() or read_record(draft).get("identity") != record.identity:
        return False
    with only_writer(draft, out):
        move_in(draft, out.resolve())
    return True


def _check_replaceable(out: Path, record: Record) -> None:
    check_replaceable(out, read_record(out) if out.is_dir() else {}, record.stage)
    if any(item["sha256"] == fingerprint(out) for item in record.inputs):
        raise OutputError(f"{out} is not overwritten: it is read.")


def _check_unpublished(out: Path, record: Record) -> None:
    if not is_published(out, record):
        return
    if gives_way(out):
        _check_replaceable(out, record)
    else:
        raise OutputError(f"{out} is already finished. Choose another --out, or remove it first.")


def keep_private(folder: Path) -> None:
    """Let nobody but its owner into a folder, nor read what is in it."""
    folder.chmod(0o700)
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
