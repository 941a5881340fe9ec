"""`phonybrains evaluate`: synthetic images and their corpus in; scores, a report and a verdict out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NotRequired
from zipfile import BadZipFile

from rich.progress import TaskID
from typing_extensions import TypedDict

from ..documents import read_json
from ..errors import ConfigError, OutputError, PhonyBrainsError
from ..imageset import ImageSet
from ..progress import progress_bars
from ..record import Record, as_input, check_files, hashes_of, is_published, publish
from ..release_gate import write_audit
from .config import PARTS, EvaluateConfig, Part
from .features.extractors import SqueezeNetFeatures
from .findings import Findings, write_json
from .inputs.sets import Sides, open_sides
from .score import Glance, Progress, Score, unavailable
from .weights import weights_file

FINDINGS, FEATURES = "findings", "features"
SCORES_NAME = "scores.json"
NOT_MEASURED = "not measured"
Runner = Callable[[ImageSet, ImageSet, EvaluateConfig, Progress], Findings]


@dataclass(frozen=True, slots=True)
class ScoreOfPart(Score):
    """A score in scores.json, and the part it is of."""

    part: str = ""


class Told(TypedDict):
    """What scores.json holds, as far as it is shown."""

    glance: NotRequired[list[Glance]]
    held_out: str
    warnings: list[str]
    scores: list[ScoreOfPart]


def evaluate(
    samples: str | Path,
    corpus: str | Path,
    out: str | Path,
    config: EvaluateConfig | None = None,
    *,
    only: Sequence[str] | None = None,
    show: bool = True,
) -> Path:
    """Measure synthetic images against the corpus their model learnt from: good, new, fair, useful?

    Reads   samples (an image set); corpus (an image set with splits: train is what the model learnt from)
    Writes  out/{report.html, report.pdf, scores.json, scores.csv, audit.json, pairs.csv, figures/, findings/,
            record.json}
    Raises  ImageSetError if a set is damaged or the two have no modality in common; ConfigError for settings that
            cannot be; OutputError if `out` is something else. What a part cannot measure is a score without a value,
            with the reason; the other parts go on. The same command takes up a stopped one after its last whole part.
    """
    samples, corpus, out, config = Path(samples), Path(corpus), Path(out), config or EvaluateConfig()
    parts = _chosen(only)
    if config.memorisation.member_loss and not config.model:
        raise ConfigError("memorisation.member_loss asks for the loss of a model: name its folder with --model.")
    sides = open_sides(samples, corpus, config)
    record = _record(samples, corpus, config, parts)
    _check_weights(config)
    if not is_published(out, record, check_files):
        with publish(out, record, resume=True) as draft:
            found = run_parts(_runners(draft / FEATURES), parts, sides, config, draft / FINDINGS, show=show)
            shutil.rmtree(draft / FEATURES, ignore_errors=True)
            _write(draft, sides, config, found, record)
    if show:
        _tell(out)
    return out


def _runners(folder: Path) -> dict[Part, Runner]:
    """The function of each part; `folder` is where features are kept while the evaluation is not finished."""
    from .bias.audit import bias_audit
    from .memorisation.audit import memorisation_audit
    from .quality.audit import quality_audit
    from .quality.texture import texture_audit
    from .utility.audit import utility_audit

    audits = quality_audit, texture_audit, memorisation_audit, bias_audit, utility_audit
    return {part: partial(audit, folder=folder) for part, audit in zip(PARTS, audits, strict=True)}


def _check_weights(config: EvaluateConfig) -> None:
    """Raise ModelError for weights of another kind and for a folder that is no model, before an hour of other work."""
    if config.features is not None:
        SqueezeNetFeatures(weights_file(config.features))
    if config.model is not None:
        from ..model.finding import find_model

        find_model(config.model)


def run_parts(
    runners: Mapping[Part, Runner],
    parts: Sequence[Part],
    sides: Sides,
    config: EvaluateConfig,
    folder: Path,
    *,
    show: bool,
) -> dict[Part, Findings]:
    """The findings of each part: those in the folder that are whole, else new ones; a part that fails says why."""
    found: dict[Part, Findings] = {}
    with progress_bars(show) as bars:
        for part in parts:
            with suppress(PhonyBrainsError, OSError, ValueError, KeyError, EOFError, BadZipFile):
                found[part] = Findings.load(folder / part)
                continue
            line, start = bars.add_task(part, total=None), perf_counter()

            def progress(what: str, done: int, total: int, part: Part = part, line: TaskID = line) -> None:
                bars.update(line, description=f"{part}: {what}", completed=done, total=total)

            try:
                found[part] = runners[part](sides.samples, sides.corpus, config, progress)
            except (PhonyBrainsError, ValueError, ArithmeticError) as error:
                reason = " ".join(str(error).split()) or type(error).__name__
                found[part] = Findings([unavailable(NOT_MEASURED, f"{part} could not be measured: {reason}")])
            else:
                found[part].save(folder / part)
            bars.update(line, description=f"{part}: {perf_counter() - start:.0f} s", total=1, completed=1)
    return found


def _chosen(only: Sequence[str] | None) -> tuple[Part, ...]:
    """The parts asked for, in their usual order; all if none is named."""
    for name in only or ():
        if name not in PARTS:
            raise ConfigError(f"--only takes {', '.join(PARTS)}, not '{name}'.")
    return tuple(part for part in PARTS if not only or part in only)


def _record(samples: Path, corpus: Path, config: EvaluateConfig, parts: Sequence[Part]) -> Record:
    """What determines the result; files that the settings name are inputs, known by their content."""
    settings, files = _plain(config.model_dump())
    inputs = [as_input(path) for path in (samples, corpus, *files)]
    sources = inputs[1]["record"].get("sources", ())
    return Record("evaluate", {"parts": list(parts), **settings}, config.seed, inputs, sources)


def _plain(settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[Path]]:
    """Settings with the base names of the files they name, and these files."""
    plain: dict[str, Any] = {}
    files: list[Path] = []
    for name, value in settings.items():
        if isinstance(value, dict):
            plain[name], more = _plain(value)
            files += more
        elif isinstance(value, Path):
            plain[name] = value.name
            if not value.exists():
                raise ConfigError(f"{value}: there is no such file ({name}).")
            files.append(value)
        else:
            plain[name] = list(value) if isinstance(value, tuple) else value
    return plain, files


def _write(draft: Path, sides: Sides, config: EvaluateConfig, found: Mapping[Part, Findings], record: Record) -> None:
    """Write report, scores and tables into the draft, and the four answers into the record."""
    from ..reporting.pages import write_pages
    from .report.build import build_report, title_of
    from .report.glance import glances
    from .report.opening import status_of
    from .report.tables import scores_of, write_pairs, write_scores

    status, lines = status_of(found), [one.to_json() for one in glances(sides, found)]
    title, subtitle = title_of(sides)
    footer = f"{title}; evaluation {record.identity[:16]}; phonybrains"
    write_pages(draft, title, subtitle, build_report(sides, config, found, record), footer)
    write_scores(draft / "scores.csv", found)
    said = {"glance": lines, "status": status, "warnings": list(sides.warnings), "held_out": sides.held_out}
    write_json(draft / SCORES_NAME, {**said, "scores": scores_of(found)})
    if "memorisation" in found and (facts := found["memorisation"].facts).audit:
        write_pairs(draft / "pairs.csv", facts.pairs or ())
        write_audit(draft, sides.samples.folder, sides.corpus.folder, facts.to_json(), record.identity)
    answers = {one["question"]: one["answer"] for one in lines}
    record.results.update(glance=answers, status=status, images=len(sides.samples), files=hashes_of(draft))


def _tell(out: Path) -> None:
    """Print the table and the four lines of a finished evaluation; one of before has no lines."""
    from .report.terminal import print_glances, print_scores

    content = read_json(out / SCORES_NAME, Told, "Remove the folder, and evaluate again.", OutputError)
    scores: list[tuple[str, Score]] = [(entry.part, entry) for entry in content["scores"]]
    print_scores(scores, content["warnings"])
    print(f"{out / 'report.html'}, {out / 'report.pdf'}: the report; all scores: {out / 'scores.csv'}")
    print_glances(content.get("glance", ()))
