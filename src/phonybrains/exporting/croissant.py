"""Croissant metadata beside an export: its files, and the columns of its table (MLCommons, Croissant 1.0)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .datasheet import in_words, licences
from .exported import ExportedSet

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
TYPES = {"number": "sc:Float", "text": "sc:Text"}
ENCODINGS = {".png": "image/png", ".dcm": "application/dicom", ".gz": "application/gzip"}


def croissant(
    exported: ExportedSet, table: str, sha256: str, columns: Mapping[str, str], files: Sequence[str]
) -> dict[str, Any]:
    """The metadata as JSON-LD. table: its name; sha256: its hash; columns: "number" or "text"; files: with pixels."""
    created = str(exported.images.record.get("created", ""))[:10]
    urls = [url for source in exported.sources if (url := source.get("url"))]
    found: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "".join(c if c.isalnum() or c in "-_" else "-" for c in exported.images.folder.resolve().name),
        "description": in_words(exported),
        "license": licences(exported) or ["not given"],
        "url": urls[0] if urls else "urn:uuid:" + exported.identity[:32],
        "version": "1.0.0",
        "citeAs": "; ".join(filter(None, (source.get("attribution") for source in exported.sources))) or "not given",
    }
    found |= {"datePublished": created} if created else {}
    folder = {
        "@type": "cr:FileObject",
        "@id": "folder",
        "name": "folder",
        "contentUrl": ".",
        "encodingFormat": "inode/directory",
        "sha256": exported.identity,
    }
    listed = {
        "@type": "cr:FileObject",
        "@id": table,
        "name": table,
        "contentUrl": table,
        "encodingFormat": "text/csv",
        "sha256": sha256,
    }
    records = {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": "One image each",
        "field": [_field(table, *column) for column in columns.items()],
    }
    sets = [_file_set(suffix) for suffix in sorted({file[file.rindex(".") :] for file in files})]
    return found | {"distribution": [folder, listed, *sets], "recordSet": [records]}


def _file_set(suffix: str) -> dict[str, Any]:
    """All files with a suffix."""
    return {
        "@type": "cr:FileSet",
        "@id": f"files{suffix}",
        "name": f"files{suffix}",
        "containedIn": {"@id": "folder"},
        "encodingFormat": ENCODINGS[suffix],
        "includes": f"**/*{suffix}",
    }


def _field(table: str, name: str, kind: str) -> dict[str, Any]:
    """A column of the table; kind: "number" or "text"."""
    return {
        "@type": "cr:Field",
        "@id": f"images/{name}",
        "name": f"images/{name}",
        "description": f"The column {name} of {table}",
        "dataType": TYPES[kind],
        "source": {"fileObject": {"@id": table}, "extract": {"column": name}},
    }
