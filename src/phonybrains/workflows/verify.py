"""`phonybrains verify`: where a picture, a set or a model comes from, each link intact, changed or unknown."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ConfigError, ImageSetError, PhonyBrainsError
from ..imageset import METADATA_NAME, Row, read_metadata, read_png
from ..importing.parallel import threads
from ..marks import CONTENT, SyntheticMark, content_digest, is_sound, mark_in, unmarked
from ..model.description import DESCRIPTION
from ..progress import progress_bars
from ..record import RECORD_NAME
from ..signing import MISSING, can_sign, credentials_of, is_signed
from ..watermark import THRESHOLD, Watermark, p_value
from .chain import LORA, Link, Trail, Word, identities, read_quietly
from .nearby import candidates

CODES: dict[Word, int] = {"intact": 0, "changed": 1, "unknown": 2}


@dataclass(frozen=True)
class Verification:
    """What was checked, link by link, from the picture down to its sources."""

    path: Path
    links: tuple[Link, ...]

    @property
    def word(self) -> Word:
        """Changed if any link is, else unknown if any is, else intact."""
        found = {link.word for link in self.links}
        return "changed" if "changed" in found else "unknown" if "unknown" in found or not found else "intact"

    @property
    def exit_code(self) -> int:
        """0 where all is intact, 1 where something has changed, 2 where nothing has, and something is unknown."""
        return CODES[self.word]

    def to_json(self) -> dict[str, Any]:
        """The links as plain JSON."""
        return {"path": str(self.path), "verdict": self.word, "links": [asdict(link) for link in self.links]}

    def __str__(self) -> str:
        lines = [f"{one.word:8} {one.what:10} {one.name}" + (f": {one.why}" if one.why else "") for one in self.links]
        return "\n".join([*lines, f"{self.path}: {self.word}"])


def verify(
    path: str | Path,
    *,
    near: Sequence[str | Path] = (),
    watermark: str | Path | None = None,
    within: str | Path | None = None,
    show: bool = True,
) -> Verification:
    """Check a picture or a folder, and what it was made from, by the hashes of their records, down to the sources.

    near: folders where what it was made from is looked for, beside those around it; a source of an import is looked for
    where the import found it, and here. watermark: a key file, to look for its watermark in the pictures. within: the
    folder outside of which nothing is looked for, but the models that come along.
    Raises ConfigError for a path that is nothing of phonybrains', and for a key that cannot be read.

    Reads each file once. A hash tells that a file changed, not who wrote it: whoever can write all files of a set can
    write its record anew. A signature (C2PA) tells that too, and is looked at where there is one.
    """
    path, key = Path(path), Watermark.read(watermark) if watermark else None
    if not path.exists():
        raise ConfigError(f"{path} is not there.")
    explicit = [Path(place) for place in near]
    if missing := [place for place in explicit if not place.is_dir()]:
        raise ConfigError(f"--near {missing[0]}: there is no such folder.")
    with progress_bars(show, vanish=True) as bar:
        line = bar.add_task("verifying", total=None, unit="files")
        around = path.resolve().parents[: 2 if path.is_dir() else 3]
        bounds = Path(within or "/").resolve()
        places = [place for place in (*explicit, *around, Path()) if place.resolve().is_relative_to(bounds)]
        chain = Trail(places, explicit, lambda: bar.advance(line), bounds=bounds)
        if path.is_dir():
            _folder(chain, path)
        else:
            _picture(chain, path)
        if key:
            _find(chain, path, key)
    return Verification(path, tuple(chain.links))


def _folder(chain: Trail, folder: Path) -> None:
    """A set, a model or the output of another stage."""
    if not any((folder / name).is_file() for name in (RECORD_NAME, METADATA_NAME, DESCRIPTION, LORA)):
        raise ConfigError(
            f"{folder} is nothing that phonybrains made: it has neither {RECORD_NAME} nor {METADATA_NAME}."
        )
    chain.folder(folder)


def _picture(chain: Trail, path: Path) -> None:
    """A picture: by the set in which it lies as an image or a mask, else by what it says of itself."""
    folder = path.resolve().parent.parent
    name = path.resolve().relative_to(folder).as_posix()
    png = path.read_bytes()
    _signature(chain, path, png)
    if of := [row.file_name for row in _rows(folder) if name in (row.file_name, row.mask_file_name)]:
        chain.folder(folder, of)
        return
    mark = mark_in(png)
    if png.startswith(b"\x89PNG") and not is_sound(png):
        chain.add("image", path, "changed", "it is damaged: a checksum of the PNG does not hold")
    if mark is None:
        chain.add("image", path, "unknown", "it does not say where it comes from, and lies in no image set")
        return
    _outside(chain, path, png, mark)


def _outside(chain: Trail, path: Path, png: bytes, mark: SyntheticMark) -> None:
    """A picture that lies in no set: by the run or the model that its mark names."""
    identity, said = mark.facts.get("record_identity"), mark.facts.get(CONTENT)
    digest = hashlib.sha256(unmarked(png)).hexdigest()
    if said:
        whole = said == digest
        chain.add(
            "image",
            path,
            "intact" if whole else "changed",
            "the hash of its pixels, which it carries" if whole else "its pixels are not those that it says",
        )
    near = [(folder, read_quietly(folder)) for folder in candidates(chain.places)] if identity else []
    sets = [folder for folder, said in near if said and identity in identities(said)]
    if sets:
        _in_set(chain, path, digest, mark, next((one for one in sets if _holding(one, digest, mark)), sets[0]))
        return
    if not said:
        chain.add(
            "image", path, "unknown", f"it says that it is of the run {str(identity)[:12]}, and no set of it is near"
        )
    model = {
        "name": mark.facts.get("generator"),
        "sha256": mark.facts.get("model_sha256"),
        "record": {"stage": "train"},
    }
    if model["sha256"]:
        chain.input(path, {}, 0, model)


def _holding(folder: Path, digest: str, mark: SyntheticMark) -> list[Row]:
    """The rows of a set with the number that a mark says, whose pixels are those of the picture."""
    rows = [row for row in _rows(folder) if row["index"] == mark.facts.get("index")]
    files = [row for row in rows if (folder / row.file_name).is_file()]
    return [row for row in files if content_digest(folder / row.file_name) == digest]


def _in_set(chain: Trail, path: Path, digest: str, mark: SyntheticMark, folder: Path) -> None:
    """Whether a picture is the one of its number in the set that it names."""
    mine = [row for row in _rows(folder) if row["index"] == mark.facts.get("index")]
    same = _holding(folder, digest, mark)
    if same:
        chain.add("image", path, "intact", f"the pixels of {folder}/{same[0].file_name}, to which its mark leads")
    else:
        chain.add(
            "image",
            path,
            "changed",
            f"its mark says image {mark.facts.get('index')} of {folder}, whose pixels are others",
        )
    chain.folder(folder, [row.file_name for row in same or mine])


def _rows(folder: Path) -> list[Row]:
    try:
        return read_metadata(folder / METADATA_NAME)
    except ImageSetError:
        return []


def _signature(chain: Trail, path: Path, png: bytes) -> None:
    """What a C2PA signature says, where there is one."""
    if not is_signed(png):
        return
    if not can_sign():
        chain.add("signature", path, "unknown", MISSING)
        return
    found = credentials_of(png)
    if found is not None:
        known = "on a trust list" if found.trusted else "on no trust list"
        why = f"C2PA: by {found.signer or 'nobody'}, {known}; {found.source_type}"
        chain.add("signature", path, "intact", why) if found.whole else chain.add(
            "signature", path, "changed", "; ".join(found.faults)
        )


def _find(chain: Trail, path: Path, key: Watermark) -> None:
    """Look for a watermark in a picture, or in the pictures of a set."""
    paths = [path / row.file_name for row in _rows(path)] if path.is_dir() else [path]
    with threads() as pool:
        found = list(pool.map(lambda one: key.find(_grey(one)), paths))
    if not found:
        raise ConfigError(f"{path} holds no pictures to look for a watermark in.")
    there = [z for z in found if z > THRESHOLD]
    chance = (
        f"by chance at most {p_value(min(there)):.0e} each" if there else f"at most {max(found):.1f} of {THRESHOLD:.1f}"
    )
    word: Word = "intact" if len(there) == len(found) else "unknown"
    chain.add("watermark", path, word, f"{len(there)} of {len(found)} carry that of the key {key.name}; {chance}")


def _grey(path: Path) -> Any:
    """A picture of any format as (H, W)."""
    try:
        return read_png(path)
    except PhonyBrainsError:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("L"))
