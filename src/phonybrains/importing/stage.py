"""The import stage: from source files of any kind to one image set, with a report of what was left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unicodedata import normalize

import numpy as np
from rich.progress import Progress

from ..errors import ConfigError, OutputError, SourceError
from ..files import write_whole
from ..imageset import Row, check_whole, write_metadata
from ..pacs.address import is_address, parse_address
from ..progress import progress_bars
from ..record import Record, is_published, publish, read_record
from .archives import workspace
from .config import ImportConfig
from .duplicates import NearDuplicates, find_near_duplicates
from .intake import WIDTH, Intake, SizedSlice, take_in
from .pairing import with_masks
from .parallel import threads
from .pseudonym import load_key, pseudonym
from .remarks import on_masks, on_sources, on_text, on_the_set, strange
from .report import ImportReport, count_by, count_values, of_values, show, write_for_owner, write_report
from .scan import Scan, scan_all
from .slices import Notice, Slice
from .split import Splits, split

DEFAULTS = ImportConfig()
ALIKE = 0.1


def import_images(
    sources: Sequence[str | Path],
    out: str | Path,
    config: ImportConfig = DEFAULTS,
    *,
    strict: bool = False,
    progress: bool = True,
) -> ImportReport:
    """Write one image set from folders, archives or single files of any format in docs/import.md, or from a PACS.

    Reads   sources, of any mixture; a folder can have a metadata.csv, or be an image set itself; addresses of a PACS
            (docs/pacs.md), from which files are fetched first, into <out>.originals
    Writes  out (an image set); beside it, for the owner alone, <out>.import.csv: file, kind, reason of all that was
            left out or noticed, and <out>.sources.csv: which folder stands behind the number and digest of a source
    Raises  SourceError if a source does not exist, a metadata.csv names none of the files beside it, or no image can be
            used: then only the report is left; ConfigError if the settings name a source that is not there;
            OutputError if `out` is something else, lies inside a source, or the disk is full: nothing is left then.
            A file that cannot be used is only reported.

    The same command again, when it has finished, does nothing. `strict` makes `ImportReport.failed` true if a file was
    left out; `progress` shows a bar and the summary.
    """
    out = Path(out)
    paths = _on_disk(sources, out, config, progress)
    if inside := [source for source in paths if source.is_dir() and out.resolve().is_relative_to(source.resolve())]:
        what = f"lies inside the source {inside[0]}: a later import would read it. Choose another --out."
        raise OutputError(f"{out} {what}")
    with progress_bars(progress, vanish=True) as bar, workspace(out) as place:
        task = bar.add_task("looking at the files", total=None)
        scans = scan_all(paths, place, lambda name: bar.update(task, description=f"unpacking {name}"))
        with threads() as pool:
            scans = with_masks(scans, config, pool, place)
        bar.remove_task(task)
        record = _record(scans, config)
        file = _beside(out, "import")
        if is_published(out, record, check_whole):
            report = ImportReport(out, file, read_record(out)["results"], finished_before=True, strict=strict)
        else:
            places = [
                (item.label, item.root.name, str(path.resolve())) for item, path in zip(scans, paths, strict=True)
            ]
            notices = _import(scans, out, record, config, bar, places)
            report = ImportReport(out, file, record.results, tuple(notices), strict=strict)
    if progress:
        show(report)
    return report


def _on_disk(sources: Sequence[str | Path], out: Path, config: ImportConfig, show: bool) -> list[Path]:
    """The sources as folders and files: what lies in a PACS is fetched, once all addresses are known to be right."""
    parsed = {source: parse_address(str(source)) for source in sources if is_address(source)}
    missing = [source for source in sources if source not in parsed and not Path(source).exists()]
    if not parsed or missing:  # scan says what is the matter with a path
        return [Path(source) for source in missing or sources]
    from .retrieve import retrieve

    place, key = _named(out, "originals"), load_key(config.key_file)
    found = {source: retrieve(address, place, key, show=show) for source, address in parsed.items()}
    return [found.get(source, Path(source)) for source in sources]


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
    lists = [_beside(out, what) for what in ("import", "sources")]
    before = {path: path.read_bytes() for path in lists if path.is_file() and out.exists()}
    """Of a set that is to be replaced, and stays where that fails."""
    try:
        with publish(out, record) as draft, threads() as pool:
            (draft / "images").mkdir()
            take_in(scans, draft, config, pool, bar, intake, record.identity)
            splits = split(intake.slices, config)
            near = _near_duplicates(intake, splits, bar)
            write_metadata(draft, _rows(scans, intake.images, splits, config))
            record.results.update(_results(intake, splits, near) | _masks(scans, intake.images, config))
            values = record.results["values"]
            notices = intake.notices + on_the_set(intake.slices, splits, near, values)
            notices += on_sources(scans, record, config) + on_masks(scans, intake.images, config)
            notices += on_text(intake)
            imported = [Notice(image.slice.name, "imported", image.file_name) for image in intake.images]
            written = True
            write_report(lists[0], notices + of_values(values) + imported)
            counted = [(*found, str(intake.with_text[place])) for place, found in enumerate(places)]
            write_for_owner(lists[1], [("source", "name", "path", "burned_in"), *counted])
    except SourceError as error:
        if before:
            raise
        write_report(lists[0], intake.notices)
        raise SourceError(f"{error} All reasons: {lists[0]}") from None
    except BaseException:
        for path in lists if written else ():
            path.unlink(missing_ok=True)
            if path in before:
                write_whole(path, before[path], mode=0o600)
        raise
    return notices


def _beside(out: Path, what: str) -> Path:
    return _named(out, f"{what}.csv")


def _named(out: Path, what: str) -> Path:
    out = out.resolve() if out.name in ("", "..") else out
    return out.with_name(f"{out.name}.{what}")


def _record(scans: Sequence[Scan], config: ImportConfig) -> Record:
    """The record of an import, without names or paths; the configuration adds licences, and takes none away."""
    given = _given(scans, config)
    inputs = [{"name": item.label, "sha256": item.sha256, "record": item.record} for item in scans]
    sources: list[dict[str, str]] = []
    for item in scans:
        recorded: list[dict[str, str]] = list(item.record.get("sources") or ())
        if item.label in given or not recorded:
            recorded.append({"name": item.label, **given.get(item.label, {})})
        sources += [entry for entry in recorded if entry not in sources]
    masks = {item.label: item.masks_sha256 for item in scans if item.masks_sha256}
    settings = config.settings() | {"sources": given} | ({"masks": masks} if masks else {})
    return Record("import", settings, config.seed, inputs, sources)


def _given(scans: Sequence[Scan], config: ImportConfig) -> dict[str, dict[str, str]]:
    """What the configuration says of sources, by their labels.

    Raises ConfigError where it names a source that is not there, while one that is there has no licence.
    """
    by_name = {normalize("NFC", name): said.model_dump(exclude={"masks"}) for name, said in config.sources.items()}
    names = [item.settings_name for item in scans if not item.record.get("sources")]
    bare = [name for name in dict.fromkeys(names) if name not in by_name]
    if bare and (unknown := strange(scans, config)):
        raise ConfigError(
            f"sources: no source is called {', '.join(unknown)}, and nothing is said of {', '.join(bare)}. Call it so."
        )
    return {item.label: by_name[item.settings_name] for item in scans if item.settings_name in by_name}


def _rows(scans: Sequence[Scan], images: Sequence[SizedSlice], splits: Splits, config: ImportConfig) -> list[Row]:
    """Rows with pseudonyms in place of patient ids; the key is read, or made, only if there is a patient."""
    key = load_key(config.key_file) if any(image.slice.patient for image in images) else b""
    # The names of what was generated tell of nobody.
    labels = ["" if item.record.get("stage") == "imagine" else item.label for item in scans]
    return [
        Row(
            image.file_name,
            image.sha256,
            image.slice.modality,
            patient_id=pseudonym(image.slice.patient, key),
            split=name,
            synthetic=image.slice.synthetic,
            source=labels[image.source] or image.slice.file,
            slope=image.slope,
            intercept=image.intercept,
            unit=image.slice.unit,
            attributes=image.slice.attributes,
            mask_file_name=image.mask_file_name,
            mask_sha256=image.mask_sha256,
        )
        for image, name in zip(images, splits.names, strict=True)
    ]


def _widths(slices: Sequence[Slice]) -> dict[str, Any]:
    """How wide the images of each modality are, in mm: the median, where all are known and alike to within a tenth."""
    found: dict[str, float] = {}
    for modality in sorted({item.modality for item in slices}):
        widths = [item.attributes.get(WIDTH) for item in slices if item.modality == modality]
        known = [width for width in widths if isinstance(width, float)]
        if len(known) == len(widths) and max(known) - min(known) <= ALIKE * median(known):
            found[modality] = median(known)
    return {WIDTH: found} if found else {}


def _near_duplicates(intake: Intake, splits: Splits, bar: Progress) -> NearDuplicates:
    patients, modalities = zip(*((item.patient, item.modality) for item in intake.slices), strict=True)
    task = bar.add_task("near duplicates", total=len(patients))
    advance = partial(bar.advance, task)
    return find_near_duplicates(np.stack(intake.thumbnails), splits.names, patients, modalities, advance=advance)


def _masks(scans: Sequence[Scan], images: Sequence[SizedSlice], config: ImportConfig) -> dict[str, Any]:
    """How many images have a mask, and of what, where any has one."""
    masked = [image for image in images if image.mask_file_name]
    kept = [item.record.get("results", {}).get("masks", {}).get("outline") for item in scans]
    outline = config.outline or " or ".join(dict.fromkeys(filter(None, kept)))
    empty = sum(image.mask_is_empty for image in masked)
    return {"masks": {"outline": outline, "images": len(masked), "empty": empty}} if masked else {}


def _results(intake: Intake, splits: Splits, near: NearDuplicates) -> dict[str, Any]:
    """Counts for the record: no name of a file or a patient."""
    kinds = Counter(notice.kind for notice in intake.notices)
    slices, across = intake.slices, {"across_splits": near.across_splits, "across_patients": near.across_patients}
    return {
        "total": len(slices),
        "images": count_by([(item.modality, name) for item, name in zip(slices, splits.names, strict=True)]),
        "patients": {m: len({s.patient for s in slices if s.modality == m} - {""}) for m in splits.methods},
        "values": count_values(slices, splits.names),
        "split": dict(splits.methods),
        **_widths(slices),
        "skipped": kinds["skipped"],
        "burned_in": intake.with_text.total(),
        "duplicates": kinds["duplicate"],
        "near_duplicates": {"pairs": near.pairs, **across},
    }
