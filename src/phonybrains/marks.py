"""Pictures that say what they are: made by a trained model, edited by one, or drawn by a program.

A mark is a few iTXt chunks behind a PNG's header: a sentence, JSON, and XMP with the digital source type of IPTC. The
rest of the file is what it is without, byte for byte, so that `unmarked` gives the file of the same pixels alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .documents import as_kind
from .files import write_whole
from .record import versions

SOFTWARE = f"phonybrains {versions()['phonybrains']}"
MADE, EDITED = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"
ENHANCED, DRAWN = "algorithmicallyEnhanced", "algorithmicMedia"
"""Terms of https://cv.iptc.org/newscodes/digitalsourcetype/: the last two need no training."""
RESEARCH = "For research and teaching, not for diagnosis."
NOTICES = {
    MADE: f"Synthetic image, made by a diffusion model: it shows no patient. {RESEARCH}",
    EDITED: f"Edited image: a diffusion model drew detail that was not measured. {RESEARCH}",
    ENHANCED: f"Edited image: a program changed what was measured. {RESEARCH}",
    DRAWN: f"Synthetic image, drawn by a program: it shows no patient. {RESEARCH}",
}
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SENTENCE, FACTS, XMP_KEY = "Description", "phonybrains", "XML:com.adobe.xmp"
CONTENT = "content_sha256"
"""In the mark of a picture that goes out alone: the SHA-256 of the file without the mark."""
KEYS = (SENTENCE, "Software", FACTS, XMP_KEY)
"""Keywords of the chunks of a mark; Software is in those of earlier versions."""
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType='
    '"http://cv.iptc.org/newscodes/digitalsourcetype/{}"/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)
SIGNATURE, HEADER = b"\x89PNG\r\n\x1a\n", 33
"""How a PNG begins, and where its first chunk, IHDR, ends.  [PNG specification, sec. 5.2 and 11.2.1]"""


@dataclass(frozen=True)
class SyntheticMark:
    """What a picture says of itself: a term of IPTC's, and facts as JSON, `record_identity` and `index` among them."""

    source_type: str = MADE
    facts: Mapping[str, Any] = field(default_factory=dict)

    def of(self, **facts: Any) -> SyntheticMark:
        """The mark with more facts."""
        return replace(self, facts={**self.facts, **facts})

    @property
    def xmp(self) -> bytes:
        """The XMP packet, read-only and without padding.  [XMP specification, part 1, sec. 7.3]"""
        return XMP.format(self.source_type).encode()

    @property
    def texts(self) -> dict[str, str]:
        """The chunks, by keyword."""
        facts = {"synthetic": True, "digitalSourceType": self.source_type, **self.facts}
        said = json.dumps(facts, ensure_ascii=False)
        return {SENTENCE: NOTICES[self.source_type], FACTS: said, XMP_KEY: self.xmp.decode()}


OF_A_MODEL = SyntheticMark()


def marked(png: bytes, mark: SyntheticMark) -> bytes:
    """A PNG with a mark, in place of one that it had."""
    plain = unmarked(png)
    chunks = b"".join(_chunk(keyword, text) for keyword, text in mark.texts.items())
    return plain[:HEADER] + chunks + plain[HEADER:]


def unmarked(png: bytes) -> bytes:
    """A PNG without a mark and a C2PA signature; anything else as it is."""
    ours = [(one.start, one.end) for one in _chunks(png) if one.kind == b"caBX" or one.keyword in KEYS]
    for start, end in reversed(ours):
        png = png[:start] + png[end:]
    return png


def mark_in(png: bytes) -> SyntheticMark | None:
    """The mark of a PNG; None where it has none, or one that cannot be read."""
    for one in _chunks(png):
        if one.keyword == FACTS:
            try:
                facts = as_kind(json.loads(one.text), dict[str, Any])
            except (ValueError, RecursionError):
                return None
            source_type = str(facts.pop("digitalSourceType", ""))
            facts.pop("synthetic", None)
            return SyntheticMark(source_type, facts) if source_type in NOTICES else None
    return None


def set_mark(path: Path, mark: SyntheticMark | None) -> None:
    """Have a PNG carry this mark: one that lies in the draft of an earlier version has another, or none."""
    png = path.read_bytes()
    if mark and (wanted := marked(png, mark)) != png:
        write_whole(path, wanted, sync=False)


def content_digest(path: Path) -> str:
    """SHA-256 of a picture's file without its mark: equal for equal pixels, whoever wrote them."""
    return hashlib.sha256(unmarked(path.read_bytes())).hexdigest()


def marked_png(image: NDArray[np.uint8], facts: Mapping[str, Any], source_type: str = MADE) -> bytes:
    """(H, W) uint8 as a PNG with facts, as a picture that goes out alone: with its version and hash."""
    png = plain_png(image)
    said = {**facts, "software": SOFTWARE, CONTENT: hashlib.sha256(png).hexdigest()}
    return marked(png, SyntheticMark(source_type, said))


def plain_png(image: NDArray[Any]) -> bytes:
    """(H, W) uint8 or uint16 as a PNG that says nothing, with no metadata chunks."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()


def _chunk(keyword: str, text: str) -> bytes:
    """An iTXt chunk, not compressed, of no language.  [PNG specification, sec. 11.3.3.4]"""
    body = b"iTXt" + keyword.encode("latin-1") + bytes(5) + text.encode()
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a PNG, which ends before `end`; keyword and text of iTXt that is not compressed."""

    kind: bytes
    start: int
    end: int
    keyword: str = ""
    text: str = ""


def _chunks(png: bytes) -> Iterator[Chunk]:
    place = len(SIGNATURE)
    while png.startswith(SIGNATURE) and place + 12 <= len(png):
        kind, (length,) = png[place + 4 : place + 8], struct.unpack_from(">I", png, place)
        end, body = place + 12 + length, png[place + 8 : place + 8 + length] if kind == b"iTXt" else b""
        keyword, _, rest = body.partition(b"\0")
        if rest.startswith(bytes(4)):
            yield Chunk(kind, place, end, keyword.decode("latin-1"), rest[4:].decode("utf-8", "replace"))
        else:
            yield Chunk(kind, place, end)
        place = end


def is_sound(png: bytes) -> bool:
    """Whether a PNG's chunks follow each other up to its end, each with its own checksum."""
    place, sound = len(SIGNATURE), png.startswith(SIGNATURE)
    for one in _chunks(png):
        crc = png[one.end - 4 : one.end]
        sound = sound and one.end <= len(png) and zlib.crc32(png[one.start + 4 : one.end - 4]) == int.from_bytes(crc)
        place = one.end
    return sound and place == len(png)
