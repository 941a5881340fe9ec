"""The gate: was a set of synthetic images searched for repeated training images and patients, and did it pass?

`phonybrains evaluate` writes audit.json, which knows the set it is about by the set's fingerprint. `study design` asks
`require_audit` before it shows a set to anybody. A model whose own images were audited carries the audit on
(`stamp_model`): sets it makes later count as audited by model, which says less.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from pydantic import ConfigDict
from typing_extensions import TypedDict

from .documents import as_kind, read_json
from .errors import ModelError, StudyError
from .files import write_whole
from .held_out import is_edit_of_real
from .imageset import METADATA_NAME, read_metadata
from .model.seal import sealed
from .record import fingerprint, read_record, write_record
from .wording import count_of

AUDIT_NAME, VERSION = "audit.json", 2
"""The version is that of the rule, too: what an earlier one called passed says nothing of patients."""
EDITS = "edits of real images"
Word = Literal["audited", "audited by model", "no patients", "unaudited"]
HOW = (
    "Run 'phonybrains evaluate {set} --against CORPUS --out evaluation/' with the corpus its model was trained on "
    "and give --evaluation evaluation/, or say --accept-unaudited, which the protocol then tells."
)


class Audit(TypedDict, total=False):
    """What audit.json, or the audit in the record of a model, holds."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    version: int
    verdict: str
    reasons: list[str] | None
    n: int
    exceedances: int
    date: str
    samples: str
    model: str


@dataclass(frozen=True)
class AuditStatus:
    """What is known of a set: the word, the verdict (passed, look, undecided, failed; "" if none), and a sentence.

    no patients: nothing in the chain of records but phantoms, so that there is nobody to copy. `audit`: what audit.json
    or the model says.
    """

    word: Word
    verdict: str
    sentence: str
    audit: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        return self.word == "no patients" or self.verdict == "passed"

    @property
    def opens(self) -> bool:
        """Whether the gate opens: an audit that asks for a look opens it too, with a warning."""
        return self.passed or self.verdict == "look"

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON, for protocols and records."""
        return asdict(self)


def write_audit(folder: Path, samples: Path, corpus: Path, facts: Mapping[str, Any], evaluation: str) -> Path:
    """Write audit.json into an evaluation's folder, from the facts that the memorisation part found.

    The verdict covers the whole set or is "undecided". evaluation: the identity of the evaluation's record.
    """
    record, by_modality = read_record(samples), dict(facts.get("audit") or {})
    rows, n = len(read_metadata(samples / METADATA_NAME)), sum(int(one["n"]) for one in by_modality.values())
    verdict, signs = str(facts.get("status", "undecided")), list(facts.get("signs") or [])
    reasons = [str(sign["text"]) for sign in signs if sign["word"] == verdict != "passed"]
    if verdict in ("passed", "look") and n < rows:
        verdict, reasons = "undecided", [f"searched: only {n} of {count_of(rows, 'image')}"]
    content = {
        "version": VERSION,
        "verdict": verdict,
        "reasons": reasons,
        "sentence": facts.get("sentence", ""),
        "n": n,
        "exceedances": sum(int(one["exceedances"]) for one in by_modality.values()),
        "threshold": {modality: one["threshold"] for modality, one in by_modality.items()},
        "p": {modality: one["p"] for modality, one in by_modality.items()},
        "date": datetime.now(UTC).date().isoformat(),
        "samples": fingerprint(samples),
        "corpus": fingerprint(corpus),
        "evaluation": evaluation,
        "model": _maker(record).get("sha256", ""),
        "signs": signs,
    }
    path = folder / AUDIT_NAME
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def read_audit(path: str | Path) -> dict[str, Any]:
    """The content of an audit.json, or of that in a folder. Raises StudyError if it is none."""
    path = Path(path)
    path = path / AUDIT_NAME if path.is_dir() else path
    if not path.exists():
        raise StudyError(
            f"{path.parent} has no {AUDIT_NAME}: it is no evaluation with the part memorisation. Run "
            "'phonybrains evaluate' without --only, or with memorisation in it."
        )
    content = dict(read_json(path, Audit, "Evaluate the set again.", StudyError))
    if content.get("version") != VERSION or "samples" not in content:
        raise StudyError(f"{path}: not an audit of version {VERSION}, which this phonybrains reads. Evaluate again.")
    return content


def audit_status(samples: Path, evaluations: Sequence[str | Path] = ()) -> AuditStatus:
    """What is known of a set, from the evaluations given, one beside or inside its folder, or its chain of records.

    Raises StudyError for an evaluation given that holds no readable audit.
    """
    own, record = fingerprint(samples), read_record(samples)
    for audit in (*map(read_audit, evaluations), *_nearby(samples)):
        if audit["samples"] == own:
            verdict = str(audit.get("verdict", "undecided"))
            text = f"audited on {audit.get('date')}: {verdict}, {audit.get('exceedances')} of {audit.get('n')} flagged"
            return AuditStatus("audited", verdict, text + _because(audit), audit)
    if shows_nobody(record):
        return AuditStatus("no patients", "", "made of phantoms alone: there is no patient to copy", {})
    maker = _maker(record)
    if audit := _stamped((maker.get("record") or {}).get("results", {}).get("audit")):
        verdict = str(audit.get("verdict", "undecided"))
        earlier = audit.get("version") != VERSION and verdict != "failed"
        verdict = "undecided, under an earlier rule" if earlier else verdict
        text = (
            f"audited by model: {verdict}, {audit.get('exceedances')} of {audit.get('n')} images of "
            f"{maker.get('name')} flagged on {audit.get('date')}; not these images themselves"
            f"{_because(audit)}"
        )
        verdict = "undecided" if earlier else verdict
        return AuditStatus("audited by model", verdict, text, audit)
    said = "unaudited: nobody has looked whether it holds copies of training images"
    said += f"; {EDITS}, which show their patients by intent" if _edits_real(samples) else ""
    return AuditStatus("unaudited", "", said, {})


def require_audit(
    samples: str | Path, *, evaluations: Sequence[str | Path] = (), accept_unaudited: bool = False
) -> AuditStatus:
    """What is known of a set, if that is enough to show it to people.

    Raises StudyError, saying what to run, for a set without a passed audit, unless that is accepted.
    """
    samples = Path(samples)
    status = audit_status(samples, evaluations)
    if status.opens or accept_unaudited:
        return status
    if status.verdict:
        what = "failed its audit" if status.verdict == "failed" else "was audited without a clear outcome"
        raise StudyError(
            f"{samples} {what} ({status.sentence}). Look at the pairs in the report and leave out what "
            "repeats a patient, or say --accept-unaudited, which the protocol then tells."
        )
    if _edits_real(samples):
        raise StudyError(
            f"{samples} holds {EDITS}: they show their patients, and no audit can call them new; it can tell whether "
            f"they repeat others. If these patients may be shown: {HOW.format(set=quote(str(samples)))}"
        )
    how = HOW.format(set=quote(str(samples)))
    raise StudyError(f"{samples} has not been searched for copies of training images. {how}")


def refuse_failed(evaluation: Path) -> None:
    """Raise StudyError, for a command to end with, where the audit in an evaluation's folder failed."""
    path = evaluation / AUDIT_NAME
    if path.is_file() and (found := read_audit(path)).get("verdict") == "failed":
        raise StudyError(f"the audit failed{_because(found)}. Look at the pairs in {evaluation / 'report.html'}.")


