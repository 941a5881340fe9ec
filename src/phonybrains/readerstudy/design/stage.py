"""`phonybrains study design`: image sets in, a frozen study folder out."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from itertools import chain, count
from pathlib import Path
from typing import Any

from ...errors import ConfigError, StudyError
from ...imageset import ImageSet
from ...record import Record, as_input, is_published, keep_private, publish, watermark_of
from ...release_gate import AuditStatus, require_audit
from ...wording import count_of
from ..config import StudyConfig
from ..study import CASES_NAME, Case, write_cases
from .choose import NO_ARM, Arm, Choice, choose_cases
from .encode import EncodedCase, Encoding, StoredImage, encode, image_bytes, shuffle_tiles
from .history import parse_history
from .ladder import encode_unleaked
from .order import keyed_digest, keyed_generator, number_of_repeats
from .protocol import freeze, write_protocol

MODIFIED = 1_577_836_800  # 2020-01-01 UTC, of every image file


def design_study(
    synthetic: Sequence[str | Path],
    real: str | Path | None,
    out: str | Path,
    config: StudyConfig,
    show: bool = True,
    *,
    evaluations: Sequence[str | Path] = (),
) -> Path:
    """Choose the cases, send them through one encoder, test them for leaks, and freeze the protocol.

    Reads   synthetic (image sets, one an arm), real (an image set), evaluations (of the synthetic sets)
    Writes  out/{images/*.i16, cases.csv, protocol.json, protocol.html, record.json}
    Raises  ConfigError for a plan that contradicts itself; StudyError naming the set that does not fit or passed no
            audit for copies, or the feature that tells real from phony; OutputError if `out` is something else.
            Nothing is written then.

    The same sets and configuration with the same seed give the same images, cases and hash.
    """
    out = Path(out)
    seed = secrets.randbits(63) if config.seed is None else config.seed
    config = config.model_copy(update={"seed": seed})
    _check_config(config)
    arms, controls = open_sets(synthetic, real)
    audits = {
        arm.name: require_audit(arm.images.folder, evaluations=evaluations, accept_unaudited=config.accept_unaudited)
        for arm in arms
    }
    origins = [as_input(arm.images.folder) for arm in (*arms, *controls)]
    record = Record("design", config.model_dump(mode="json"), seed, origins, list(_sources(origins)))
    if is_published(out, record):
        return out
    choices, warnings = choose_cases(arms, controls[0] if controls else None, config, seed)
    number_of_repeats(config, sum(choice.role == "test" for choice in choices))
    config, cases, more, leakage = encode_unleaked(lambda steps: encode_cases(choices, seed, steps), config)
    with publish(out, record) as draft:
        _write_cases(draft, cases)
        warnings = [*_audit_warnings(audits), *warnings, *more, *leakage["warnings"]]
        protocol = freeze(draft, config, cases, origins, leakage, warnings, audits)
        write_protocol(draft, protocol)
        record.results.update(
            cases=len(cases), hash=protocol["hash"], warnings=protocol["warnings"], audit=protocol["audit"]
        )
        keep_private(draft)
    if show:
        _show(out, protocol)
    return out


def _check_config(config: StudyConfig) -> None:
    """Refuse steps that are not known, and the blocks of older versions."""
    parse_history(config.same_history or ())
    if config.block is not None:
        raise ConfigError(
            "block: the order no longer comes in blocks, which let the next truth be guessed in 70 of 100 cases. Leave "
            "the key out; fillers take their place."
        )


def _audit_warnings(audits: Mapping[str, AuditStatus]) -> list[str]:
    """A sentence for each set that was not itself searched for copies of training images and found free of them."""
    return [
        f"Set {name}: {status.sentence}."
        for name, status in audits.items()
        if status.word not in ("audited", "no patients") or not status.passed
    ]


def open_sets(synthetic: Sequence[str | Path], real: str | Path | None) -> tuple[list[Arm], list[Arm]]:
    """Open the synthetic sets and the real one, and see that they fit: one size and bit depth, none mixed up, no image
    in both."""
    arms: list[Arm] = []
    for folder in map(Path, synthetic):
        images = ImageSet.open(folder)
        arms.append(Arm(_name_of(images, {*NO_ARM, *(arm.name for arm in arms)}), images))
    if not arms:
        raise ConfigError("a study needs at least one synthetic set. Give --synthetic.")
    controls = [] if real is None else [Arm("real", ImageSet.open(real))]
    for arm in (*arms, *controls):
        _check_truth(arm.images, arm in controls)
        _check_watermark(arm.images)
    for arm in (*arms, *controls):
        _check_shape(arms[0].images, arm.images)
    for arm in arms:
        for other in controls:
            _check_same_files(arm.images, other.images)
    return arms, controls


def _name_of(images: ImageSet, taken: set[str]) -> str:
    """An arm is called as the model that made it, else as its folder; a name taken gets a number."""
    made_by = images.record.get("inputs") if images.record.get("stage") == "generate" else None
    stem = str((made_by or [{}])[0].get("name") or images.folder.resolve().name)
    numbered = (f"{stem} {number}" for number in count(2))
    return next(name for name in chain([stem], numbered) if name not in taken)


def _check_truth(images: ImageSet, real: bool) -> None:
    wrong = [number for number, row in enumerate(images.rows, start=2) if row.synthetic == real]
    if wrong:
        kind, other = ("real", "synthetic") if real else ("synthetic", "real")
        raise StudyError(
            f"{images.folder / 'metadata.csv'}, row {wrong[0]}: a {other} image in the set that was given as {kind} "
            f"({len(wrong)} of {len(images)}). Give it as --{other}, or split the set."
        )


def _check_watermark(images: ImageSet) -> None:
    if key := watermark_of(images.record):
        raise StudyError(
            f"{images.folder} carries an invisible watermark (key {key}), which no encoder takes out: it would tell "
            "phony from real. Generate the images again without --watermark."
        )


def _check_shape(first: ImageSet, images: ImageSet) -> None:
    one, two = ((s.width, s.height, s.bits) for s in (first, images))
    if one != two:
        raise StudyError(
            f"{images.folder} holds {two[0]}×{two[1]} images of {two[2]} bit, {first.folder} {one[0]}×{one[1]} of "
            f"{one[2]} bit: readers would tell them apart. Import both with the same --size and --bits."
        )


def _check_same_files(images: ImageSet, controls: ImageSet) -> None:
    real = {controls.content(i): row.file_name for i, row in enumerate(controls.rows)}
    for number, row in enumerate(images.rows, start=2):
        if (content := images.content(number - 2)) in real:
            raise StudyError(
                f"{images.folder / 'metadata.csv'}, row {number}: {row.file_name} has the pixels of "
                f"{real[content]} of {controls.folder}: it cannot be phony and real. Remove it from one of them."
            )


def encode_cases(choices: Sequence[Choice], seed: int, history: Sequence[str]) -> tuple[list[EncodedCase], list[str]]:
    """All chosen images through one encoder for each modality, in the order of their ids; and warnings."""
    cases, warnings = [], []
    for modality in dict.fromkeys(choice.row.modality for choice in choices):
        own = [choice for choice in choices if choice.row.modality == modality]
        pictures = [StoredImage(choice.row, choice.arm.images.pixels(choice.index)) for choice in own]
        images, encoding, more = encode(pictures, history)
        warnings += more
        for choice, image in zip(own, images, strict=True):
            if choice.role == "check":
                image = shuffle_tiles(image, keyed_generator(seed, f"tiles {choice.row.sha256}"))
            cases.append(EncodedCase(_as_case(choice, image_bytes(image), encoding, seed), image))
    return sorted(cases, key=lambda encoded: encoded.case.case_id), warnings


def _as_case(choice: Choice, content: bytes, encoding: Encoding, seed: int) -> Case:
    row = choice.row
    return Case(
        case_id=keyed_digest(seed, f"case {choice.role} {choice.arm.name} {row.file_name}").hex()[:16],
        sha256=sha256(content).hexdigest(),
        role=choice.role,
        truth=choice.truth,
        arm="check" if choice.role == "check" else choice.arm.name,
        modality=row.modality,
        **asdict(encoding),
        source=row.file_name,
        patient_id=row.patient_id,
        attributes=row.attributes,
    )


def _write_cases(draft: Path, cases: Sequence[EncodedCase]) -> None:
    (draft / "images").mkdir()
    for encoded in cases:
        path = draft / encoded.case.file_name
        path.write_bytes(image_bytes(encoded.image))
        os.utime(path, (MODIFIED, MODIFIED))
    write_cases(draft / CASES_NAME, [encoded.case for encoded in cases])


def _sources(origins: Iterable[dict[str, Any]]) -> Iterable[dict[str, str]]:
    """The sources of all sets, each once."""
    every = [source for origin in origins for source in origin["record"].get("sources") or ()]
    return [source for i, source in enumerate(every) if source not in every[:i]]


def _show(out: Path, protocol: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for warning in protocol["warnings"]:
        console.print(f"[yellow]note:[/] {warning}")
    console.print(
        f"{out}: {count_of(protocol['counts']['test'], 'test case')}, frozen {datetime.now(UTC):%Y-%m-%d}, "
        f"hash {protocol['hash'][:12]}"
    )
