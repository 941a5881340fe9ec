"""`phonybrains imagine`: ask a text-to-image service, and import what it sends as an image set."""

from __future__ import annotations

from pathlib import Path

from ..errors import OutputError
from ..imageset import ImageSet
from ..importing import ImportConfig, ImportReport, import_images
from ..record import read_record
from ..remote.config import ImagineConfig
from ..remote.stage import Confirm, ask_service, is_of
from ..wording import count_of


def imagine(out: str | Path, config: ImagineConfig, *, confirm: Confirm | None = None, show: bool = True) -> Path:
    """Write an image set of what a text-to-image service makes of prompts: gray, 256×256, imported as anything else.

    Writes  out (an image set: synthetic, with prompt, revised prompt, generator, parameters, request id and cost);
            beside it OUT.originals, the images as they came, and OUT.import.csv
    Raises  ConfigError for what cannot be asked, and without a limit or a yes of `confirm` where money can be spent;
            ServiceError when the service fails or the limits are reached; OutputError if `out` is something else.

    Answers are kept in OUT.originals: the same call again costs nothing, and a stopped one goes on.
    """
    out = Path(out)
    originals = originals_of(out)
    if out.is_dir() and any(out.iterdir()):
        if not is_of(read_record(out), config):
            how = f"Choose another --out, or remove it first: what was paid for stays in {originals.name}."
            raise OutputError(f"{out} already exists and was not made by this command with these settings. {how}")
        if show:
            print(f"{out} is finished already: {count_of(len(ImageSet.open(out)), 'image')}. Nothing to do.")
        return out
    ask_service(originals, config, confirm=confirm, show=show)
    settings = ImportConfig(size=config.side, synthetic=True, generator=config.model)
    report = import_images([originals], out, settings, progress=False)
    if show:
        print(_summary(report, originals))
    return out


def originals_of(out: Path) -> Path:
    """Where the images of a set lie as they came."""
    return out.resolve().parent / f"{out.resolve().name}.originals"


def _summary(report: ImportReport, originals: Path) -> str:
    asked, images = read_record(originals)["results"], ImageSet.open(report.out)
    coloured = sum(bool(row["coloured"]) for row in images.rows)
    lines = [
        f"{report.out}: {count_of(len(images), 'image')}, {coloured} of them coloured; originals: {originals.name}"
    ]
    if refusals := asked["refused"]:
        codes = ", ".join(f"{code} {count}" for code, count in refusals.items())
        lines.append(f"refused: {sum(refusals.values())} of {count_of(asked['asked'], 'request')} ({codes})")
    if unknown := asked["requests"].get("unknown"):
        lines.append(f"in doubt: {count_of(unknown, 'request')} ended without an image, and counted as paid")
    for kind in ("duplicates", "skipped"):
        if count := report.results[kind]:
            lines.append(f"{kind}: {count}, see {report.file.name}")
    lines.append(f"cost: {asked['cost']:g} {asked['currency']}, of all runs {asked['cost_of_all_runs']:g}")
    return "\n".join(lines)
