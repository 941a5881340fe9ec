"""Replacing: where it is allowed, a finished folder or a file gives way to another of its kind, once that is whole.

Two folders change their names in one step where the system can do that. Elsewhere (some network disks) a stop may come
between two renames: the old one then lies beside its place, and has its name back as soon as a command writes there.
"""

from __future__ import annotations

import csv
import ctypes
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from .errors import OutputError
from .files import write_whole

AT_FDCWD, EXCHANGE = -100, 2
"""The current folder, and the flag RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS.  [renameat2(2), renamex_np(2)]"""
RECORD = "record.json"
NEVER = ("design", "study analyse", "imagine", "fetch")
"""Stages whose folders never give way: what readers answered, what was paid for, what others have published."""

_allowed: ContextVar[frozenset[Path]] = ContextVar("allowed", default=frozenset())


@contextmanager
def overwriting(*places: str | Path, inputs: Iterable[str | Path] = ()) -> Iterator[None]:
    """Meanwhile what has one of these names may be replaced: a folder by one of the same stage, a file by a file.

    Raises OutputError where an input is one of the places, or lies inside it.
    """
    outs = {Path(place).resolve(): place for place in places}
    for given in map(Path, inputs):
        for out, place in outs.items():
            if given.resolve().is_relative_to(out):
                raise OutputError(f"{place} cannot be overwritten: {given}, which is read, lies there.")
    token = _allowed.set(_allowed.get() | outs.keys())
    try:
        yield
    finally:
        _allowed.reset(token)


def gives_way(out: Path) -> bool:
    """Whether what has this name may be replaced."""
    return out.resolve() in _allowed.get()


def check_vacant(path: Path) -> None:
    """Raise OutputError where a file that a person named is there already, and must not be replaced."""
    if path.exists() and not gives_way(path):
        raise OutputError(f"{path} exists already. Choose another name, or give --overwrite.")


def write_named(path: Path, content: bytes) -> None:
    """Write a file that a person named, whole; what is there stays, unless it is the same. Raises OutputError."""
    if not path.is_file() or path.read_bytes() != content:
        check_vacant(path)
        write_whole(path, content)


def check_replaceable(out: Path, said: Mapping[str, Any], stage: str) -> None:
    """Raise OutputError for a folder that is to give way to the output of a stage, and must not.

    said: its record. It must be whole of that stage, with nothing in it that another hand has put there.
    """
    fault = _fault(out, said, stage)
    if fault:
        raise OutputError(f"{out} is not overwritten: {fault}. Choose another --out, or remove it yourself.")


def unlike(said: Mapping[str, Any], stage: str, config: Mapping[str, Any]) -> str:
    """What a record says otherwise than a stage and its configuration, in brackets; empty where it cannot be told."""
    if said.get("stage") != stage:
        return f" ('{said['stage']}' made it)" if said.get("stage") else ""
    there, here = said.get("config") or {}, json.loads(json.dumps(config, default=str))
    others = [name for name in here | there if there.get(name) != here.get(name)]
    text = f" ({others[0]}: {there.get(others[0])} there, {here.get(others[0])} here)" if others else ""
    return text if len(text) < 120 else f" ({others[0]})"


def _fault(out: Path, said: Mapping[str, Any], stage: str) -> str:
    target, found = out.resolve(), said.get("stage")
    if not target.is_dir() or not said.get("identity"):
        return "it is no finished output of phonybrains"
    if found in NEVER or stage in NEVER:
        return f"what '{found}' made never is"
    if found != stage:
        return f"it was made by '{found}', not by '{stage}'"
    if Path.cwd().is_relative_to(target):
        return "you stand in it"
    if target.is_mount():
        return "a disk is mounted there"
    strange = next(_strange(target, said), None)
    return f"{strange.relative_to(target)} is not as phonybrains left it there" if strange else ""


def _strange(folder: Path, said: Mapping[str, Any]) -> Iterator[Path]:
    """What another hand has put there or changed, by the hashes of the record, and by its time where it has none."""
    listed = said.get("files") or (said.get("results") or {}).get("files") or {}
    pictures, finished = {*_in_tables(folder)} if listed else set[Path](), (folder / RECORD).stat().st_mtime + 1
    for path in sorted(folder.rglob("*")):
        name, about = path.relative_to(folder).as_posix(), path.lstat()
        if path.is_symlink():
            yield path
        elif path.is_dir() or path in pictures or path.name == RECORD:
            continue
        elif (name not in listed or _digest(path) != listed[name]) if listed else max(about[-2:]) > finished:
            yield path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _in_tables(folder: Path) -> Iterator[Path]:
    """The pictures that tables of image sets name, of this folder or of one below it."""
    for table in folder.rglob("metadata.csv"):
        with table.open(encoding="utf-8-sig", errors="replace", newline="") as file, suppress(csv.Error):
            for row in csv.DictReader(file):
                yield from (table.parent / row[column] for column in ("file_name", "mask_file_name") if row.get(column))


def take_place(draft: Path, target: Path) -> None:
    """Give a draft its name; where another folder may be replaced, that goes once the draft has the name."""
    if not (gives_way(target) and target.is_dir() and any(target.iterdir())):
        draft.rename(target)  # also in place of an empty folder
        return
    aside = _aside(target)
    if _exchange(draft, target):
        draft.rename(aside)
    else:
        target.rename(aside)
        draft.rename(target)
    shutil.rmtree(aside, ignore_errors=True)


def settle(out: Path) -> None:
    """End what a stop left undone: the folder that was to give way goes, or has its name back."""
    target = out.resolve()
    if (aside := _aside(target)).is_dir():
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(target)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.phonybrains-replaced")


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; False where the system cannot."""
    system, names = ctypes.CDLL(None), (os.fsencode(one), os.fsencode(other))
    if hasattr(system, "renameat2"):
        return system.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], EXCHANGE) == 0
    return hasattr(system, "renamex_np") and system.renamex_np(*names, EXCHANGE) == 0
