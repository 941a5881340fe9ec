"""The import stage: from source files of any kind to one image set, with a report of what was left out and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
from rich.progress import Progress

from ..errors import ConfigError, OutputError, SourceError
from ..imageset import Row, check_whole, write_metadata
from ..progress import progress_bars
from ..record import Record, is_published, publish, read_record
from .archives import workspace
from .config import ImportConfig
from .duplicates import NearDuplicates, find_near_duplicates
from .intake import Image, Intake, report_name, take_in
from .parallel import threads
from .pseudonym import load_key, pseudonym
from .report import ImportReport, count_by, show, write_for_owner, write_report
from .scan import Scan, scan_all
from .slices import Notice, shown
from .split import Member, Splits, split
from .values import count_values, of_few, of_values

DEFAULTS = ImportConfig()
IDENTIFYING = re.compile(
    r"name|birth|dob|mrn|accession|address|phone|mail|ssn|subject|participant|patient|pid|(^|_)(file|path|folder)(name|s)?($|_)",
    re.IGNORECASE,
)


def import_images(
    sources: Sequence[str | Path],
    out: str | Path,
    config: ImportConfig = DEFAULTS,
    *,
    strict: bool = False,
    progress: bool = True,
) -> ImportReport:
    """Write one image set from folders, archives or single files of any format in docs/import.md.

    Reads   sources, of any mixture; a folder can have a metadata.csv, or be an image set itself
    Writes  out (an image set); beside it, for the owner alone, <out>.import.csv: file, kind, reason of all that was
            left out or noticed, and <out>.sources.csv: which folder stands behind the number and digest of a source
    Raises  SourceError if a source does not exist, a metadata.csv names none of the files beside it, or no image can be
            used: then only the report is left; ConfigError if the settings name a source that is not there;
            OutputError if `out` is something else, lies inside a source, or the disk is full: nothing is left then.
            A file that cannot be used is only reported.

    The same command again, when it has finished, does nothing. `strict` makes `ImportReport.failed` true if a file was
    left out; `progress` shows a bar and the summary.
    """
    paths, out = [Path(source) for source in sources], Path(out)
    _check_places(paths, out)
    with progress_bars(progress, vanish=True) as bar, workspace(out) as place:
        task = bar.add_task("looking at the files", total=None)
        scans = scan_all(paths, place, lambda name: bar.update(task, description=f"unpacking {name}"))
        bar.remove_task(task)
        record = _record(scans, config)
        file = _beside(out, "import")
        if is_published(out, record, check_whole):
            report = ImportReport(out, file, read_record(out)["results"], finished_before=True, strict=strict)
        else:
            notices = _import(scans, out, record, config, bar, _map(paths, scans))
            report = ImportReport(out, file, record.results, tuple(notices), strict=strict)
    if progress:
        show(report)
    return report


def _import(
    scans: Sequence[Scan],
    out: Path,
    record: Record,
    config: ImportConfig,
    bar: Progress,
    places: Sequence[Sequence[str]],
) -> list[Notice]:
    """Import into a draft and publish it, after the report and `places`, the map of its sources.

    A report stays also where no image can be used.
    """
    intake, written = Intake(), False
    try:
        with publish(out, record) as draft, threads() as pool:
            (draft / "images").mkdir()
            take_in(scans, draft, config, pool, bar, intake)
            splits = split([_member(image) for image in intake.images], config)
            near = _near_duplicates(intake, splits, bar)
            write_metadata(draft, _rows(scans, intake.images, splits, config))
            record.results.update(_results(intake, splits, near))
            notices = intake.notices + _findings(intake, splits, near, record) + _on_sources(scans, record, config)
            written = True
            write_report(_beside(out, "import"), notices + of_values(record.results["values"]) + _imported(intake))
            write_for_owner(_beside(out, "sources"), places)
    except SourceError as error:
        write_report(_beside(out, "import"), intake.notices)
        raise SourceError(f"{error} All reasons: {_beside(out, 'import')}") from None
    except BaseException:
        for what in ("import", "sources") if written else ():
            _beside(out, what).unlink(missing_ok=True)
        raise
    return notices


def _beside(out: Path, what: str) -> Path:
    out = out.resolve() if out.name in ("", "..") else out
    return out.with_name(f"{out.name}.{what}.csv")


def _map(paths: Sequence[Path], scans: Sequence[Scan]) -> list[tuple[str, str, str]]:
    """Which folder or file stands behind which label: a table for the owner, beside the set."""
    rows = zip(labels(scans), scans, paths, strict=True)
    return [("source", "name", "path"), *((label, item.root.name, str(path.resolve())) for label, item, path in rows)]


def labels(scans: Sequence[Scan]) -> list[str]:
    """What a set calls its sources: number, kinds of file and digest, for names of folders can be those of people."""
    return [
        f"{number} {'+'.join(kind for kind, files in item.files.items() if files) or 'empty'} {item.sha256[:12]}"
        for number, item in enumerate(scans, start=1)
    ]


def _check_places(sources: Sequence[Path], out: Path) -> None:
    for source in sources:
        if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
            raise OutputError(
                f"{out} lies inside the source {source}: a later import would read it. Choose another --out."
            )


def _record(scans: Sequence[Scan], config: ImportConfig) -> Record:
    """The record of an import, without names or paths; the configuration adds licences, and takes none away."""
    given = _given(scans, config)
    inputs: list[dict[str, Any]] = []
    sources: list[dict[str, str]] = []
    for label, item in zip(labels(scans), scans, strict=True):
        inputs.append({"name": label, "sha256": item.sha256, "record": item.record})
        recorded: list[dict[str, str]] = list(item.record.get("sources") or ())
        if label in given or not recorded:
            recorded.append({"name": label, **given.get(label, {})})
        sources += [entry for entry in recorded if entry not in sources]
    settings = config.settings() | {"sources": given}
    return Record("import", settings, config.seed, inputs, sources)


def _given(scans: Sequence[Scan], config: ImportConfig) -> dict[str, dict[str, str]]:
    """What the configuration says of sources, by their labels.

    Raises ConfigError where it names a source that is not there, while one that is there has no licence.
    """
    by_name = {normalize("NFC", name): source.model_dump() for name, source in config.sources.items()}
    names = [normalize("NFC", shown(item.root.name)) for item in scans]
    bare = [
        name for name, item in zip(names, scans, strict=True) if not (name in by_name or item.record.get("sources"))
    ]
    if bare and (strange := _strange(scans, config)):
        raise ConfigError(
            f"sources: no source is called {', '.join(strange)}, and nothing is said of "
            f"{', '.join(dict.fromkeys(bare))}. Call it so."
        )
    return {label: by_name[name] for label, name in zip(labels(scans), names, strict=True) if name in by_name}


def _strange(scans: Sequence[Scan], config: ImportConfig) -> list[str]:
    """Names of sources in the configuration that no source has."""
    return sorted({normalize("NFC", n) for n in config.sources} - {normalize("NFC", shown(s.root.name)) for s in scans})


def _member(image: Image) -> Member:
    found = image.slice
    return Member(
        found.modality,
        found.patient,
        found.series,
        found.order,
        image.volume,
        found.split,
        image.inherited,
        found.synthetic,
        found.patient_is_guess,
    )


def _rows(scans: Sequence[Scan], images: Sequence[Image], splits: Splits, config: ImportConfig) -> list[Row]:
    """Rows with pseudonyms in place of patient ids; the key is read, or made, only if there is a patient."""
    key = load_key(config.key_file) if any(image.slice.patient for image in images) else b""
    made = [item.record.get("stage") == "imagine" for item in scans]  # generated, so its names tell of nobody
    called = ["" if imagined else label for label, imagined in zip(labels(scans), made, strict=True)]
    return [
        Row(
            image.file_name,
            image.sha256,
            image.slice.modality,
            pseudonym(image.slice.patient, key),
            name,
            image.slice.synthetic,
            called[image.source] or image.slice.file,
            image.slope,
            image.intercept,
            image.slice.unit,
            image.slice.attributes,
        )
        for image, name in zip(images, splits.names, strict=True)
    ]


def _near_duplicates(intake: Intake, splits: Splits, bar: Progress) -> NearDuplicates:
    found = [image.slice for image in intake.images]
    patients, modalities = [item.patient for item in found], [item.modality for item in found]
    task = bar.add_task("near duplicates", total=len(found))
    return find_near_duplicates(
        np.stack(intake.thumbnails), splits.names, patients, modalities, advance=lambda count: bar.advance(task, count)
    )


def _findings(intake: Intake, splits: Splits, near: NearDuplicates, record: Record) -> list[Notice]:
    """Notices on the set as a whole."""
    notices = [Notice("", "warning", text) for text in splits.warnings]
    notices += of_few(record.results["values"])
    columns = dict.fromkeys(name for image in intake.images for name in image.slice.attributes)
    notices += [
        Notice("", "warning", f"column '{name}' may identify patients: leave it out with the option attributes")
        for name in columns
        if IDENTIFYING.search(name)
    ]
    if near.across_splits or near.across_patients:
        notices.append(
            Notice(
                "",
                "warning",
                f"{near.across_splits} pairs of near duplicates lie in two splits, "
                f"{near.across_patients} belong to two patients",
            )
        )
    for pair in near.worst:
        first, second = intake.images[pair.first], intake.images[pair.second]
        where = f"{splits.names[pair.first] or 'no split'} and {splits.names[pair.second] or 'no split'}"
        reason = f"like {report_name(second.slice)} ({where}; correlation {pair.correlation:.4f})"
        notices.append(Notice(report_name(first.slice), "near duplicate", reason))
    return notices


def _on_sources(scans: Sequence[Scan], record: Record, config: ImportConfig) -> list[Notice]:
    """A note for each source without licence, by its name on the disk, and for each name that no source has."""
    names = dict(zip(labels(scans), (shown(item.root.name) for item in scans), strict=True))
    bare = [source.get("name", "") for source in record.sources if not source.get("licence")]
    notices = [
        Notice(names.get(name, name), "note", "no licence given: name it in the option sources") for name in bare
    ]
    return notices + [Notice(name, "note", "in the option sources, but no source") for name in _strange(scans, config)]


def _imported(intake: Intake) -> list[Notice]:
    """Which file became which image; for the report file only, since names of files may identify patients."""
    return [Notice(report_name(image.slice), "imported", image.file_name) for image in intake.images]


def _results(intake: Intake, splits: Splits, near: NearDuplicates) -> dict[str, Any]:
    """Counts for the record: no name of a file or a patient."""
    kinds = Counter(notice.kind for notice in intake.notices)
    found = [image.slice for image in intake.images]
    patients = {m: len({s.patient for s in found if s.modality == m} - {""}) for m in splits.methods}
    return {
        "total": len(found),
        "images": count_by([(s.modality, name) for s, name in zip(found, splits.names, strict=True)]),
        "patients": patients,
        "values": count_values([image.slice for image in intake.images], splits.names),
        "split": dict(splits.methods),
        "skipped": kinds["skipped"],
        "duplicates": kinds["duplicate"],
        "near_duplicates": {
            "pairs": near.pairs,
            "across_splits": near.across_splits,
            "across_patients": near.across_patients,
        },
    }
