"""PNG files that say what they are: synthetic, made by which model, with which seed, index and conditions."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo

from ..record import versions
from .batch import Image, Order

SOFTWARE = f"phonybrains {versions()['phonybrains']}"
SOURCE_TYPE, EDITED_TYPE = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
NOTICE = (
    "Synthetic image, made by a diffusion model: it shows no patient. For research and teaching, not for diagnosis."
)
EDITED_NOTICE = (
    "Edited image: a diffusion model drew detail that was not measured. For research and teaching, not for diagnosis."
)
XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 Iptc4xmpExt:DigitalSourceType="{source_type}" xmp:CreatorTool="{software}">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{notice}</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


@dataclass(frozen=True)
class Origin:
    """What made the images: the model's name and the SHA-256 of its model.json."""

    generator: str
    model_sha256: str

    def facts(self, order: Order) -> dict[str, Any]:
        """All that determines an image, and that it is synthetic."""
        return {
            "synthetic": True,
            "digitalSourceType": EDITED_TYPE if order.edited else SOURCE_TYPE,
            "generator": self.generator,
            "model_sha256": self.model_sha256,
            "seed": order.seed,
            "index": order.index,
            "conditions": dict(order.wanted),
            **order.settings,
            "software": SOFTWARE,
        }

    def png(self, image: Image, order: Order) -> bytes:
        """(H, W) uint8 as a PNG with these facts as text: XMP for programs that know it, JSON for all others."""
        facts, notice = self.facts(order), EDITED_NOTICE if order.edited else NOTICE
        source_type = SOURCE_TYPES + facts["digitalSourceType"]
        named = {"source_type": source_type, "software": escape(SOFTWARE), "notice": escape(notice)}
        info, buffer = PngInfo(), io.BytesIO()
        info.add_itxt("Description", notice)
        info.add_itxt("Software", SOFTWARE)
        info.add_itxt("phonybrains", json.dumps(facts, ensure_ascii=False))
        info.add_itxt("XML:com.adobe.xmp", XMP.format(**named))
        Picture.fromarray(image).save(buffer, format="PNG", compress_level=4, pnginfo=info)
        return buffer.getvalue()


def plain_png(image: Image) -> bytes:
    """(H, W) uint8 as a PNG that says nothing: a picture that was given."""
    buffer = io.BytesIO()
    Picture.fromarray(image).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()
