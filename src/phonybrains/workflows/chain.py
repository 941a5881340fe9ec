"""What a picture, a set, a model or a corpus says of itself, checked link by link, each file read once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..documents import as_kind
from ..errors import PhonyBrainsError
from ..imageset import METADATA_NAME, Row, read_metadata
from ..importing.parallel import threads
from ..marks import mark_in
from ..model import lora_description
from ..model.description import DESCRIPTION, code_of, parts_of, read_description
from ..record import RECORD_NAME, SEAL, Content, Record, fingerprint, is_sealed, read_record, sha256_file
from ..wording import count_of
from .nearby import candidates, listed_sources, scanned

Word = Literal["intact", "changed", "unknown"]
KEYS = {"stage", "identity", "created", "config", "seed", "inputs", "sources", "results", "files", "versions", SEAL}
LORA = lora_description.DESCRIPTION
SHOWN = 20
"""Damaged files of a kind that are named one by one."""
ANOTHER = "it has another SHA-256"


@dataclass(frozen=True)
class Link:
    """A link of the chain: what it is, where, whether it is as it was, and how that is known."""

    what: str
    name: str
    word: Word
    why: str = ""


@dataclass(frozen=True)
class Looked:
    """What is wrong with an image and with its mask, and the run that the image names; None where it has no mark."""

    fault: str
    of_mask: str
    said: str | None


@dataclass
class Trail:
    """What has been checked so far; folders are checked once.

    places: where inputs are looked for; near: those of them that were named, where sources are looked for too;
    advance: is told of every file that was read; bounds: what holds all that is looked at.
    """

    places: Sequence[Path]
    near: Sequence[Path] = ()
    advance: Callable[[], object] = lambda: None
    bounds: Path = Path("/")
    links: list[Link] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)
    hashes: dict[Path, str] = field(default_factory=dict)

    def add(self, what: str, name: str | Path, word: Word, why: str = "") -> None:
        self.links.append(Link(what, str(name), word, why))

    def folder(self, folder: Path, rows: Sequence[str] | None = None) -> None:
        """Check a folder of any kind, and what it was made from; rows: of a set, these files alone."""
        if folder.resolve() in self.seen:
            return
        self.seen.add(folder.resolve())
        content = self.record(folder)
        if (folder / METADATA_NAME).is_file():
            self.image_set(folder, content, rows)
        elif (folder / DESCRIPTION).is_file() or (folder / LORA).is_file():
            self.model(folder)
        elif content.get("stage") != "fetch" and (files := (content.get("results") or {}).get("files")):
            self.files(folder, files)
            for name in (name for name in files if name.endswith(f"/{METADATA_NAME}")):
                self.folder((folder / name).parent)
        else:
            self.add("files", folder, "unknown", "its record lists no hashes of them")
        for number, item in enumerate(content.get("inputs") or ()):
            self.input(folder, content, number, item)

    def record(self, folder: Path) -> dict[str, Any]:
        """Check a record by its own hash, and its identity by what it is the hash of."""
        path = folder / RECORD_NAME
        if not path.is_file():
            self.add("record", path, "unknown", "there is none")
            return {}
        text = path.read_bytes()
        self.advance()
        try:
            content = dict(as_kind(json.loads(text), Content))
            sealed, identity = is_sealed(text, content), _identity(content)
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
            self.add("record", path, "changed", f"it is no record any more ({type(error).__name__})")
            return {}
        if sealed is False or (sealed is None and content.keys() - KEYS):
            self.add("record", path, "changed", "it is not what its own SHA-256 says")
        elif identity != content.get("identity"):
            self.add("record", path, "changed", "its identity is not that of what it says")
        elif sealed is None:
            self.add(
                "record", path, "unknown", "its identity is right, and it has no SHA-256 of its own, as those of before"
            )
        else:
            self.add("record", path, "intact", "its own SHA-256, and its identity")
        return content

    def image_set(self, folder: Path, content: Mapping[str, Any], wanted: Sequence[str] | None) -> None:
        """Check the table of a set, what lies beside it, and its images with their marks."""
        table, files = folder / METADATA_NAME, dict(content.get("files") or {})
        if METADATA_NAME in files:
            self.files(folder, files)
        else:
            self.add("table", table, "unknown", "its record does not say its hash, as those of before do not")
        try:
            rows = [row for row in read_metadata(table) if wanted is None or row.file_name in wanted]
        except PhonyBrainsError as error:
            self.add("table", table, "changed", str(error))
            return
        known = {identity for one in _records(content) for identity in _identities(one)}
        with threads() as pool:
            found = list(pool.map(lambda row: self._image(folder, row), rows))
        pairs = list(zip(rows, found, strict=True))
        self._summary("images", folder, [(row.file_name, one.fault) for row, one in pairs])
        self._summary("masks", folder, [(row.mask_file_name, one.of_mask) for row, one in pairs if row.mask_file_name])
        self._marks(folder, [one.said for row, one in pairs if row.synthetic and not one.fault], known)

    def _image(self, folder: Path, row: Row) -> Looked:
        """Read an image and its mask."""
        png, fault = _read(folder / row.file_name, row.sha256)
        mask = _read(folder / row.mask_file_name, row.mask_sha256)[1] if row.mask_file_name else ""
        self.advance()
        mark = mark_in(png)
        return Looked(fault, mask, None if mark is None else str(mark.facts.get("record_identity", "")))

    def _summary(self, what: str, folder: Path, found: Sequence[tuple[str, str]]) -> None:
        wrong = [(name, fault) for name, fault in found if fault]
        for name, fault in wrong[:SHOWN]:
            self.add(what.removesuffix("s"), folder / name, "changed", fault)
        more = f"; {len(wrong) - SHOWN} more are changed" if len(wrong) > SHOWN else ""
        if whole := len(found) - len(wrong):
            self.add(what, folder, "intact", f"{whole} of {len(found)} as the table says{more}")

    def _marks(self, folder: Path, said: Sequence[str | None], known: set[str]) -> None:
        """Whether each synthetic image names a run that this set's record is, or was made from."""
        strange, bare = [one for one in said if one and one not in known], said.count(None)
        if strange and known:
            run = f"name the run {strange[0][:12]}, of which the record knows nothing"
            self.add("marks", folder, "changed", f"{len(strange)} of {count_of(len(said), 'image')} {run}")
        elif bare:
            carry = count_of(bare, "carries", "carry")
            self.add("marks", folder, "unknown", f"of {count_of(len(said), 'synthetic image')}, {carry} none")
        elif said:
            say = count_of(len(said), "synthetic image says", "synthetic images say")
            self.add("marks", folder, "intact", f"{say} so")

    def model(self, folder: Path) -> None:
        """Check a model of either kind: its description by its own hash, its parts by those in it."""
        lora = (folder / LORA).is_file()
        path = folder / (LORA if lora else DESCRIPTION)
        self.advance()
        try:
            if lora:
                lora_description.read_lora(folder)
                parts = {}
            else:
                content = read_description(folder)
                listed = (*parts_of(content), *code_of(content))
                parts = {name: str(content["sha256"][name]) for name in listed if name in content["sha256"]}
        except PhonyBrainsError as error:
            self.add("model", path, "changed", str(error))
            return
        text = path.read_text(encoding="utf-8")
        if all(json.dumps(json.loads(text), indent=indent) + "\n" != text for indent in (1, 2)):
            self.add("model", path, "changed", "it is not written as it was")
        self.files(folder, parts, "model")

    def files(self, folder: Path, files: Mapping[str, str], what: str = "file") -> None:
        """Check files by their hashes."""
        with threads() as pool:
            faults = list(pool.map(lambda item: _fault(folder / item[0], item[1]), files.items()))
        for name, fault in zip(files, faults, strict=True):
            self.advance()
            if fault:
                self.add("table" if name == METADATA_NAME else what, folder / name, "changed", fault)
        if whole := faults.count(""):
            name = "model" if what == "model" else "table" if list(files) == [METADATA_NAME] else "files"
            self.add(name, folder, "intact", f"{whole} of {len(files)} by their hashes")

    def input(self, folder: Path, content: Mapping[str, Any], number: int, item: Mapping[str, Any]) -> None:
        """Find what a folder was made from, see that it is still the same, and go on there."""
        name, wanted, record = str(item.get("name")), str(item.get("sha256")), item.get("record") or {}
        if content.get("stage") == "import":
            self.source(folder, number, name, wanted)
            return
        what = {"train": "model", "finetune": "model"}.get(str(record.get("stage")), "set" if record else "input")
        for place in candidates(self.places):
            same = self._is(place, wanted)
            if same or (record and read_quietly(place).get("identity") == record.get("identity")):
                why = f"{'' if same else 'it is not '}what {folder.name} was made from"
                self.add(what, place, "intact" if same else "changed", why)
                self.folder(place)
                return
        bare = () if record else self.near  # drawn masks, say: a folder without a record is known by its content alone
        if place := next((place for place in bare if self._is(place, wanted)), None):
            self.add(what, place, "intact", f"what {folder.name} was made from")
            return
        why = f"{folder.name} was made from it, and it is not near: name its folder with --near"
        self.add(what, name, "unknown", why)

    def _is(self, folder: Path, wanted: str) -> bool:
        """Whether a folder has the hash that is wanted, or is a model that had it before models had identities."""
        if folder not in self.hashes:
            self.hashes[folder] = fingerprint(folder)
        if self.hashes[folder] == wanted or not (folder / DESCRIPTION).is_file():
            return self.hashes[folder] == wanted
        try:
            return wanted in read_description(folder).get("formerly", ())
        except PhonyBrainsError:
            return False

    def source(self, folder: Path, number: int, name: str, wanted: str) -> None:
        """See whether what was imported is still the same: where the list beside the corpus says, or near."""
        named = list(listed_sources(folder))[number : number + 1]
        listed = [path for path in named if path.resolve().is_relative_to(self.bounds)]
        for path in (*(path for path in listed if path.exists()), *self.near):
            same = scanned(path) == wanted
            if same or path in listed:
                why = f"{'' if same else 'it is not '}what {folder.name} was imported from"
                self.add("source", path, "intact" if same else "changed", why)
                if (path / METADATA_NAME).is_file() and (path / RECORD_NAME).is_file():
                    self.folder(path)
                return
        self.add("source", name, "unknown", "it is not where the import found it: name its folder with --near")


