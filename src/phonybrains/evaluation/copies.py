"""Memorisation: do synthetic images come nearer to training images than those of patients the model never saw?

By modality: the threshold that 1 % of held-out images exceed, how many synthetic ones do, whether that is more than
chance gives, and the pairs for a human to judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ..imageset import ImageSet
from ..reporting.wording import count_of
from ..statistics.proportions import clopper_pearson
from .config import EvaluateConfig, MemorisationConfig
from .exceedance import Array, Calibration, audit_p, calibrate, excess_p
from .groups import deal, patients
from .privacy import privacy_scores
from .registration import CopySearch, Matches
from .score import Findings, Null, Progress, Score, silent, unavailable
from .thumbnails import thumbnails_of

LEVEL = 0.05
FEW = 99
"""With fewer held-out images than this, training patients take turns in being held out, where patients are known."""
LEAST = 20
CERTAIN = 0.95
"""Likeness from which a pair counts as a copy by itself, if no held-out image comes as near."""
EXTRACTOR = "registration-1"
MOST, MOST_TURNS = 2000, 200


@dataclass(frozen=True)
class CopiesResult:
    """The search in one modality: the synthetic images' matches among `training`, the held-out ones' likeness."""

    modality: str
    samples: ImageSet
    training: ImageSet
    found: Matches
    held_out: Array
    calibration: Calibration
    same_files: Array
    left_out: int
    """Of the held-out scores, those of training images searched for among other patients' images."""

    @property
    def flagged(self) -> Array:
        """Which synthetic images a human must look at, (n,)."""
        return (self.found.score > self.calibration.threshold) | self.same_files

    @property
    def certain(self) -> Array:
        """Which are copies beyond doubt, (n,)."""
        return self.same_files | (self.found.score > max(CERTAIN, self.calibration.highest))

    @property
    def p(self) -> float:
        return audit_p(self.found.score, self.calibration)

    @property
    def status(self) -> str:
        """failed: more likeness than chance gives, or a copy beyond doubt; undecided: too few held-out images."""
        if self.certain.any() or self.p < LEVEL:
            return "failed"
        return "undecided" if self.calibration.n < LEAST else "passed"


def memorisation_audit(
    samples: ImageSet, corpus: ImageSet, config: EvaluateConfig, progress: Progress = silent
) -> Findings:  # fmt: skip
    """Search every synthetic image for among the training images of its modality; scores, pairs and a verdict.

    Training images are those of the corpus' split train, held-out ones those of validation and test whose patients are
    not in it. Findings: as report/__init__.py describes.
    """
    scores: list[Score] = []
    results: list[CopiesResult] = []
    for modality in sorted({row.modality for row in samples.rows}, reverse=True):
        made, real = samples.where(modality=modality), corpus.where(modality=modality)
        try:
            result, privacy = audit_modality(made, real, config.memorisation, config.seed, progress)
        except ValueError as error:
            scores.append(unavailable("copies_flagged", str(error), modality=modality))
            continue
        results.append(result)
        scores += [*_scores(result), *privacy]
    arrays = {f"similarity/{r.modality}/{side}": values for r in results
              for side, values in (("synthetic", r.found.score), ("held_out", r.held_out))}  # fmt: skip
    pairs = [pair for result in results for pair in pairs_of(result, config.memorisation.pairs)]
    pairs.sort(key=lambda pair: (not pair["flagged"], -pair["similarity"]))
    whole = len(results) == len({row.modality for row in samples.rows})
    facts = {"pairs": pairs, "status": _status(results, whole), "sentence": _sentence(results, whole),
             "audit": {r.modality: _facts(r) for r in results}}  # fmt: skip
    return Findings(scores, arrays, facts)


def audit_modality(
    samples: ImageSet, corpus: ImageSet, config: MemorisationConfig, seed: int = 0, progress: Progress = silent
) -> tuple[CopiesResult, list[Score]]:
    """The search in one modality, and the scores of privacy. Raises ValueError where it cannot be calibrated."""
    training = corpus.where(split="train")
    if len(training) < 2:
        raise ValueError("the corpus has fewer than two training images of it to look for copies of")
    people, known = patients(training.rows), {row.patient_id for row in training.rows} - {""}
    others = [i for i, row in enumerate(corpus.rows)
              if row.split in ("validation", "test") and row.patient_id not in known]  # fmt: skip
    others = sorted(np.random.default_rng([seed, 5]).permutation(others)[:MOST].tolist())
    search = CopySearch(thumbnails_of(training))
    made, unseen = thumbnails_of(samples), thumbnails_of(corpus, others)
    everyone = patients(corpus.rows)
    held_out, who = _search(search, unseen, progress), [everyone[i] for i in others]
    absent = np.empty(0)
    if len(others) < FEW and len(known) >= 2:
        absent, whose = _in_turns(search.images, people, seed, progress)
        held_out, who = np.concatenate([held_out, absent]), [*who, *whose]
    calibration = calibrate(held_out, who, config.false_positives, seed)
    hashes = {row.sha256 for row in training.rows}
    same = np.array([row.sha256 in hashes for row in samples.rows])
    found = search.nearest(made, progress=progress)
    result = CopiesResult(samples.rows[0].modality, samples, training, found, held_out, calibration, same, len(absent))
    features = [search.features(x).numpy() for x in (search.images, unseen, made)]
    return result, privacy_scores(*features, modality=result.modality, extractor="structure-1", seed=seed)


