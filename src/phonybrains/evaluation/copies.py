"""Memorisation: do synthetic images come nearer to training images than those of patients the model never saw?

By modality: the threshold that 1 % of unseen patients' images exceed, how many synthetic ones do, whether that is more
than chance gives, and the pairs for a human to judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ModelError
from ..imageset import ImageSet
from .config import EvaluateConfig
from .exceedance import Array, Calibration, audit_p, calibrate
from .extractors import extractors_of
from .groups import RUN_LENGTH, deal, patients
from .privacy import membership_of, privacy_scores
from .score import Findings, Progress, Score, silent, unavailable
from .search import ByFeatures, ByRegistration, Found, Search

LEVEL = 0.05
LEAST, LEAST_PATIENTS = 20, 5
"""With fewer held-out images or patients than this an audit decides nothing, unless a copy is beyond doubt."""
MOST, MOST_TURNS = 2000, 300


@dataclass(frozen=True)
class Searched:
    """One search: what it found for the synthetic images, the likeness of unseen people's, and what chance gives.

    left_out: of the unseen ones, those of training images searched for among other patients' images.
    """

    extractor: str
    found: Found
    held_out: Array
    calibration: Calibration
    left_out: int
    sure: float
    """Likeness from which a pair counts as a copy by itself, if no held-out image comes as near."""

    @property
    def flagged(self) -> Array:
        return self.found.score > self.calibration.threshold

    @property
    def certain(self) -> Array:
        return self.found.score > max(self.sure, self.calibration.highest)

    @property
    def p(self) -> float:
        return audit_p(self.found.score, self.calibration)


@dataclass(frozen=True)
class CopiesResult:
    """The searches in one modality; what any of them flags is flagged."""

    modality: str
    samples: ImageSet
    training: ImageSet
    searches: tuple[Searched, ...]
    same_files: Array

    @property
    def flagged(self) -> Array:
        """Which synthetic images a human must look at, (n,)."""
        return np.any([self.same_files, *(one.flagged for one in self.searches)], axis=0)

    @property
    def certain(self) -> Array:
        """Which are copies beyond doubt, (n,)."""
        return np.any([self.same_files, *(one.certain for one in self.searches)], axis=0)

    @property
    def p(self) -> float:
        """The least p of the searches, times their number."""
        return min(1.0, len(self.searches) * min(one.p for one in self.searches))

    @property
    def status(self) -> str:
        """failed: more likeness than chance gives, or a copy beyond doubt; undecided: too few held-out images."""
        if self.certain.any() or self.p < LEVEL:
            return "failed"
        known = self.searches[0].calibration
        return "undecided" if known.n < LEAST or known.patients < LEAST_PATIENTS else "passed"


def memorisation_audit(
    samples: ImageSet, corpus: ImageSet, config: EvaluateConfig, progress: Progress = silent,
    folder: Path | None = None,
) -> Findings:  # fmt: skip
    """Search every synthetic image for among the training images of its modality; scores, pairs and a verdict.

    Training images are those of the corpus' split train, held-out ones those of validation and test whose patients are
    not in it. folder: where what was found is kept for the next run. Findings: as report/__init__.py describes.
    """
    from .suspects import findings_of

    scores: list[Score] = []
    results: list[CopiesResult] = []
    for modality in sorted({row.modality for row in samples.rows}, reverse=True):
        made, real = samples.where(modality=modality), corpus.where(modality=modality)
        try:
            result, privacy = audit_modality(made, real, config, progress, folder)
        except ValueError as error:
            scores.append(unavailable("copies_flagged", str(error), modality=modality))
            continue
        results.append(result)
        scores += privacy
    whole = len(results) == len({row.modality for row in samples.rows})
    return findings_of(results, scores, whole, config.memorisation.pairs)


def audit_modality(samples: ImageSet, corpus: ImageSet, config: EvaluateConfig, progress: Progress = silent,
                   folder: Path | None = None) -> tuple[CopiesResult, list[Score]]:  # fmt: skip
    """The searches in one modality, and the scores of privacy. Raises ValueError where none can be calibrated."""
    training = corpus.where(split="train")
    if len(training) < 2:
        raise ValueError("the corpus has fewer than two training images of it to look for copies of")
    known = {row.patient_id for row in training.rows} - {""}
    others = [i for i, row in enumerate(corpus.rows)
              if row.split in ("validation", "test") and row.patient_id not in known]  # fmt: skip
    others = sorted(np.random.default_rng([config.seed, 5]).permutation(others)[:MOST].tolist())
    modality, searches, scores = samples.rows[0].modality, [], []
    for search in _searches(training, config, scores, progress, folder):
        searches.append(_searched(search, samples, corpus, others, training, config, progress))
        seen = (search.features(training, range(len(training))), search.features(corpus, others),
                search.features(samples, range(len(samples))))  # fmt: skip
        scores += privacy_scores(*seen, modality=modality, extractor=search.features_name, seed=config.seed)
    if not searches:
        raise ValueError("nothing was searched: search by features needs --features")
    if config.memorisation.member_loss and config.model:
        scores += _members(config.model, corpus, training, others, config.seed)
    hashes = {row.sha256 for row in training.rows}
    same = np.array([row.sha256 in hashes for row in samples.rows])
    return CopiesResult(modality, samples, training, tuple(searches), same), scores


def _searches(training: ImageSet, config: EvaluateConfig, scores: list[Score], progress: Progress,
              folder: Path | None) -> Iterator[Search]:  # fmt: skip
    """The searches that are asked for; one whose weights are missing is a score that says so."""
    wanted = config.memorisation.search
    if wanted != "features":
        yield ByRegistration.of(training, folder)
    if wanted != "registration":
        networks = extractors_of(config)
        found = {extractor.name: extractor for extractor in networks.found}.get("squeezenet1_1")
        if found is None:
            note, modality = networks.missing["squeezenet1_1"], training.rows[0].modality
            scores.append(unavailable("copies_flagged", note, extractor="squeezenet1_1", modality=modality))
        else:
            yield ByFeatures.of(training, found, folder, progress)


def _searched(search: Search, samples: ImageSet, corpus: ImageSet, others: Sequence[int], training: ImageSet,
              config: EvaluateConfig, progress: Progress) -> Searched:  # fmt: skip
    """Calibrate a search with unseen people, and use it."""
    unseen, who, absent = unseen_scores(search, corpus, others, training, config.seed, progress)
    calibration = calibrate(unseen, who, config.memorisation.false_positives, config.seed)
    found = search.found(samples, range(len(samples)), progress)
    return Searched(search.name, found, unseen, calibration, absent, search.certain)


def unseen_scores(search: Search, corpus: ImageSet, others: Sequence[int], training: ImageSet, seed: int = 0,
                  progress: Progress = silent) -> tuple[Array, list[str], int]:  # fmt: skip
    """Likeness to training images of people who are not among them, who each shows, and how many of these take turns.

    Held-out images (`others` of the corpus), and training images among those of the other patients: a threshold is as
    good as the number of people it rests on.
    """
    everyone = patients(corpus.rows)
    scores, who = search.found(corpus, others, progress).score, [everyone[i] for i in others]
    absent, whose = _in_turns(search, training, seed, progress)
    return np.concatenate([scores, absent]), [*who, *whose], len(absent)


def _in_turns(search: Search, training: ImageSet, seed: int, progress: Progress) -> tuple[Array, list[str]]:
    """Likeness of training images to those of the other patients, a fifth of the patients at a time; and who they show.

    At most MOST_TURNS random images, as evenly over the patients as can be.
    """
    rng, people = np.random.default_rng([seed, 6]), patients(training.rows)
    order: list[tuple[int, int]] = []
    seen: Counter[str] = Counter()
    for i in rng.permutation(len(people)).tolist():
        order.append((seen[people[i]], i))
        seen[people[i]] += 1
    chosen = np.array([i for _, i in sorted(order)[:MOST_TURNS]])
    scores, whose = [np.empty(0)], []
    for fold, rest in divisions_of(training, people, rng):
        own: list[int] = chosen[fold[chosen]].tolist()
        if own and rest.sum() >= 2:
            scores.append(search.part(np.flatnonzero(rest)).found(training, own, progress).score)
            whose += [f"training {people[i]}" for i in own]
    return np.concatenate(scores), whose


def divisions_of(training: ImageSet, people: Sequence[str], rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """Fifths of the training images, (n,) booleans, and the images that show none of their people.

    Where patients are unknown, a fifth is a stretch in the order of the set, and RUN_LENGTH images before and after it
    are left out too: they may show the same people.
    """
    n, known = len(people), all(row.patient_id for row in training.rows)
    folds, place = deal(people, 5, rng) if known else np.arange(n) * 5 // n, np.arange(n)
    for number in range(folds.max() + 1):
        fold = folds == number
        rest = ~np.isin(people, np.array(people)[fold])
        if not known:
            first, last = place[fold].min(), place[fold].max()
            rest &= (place < first - RUN_LENGTH) | (place > last + RUN_LENGTH)
        yield fold, rest


def _members(model: Path, corpus: ImageSet, training: ImageSet, others: Sequence[int], seed: int) -> list[Score]:
    """Whether the model's loss tells training images from held-out ones; what cannot be measured says why."""
    try:
        return membership_of(model, training, corpus, others, seed)
    except (ValueError, ModelError) as error:
        return [unavailable("member_loss_auc", str(error), modality=training.rows[0].modality)]
