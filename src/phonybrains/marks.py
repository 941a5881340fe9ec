"""PNG files that say what they are: made by a model, or edited by one."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .record import versions

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


def marked_png(image: NDArray[np.uint8], facts: Mapping[str, Any], *, edited: bool) -> bytes:
    """(H, W) uint8 as a PNG with facts as text: XMP for programs that know it, JSON for all others."""
    notice, source_type = (EDITED_NOTICE, EDITED_TYPE) if edited else (NOTICE, SOURCE_TYPE)
    marked = {"synthetic": True, "digitalSourceType": source_type, **facts, "software": SOFTWARE}
    named = {"source_type": SOURCE_TYPES + source_type, "software": escape(SOFTWARE), "notice": escape(notice)}
    info, buffer = PngInfo(), io.BytesIO()
    info.add_itxt("Description", notice)
    info.add_itxt("Software", SOFTWARE)
    info.add_itxt("phonybrains", json.dumps(marked, ensure_ascii=False))
    info.add_itxt("XML:com.adobe.xmp", XMP.format(**named))
    Image.fromarray(image).save(buffer, format="PNG", compress_level=4, pnginfo=info)
    return buffer.getvalue()


def plain_png(image: NDArray[np.uint8]) -> bytes:
    """(H, W) uint8 as a PNG that says nothing: a picture that was given."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()