def stamp_model(model_folder: str | Path, audit: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Write the audit of a set that a model made into the model's model.json and record.json; later sets carry it on.

    audit: an evaluation's folder, its audit.json, or the content. Raises ModelError if the audited images are not of
    this model as it is; a failed audit is written too, and then speaks against the model's sets.
    """
    folder = Path(model_folder)
    found = dict(audit) if isinstance(audit, Mapping) else read_audit(Path(audit))
    description = folder / "model.json"
    if not description.is_file():
        raise ModelError(f"{folder} is not a model folder: it has no model.json.")
    content, record = read_json(description, dict[str, Any], "Copy the model again.", ModelError), read_record(folder)
    known = {fingerprint(folder), *content.get("formerly", ()), _stamped(content.get("audit")).get("model", "")} - {""}
    if found.get("model") not in known:
        raise ModelError(
            f"{folder}: the audited images were not made by this model as it is. Generate a set with it, "
            "evaluate that, and stamp the model with its audit."
        )
    names = ("version", "verdict", "reasons", "n", "exceedances", "threshold", "p", "date", "evaluation", "model")
    stamp = {name: found[name] for name in names if name in found}
    content["audit"] = stamp
    text = json.dumps(sealed(content, description.name), indent=1)
    write_whole(description, f"{text}\n".encode())
    record["results"] = {**record.get("results", {}), "audit": stamp}
    write_record(folder, record)
    return stamp


def _stamped(audit: object) -> dict[str, Any]:
    """The audit in the record of a model; empty where there is none, or what is no audit."""
    try:
        return dict(as_kind(audit or {}, Audit))
    except ValueError:
        return {}


def _because(audit: Mapping[str, Any]) -> str:
    """Why an audit did not pass, in the words of its gravest signs."""
    reasons = audit.get("reasons") or []
    more = f"; {count_of(len(reasons) - 2, 'more such finding')}" if len(reasons) > 2 else ""
    return "".join(f"; {reason}" for reason in reasons[:2]) + more


def _nearby(samples: Path) -> Iterator[dict[str, Any]]:
    """Audits inside a set's folder, beside it, and in the folders beside it; those that cannot be read left out."""
    parent = samples.resolve().parent
    for path in (samples / AUDIT_NAME, parent / AUDIT_NAME, *sorted(parent.glob(f"*/{AUDIT_NAME}"))):
        try:
            yield read_audit(path)
        except StudyError:
            continue


def _edits_real(samples: Path) -> bool:
    return any(map(is_edit_of_real, read_metadata(samples / METADATA_NAME)))


def _maker(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The model that generated a set, as its record describes it; empty where no model did, or it edited."""
    inputs = record.get("inputs") or [{}] if record.get("stage") == "generate" else [{}]
    return inputs[0]


def shows_nobody(record: Mapping[str, Any]) -> bool:
    """Whether phantoms, and models of phantoms, are all that a chain of records begins with."""
    if record.get("stage") == "phantom":
        return True
    inputs = record.get("inputs") or []
    return bool(inputs) and all(shows_nobody(one.get("record") or {}) for one in inputs)
