"""The frozen protocol: what is hashed before the first answer, as JSON and as a page for an ethics board."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ...record import sha256_file, versions
from ...release_gate import AuditStatus
from ..config import StudyConfig
from ..study import CASES_NAME, PROTOCOL_NAME, PROTOCOL_VERSION, protocol_hash
from .encode import EncodedCase
from .order import number_of_repeats
from .plan import limits_of, plan_sentences

PACKAGE = Path(__file__).parents[2]
PAGE_NAME = "protocol.html"
NEAREST = 8
"""So many encoding features, those that came nearest to telling phony from real, stand on the page."""


def freeze(
    folder: Path,
    config: StudyConfig,
    cases: Sequence[EncodedCase],
    origins: Sequence[Mapping[str, Any]],
    leakage: Mapping[str, Any],
    warnings: Sequence[str],
    audits: Mapping[str, AuditStatus],
) -> dict[str, Any]:
    """The content of protocol.json of a study whose cases.csv lies in `folder`, with its hash."""
    height, width = cases[0].image.shape
    counts = count_cases(cases, config)
    content: dict[str, Any] = {
        "version": PROTOCOL_VERSION,
        "name": config.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config.model_dump(mode="json"),
        "cases_sha256": sha256_file(folder / CASES_NAME),
        "counts": counts,
        "height": height,
        "width": width,
        "versions": versions(),
        "code": code_hash(),
        "inputs": [{key: origin[key] for key in ("name", "sha256")} for origin in origins],
        "plan": plan_sentences(config, counts, counts["repeat"]),
        "limits": limits_of(config, counts),
        "audit": {name: status.to_json() for name, status in audits.items()},
        "leakage": leakage,
        "warnings": list(warnings),
    }
    return content | {"hash": protocol_hash(content)}


def count_cases(cases: Sequence[EncodedCase], config: StudyConfig) -> dict[str, Any]:
    """Cases of each role, repeats, and test cases of each arm and modality."""
    roles = Counter(encoded.case.role for encoded in cases)
    cells = Counter((e.case.arm, e.case.modality) for e in cases if e.case.role == "test")
    arms: dict[str, dict[str, int]] = {}
    for (arm, modality), number in sorted(cells.items()):
        arms.setdefault(arm, {})[modality] = number
    counts: dict[str, Any] = {role: roles.get(role, 0) for role in ("test", "training", "check")}
    fillers = Counter((e.case.modality, e.case.truth) for e in cases if e.case.role == "filler")
    counts["filler"] = sum(min(fillers[m, "phony"], fillers[m, "real"]) for m in {m for m, _ in fillers})
    return counts | {"repeat": number_of_repeats(config, counts["test"]), "arms": arms}


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
    (folder / PAGE_NAME).write_text(protocol_page(protocol), encoding="utf-8")


def protocol_page(protocol: Mapping[str, Any]) -> str:
    """The protocol for people: one HTML page that needs nothing else and prints well. It does not hold the seed."""
    loader, strict = PackageLoader("phonybrains.readerstudy"), StrictUndefined
    environment = Environment(loader=loader, autoescape=True, undefined=strict, trim_blocks=True, lstrip_blocks=True)
    counts = protocol["counts"]
    modalities = sorted({modality for arm in counts["arms"].values() for modality in arm})
    total = counts["training"] + counts["test"] + counts["repeat"] + counts["check"] + counts.get("filler", 0)
    real = sum(counts["arms"].get("real", {}).values())
    return environment.get_template("protocol.html").render(
        protocol=protocol,
        config=protocol["config"],
        counts=counts,
        modalities=modalities,
        total=total,
        real=real,
        phony=counts["test"] - real,
        leakage=protocol["leakage"],
        nearest=sorted(protocol["leakage"]["encoding"], key=lambda row: row["p"])[:NEAREST],
    )