def _search(search: CopySearch, images: Tensor, progress: Progress) -> Array:
    return search.nearest(images, progress=progress).score if len(images) else np.empty(0)


def _in_turns(images: Tensor, people: Sequence[str], seed: int, progress: Progress) -> tuple[Array, list[str]]:
    """Likeness of training images to those of the other patients, a fifth of the patients at a time; and who they show.

    At most MOST_TURNS random images, as evenly over the patients as can be.
    """
    rng = np.random.default_rng([seed, 6])
    folds, order = deal(people, 5, rng), []
    seen: Counter[str] = Counter()
    numbers: list[int] = rng.permutation(len(people)).tolist()
    for i in numbers:
        order.append((seen[people[i]], i))
        seen[people[i]] += 1
    chosen = np.array([i for _, i in sorted(order)[:MOST_TURNS]])
    scores, whose = [], []
    for fold in range(folds.max() + 1):
        own = chosen[folds[chosen] == fold]
        if len(own):
            scores.append(_search(CopySearch(images[folds != fold]), images[own], progress))
            whose += [people[i] for i in own]
    return np.concatenate(scores), whose


def pairs_of(result: CopiesResult, most: int) -> list[dict[str, Any]]:
    """The most suspicious images with their nearest training images, all that are flagged among them."""
    found, flagged = result.found, result.flagged
    order = np.lexsort((-found.score, ~flagged))[: max(most, int(flagged.sum()))]
    return [{
        "modality": result.modality, "synthetic": result.samples.rows[i].file_name, "similarity": float(found.score[i]),
        "correlation": float(found.correlation[i]), "training": result.training.rows[found.index[i]].file_name,
        "patient": result.training.rows[found.index[i]].patient_id, "threshold": result.calibration.threshold,
        "flagged": bool(flagged[i]), "same_file": bool(result.same_files[i]),
    } for i in order.tolist()]  # fmt: skip


def _facts(result: CopiesResult) -> dict[str, Any]:
    calibration = result.calibration
    return {"n": len(result.samples), "exceedances": int(result.flagged.sum()), "certain": int(result.certain.sum()),
            "threshold": calibration.threshold, "rate": calibration.rate, "p": result.p, "status": result.status,
            "held_out": calibration.n, "held_out_patients": calibration.patients, "left_out": result.left_out,
            "training": len(result.training)}  # fmt: skip


def _scores(result: CopiesResult) -> list[Score]:
    calibration, n = result.calibration, len(result.samples)
    where: dict[str, Any] = {"modality": result.modality, "versus": "train"}
    flagged = clopper_pearson(int(result.flagged.sum()), n)
    beyond = int((result.found.score > calibration.highest).sum())
    share = clopper_pearson(beyond, n)
    chance = Null(calibration.rate, calibration.interval.low, calibration.interval.high, calibration.n)
    note = f"threshold {calibration.threshold:.3f} from {count_of(calibration.n, 'held-out image')}" + (
        f", {result.left_out} of them training images among other patients' images" if result.left_out else ""
    )
    low, middle, high = np.quantile(result.held_out, [0.025, 0.5, 0.975]).tolist()
    return [
        Score("copies_flagged", flagged.value, flagged.low, flagged.high, n, chance, result.p, extractor=EXTRACTOR,
              note=note, **where),
        Score("copies_beyond_held_out", share.value, share.low, share.high, n,
              p=excess_p(beyond, n, 0, calibration.n), extractor=EXTRACTOR, **where),
        Score("likeness_to_training", float(np.median(result.found.score)), n=n, extractor=EXTRACTOR,
              null=Null(middle, low, high, calibration.n), note="median; null: single held-out images", **where),
    ]  # fmt: skip


def _status(results: Sequence[CopiesResult], whole: bool) -> str:
    each = {result.status for result in results}
    if "failed" in each:
        return "failed"
    return "passed" if whole and each == {"passed"} else "undecided"


def _sentence(results: Sequence[CopiesResult], whole: bool) -> str:
    """What was found, in plain words, for the verdict."""
    said = []
    for result in results:
        n, flagged, certain = len(result.samples), int(result.flagged.sum()), int(result.certain.sum())
        most = clopper_pearson(flagged, n).high
        text = (f"{result.modality}: {flagged} of {n} are nearer to a training image than "
                f"{1 - result.calibration.rate:.1%} of unseen patients' images are (chance gives "
                f"{n * result.calibration.rate:.1f}; p = {result.p:.2g})")  # fmt: skip
        text += f"; {count_of(certain, 'copy', 'copies')} beyond doubt" if certain else ""
        text += "" if flagged else f"; 0 of {n} still allows {most:.1%}"
        said.append(text)
    ends = {"failed": "The audit failed: look at the pairs.", "undecided": "Too few held-out images to decide.",
            "passed": "The audit passed; flagged pairs are for a person to judge."}  # fmt: skip
    return f"{'; '.join(said)}. {ends[_status(results, whole)]}" if said else "No modality could be searched."
