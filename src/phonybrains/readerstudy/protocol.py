"""The frozen protocol: what is hashed before the first answer, as JSON and as a page for an ethics board."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..record import sha256_file, versions
from .config import StudyConfig
from .encode import EncodedCase
from .study import PROTOCOL_NAME, PROTOCOL_VERSION, protocol_hash, write_cases

PACKAGE = Path(__file__).parent.parent


def freeze(
    config: StudyConfig, cases: Sequence[EncodedCase], origins: Sequence[Mapping[str, Any]],
    leakage: Mapping[str, Any], warnings: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """The content of protocol.json, with its hash."""
    height, width = cases[0].image.shape
    content: dict[str, Any] = {
        "version": PROTOCOL_VERSION,
        "name": config.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config.model_dump(mode="json"),
        "cases_sha256": _hash_of_cases(cases),
        "counts": count_cases(cases),
        "height": height,
        "width": width,
        "versions": versions(),
        "code": code_hash(),
        "inputs": [{"name": origin["name"], "sha256": origin["sha256"]} for origin in origins],
        "plan": [],
        "leakage": leakage,
        "warnings": list(warnings),
    }
    return content | {"hash": protocol_hash(content)}


def count_cases(cases: Sequence[EncodedCase]) -> dict[str, Any]:
    """Cases of each role, and test cases of each arm and modality."""
    roles = Counter(encoded.case.role for encoded in cases)
    cells = Counter((e.case.arm, e.case.modality) for e in cases if e.case.role == "test")
    by_arm: dict[str, dict[str, int]] = {}
    for (arm, modality), number in sorted(cells.items()):
        by_arm.setdefault(arm, {})[modality] = number
    return {role: roles.get(role, 0) for role in ("test", "training", "check")} | {"arms": by_arm}


def code_hash() -> str:
    """SHA-256 over the source of the reader study and its statistics, templates and pages with it."""
    digest = hashlib.sha256()
    for name in ("readerstudy", "statistics"):
        for path in sorted((PACKAGE / name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(PACKAGE).as_posix()} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


def write_protocol(folder: Path, protocol: Mapping[str, Any]) -> None:
    """Write protocol.json and protocol.html."""
    text = json.dumps(protocol, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / PROTOCOL_NAME).write_text(text + "\n", encoding="utf-8")


def _hash_of_cases(cases: Sequence[EncodedCase]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cases.csv"
        write_cases(path, [encoded.case for encoded in cases])
        return sha256_file(path)