def read_quietly(folder: Path) -> dict[str, Any]:
    """The record of a folder; empty where it has none that can be read."""
    try:
        return read_record(folder)
    except PhonyBrainsError:
        return {}


def identities(content: Mapping[str, Any]) -> set[str]:
    """What the images of the run that a record is of carry: of this version, and of those before."""
    record = _as_record(content)
    whole = replace(record, config={key: record.config[key] for key in record.config if key != "shard"})
    return {str(content.get("identity")), whole.identity, record.run_identity}


def _as_record(content: Mapping[str, Any]) -> Record:
    inputs = content.get("inputs") or ()
    return Record(str(content.get("stage")), content.get("config") or {}, content.get("seed"), inputs)


def _identity(content: Mapping[str, Any]) -> str:
    return _as_record(content).identity


def _records(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A record, and those inside it."""
    yield content
    for item in content.get("inputs") or ():
        yield from _records(item.get("record") or {})


def _identities(content: Mapping[str, Any]) -> set[str]:
    try:
        return identities(content) if content else set()
    except (TypeError, KeyError):
        return set()


def _fault(path: Path, digest: str) -> str:
    """What is wrong with a file of any size; "" where nothing is."""
    try:
        return "" if sha256_file(path) == digest else ANOTHER
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


def _read(path: Path, digest: str) -> tuple[bytes, str]:
    """A file's bytes, and what is wrong with it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return b"", f"it cannot be read ({error.strerror})"
    return content, "" if hashlib.sha256(content).hexdigest() == digest else ANOTHER
