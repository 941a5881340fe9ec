"""Memorisation: do synthetic images come nearer to training images than those of patients the model never saw?

By modality: the threshold that 1 % of unseen patients' images exceed, how many synthetic ones do, whether that is more
than chance gives, and the pairs for a human to judge. Whether they spread over patients, for each value that was asked
for (spread.py), and lie no nearer to training people than to others (nearness.py). signs.py makes one verdict of all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import ModelError
from ...imageset import ImageSet, Row
from ...record import fingerprint
from ..config import EvaluateConfig
from ..features.extractors import extractors_of
from ..findings import Findings, Sign, Word
from ..inputs.patients import RUN_LENGTH, deal, patients
from ..score import Progress, Score, silent, unavailable
from . import nearness, spread
from .closeness import Closeness, closeness_of
from .privacy import membership_of
from .search import ByFeatures, ByRegistration, Found, Search
from .signs import LEVEL, verdict_of
from .threshold import LEAST_POWER, SHARE, Array, Calibration, audit_p, calibrate, power

LEAST, LEAST_PATIENTS = 20, 5
"""With fewer held-out images or patients than this an audit decides nothing, unless a copy is beyond doubt."""
MOST, MOST_TURNS = 2000, 300


@dataclass(frozen=True)
class Unseen:
    """Images of people who are not among those searched: their likeness, and the number of the nearest training image.

    who: whom each shows; rows: theirs; left_out: how many are training images, searched for among other patients'.
    """

    score: Array
    nearest: Array
    who: list[str]
    rows: list[Row]
    left_out: int


@dataclass(frozen=True)
class Searched:
    """One search: what it found for the synthetic images and for those of unseen people, and what chance gives."""

    extractor: str
    found: Found
    unseen: Unseen
    calibration: Calibration
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
    """The searches in one modality; what any of them flags is flagged. signs: of patients and nearness."""

    modality: str
    samples: ImageSet
    training: ImageSet
    searches: tuple[Searched, ...]
    same_files: Array
    signs: tuple[Sign, ...] = ()

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
    def status(self) -> Word:
        """The verdict on this modality."""
        return verdict_of([*self.signs, Sign("copies", self.copied, self.modality, "")])

    @property
    def copied(self) -> Word:
        """failed: more likeness than chance gives, or a copy beyond doubt; undecided: too few held-out images."""
        if self.certain.any() or self.p < LEVEL:
            return "failed"
        known = self.searches[0].calibration
        few = known.n < LEAST or known.patients < LEAST_PATIENTS or self.power < LEAST_POWER
        return "undecided" if few else "passed"

    @property
    def power(self) -> float:
        """Chance that so many images would give away a set a share SHARE of which are copies."""
        return power(len(self.samples), self.searches[0].calibration.rate, SHARE, LEVEL / len(self.searches))


def memorisation_audit(
    samples: ImageSet, corpus: ImageSet, config: EvaluateConfig, progress: Progress = silent, folder: Path | None = None
) -> Findings:
    """Search every synthetic image for among the training images of its modality; scores, pairs and a verdict.

    Training images are those of the corpus' split train, held-out ones those of validation and test whose patients are
    not in it. folder: where what was found is kept for the next run. Findings: as report/__init__.py describes.
    """
    from .suspects import findings_of

    scores: list[Score] = []
    results: list[CopiesResult] = []
    signs = _of_corpus(samples, corpus)
    for modality in sorted({row.modality for row in samples.rows}, reverse=True):
        made, real = samples.where(modality=modality), corpus.where(modality=modality)
        try:
            result, privacy = audit_modality(made, real, config, progress, folder)
        except ValueError as error:
            scores.append(unavailable("copies_flagged", str(error), modality=modality))
            signs.append(Sign("copies", "undecided", modality, f"{modality}: not searched: {error}"))
            continue
        results.append(result)
        scores += privacy
    return findings_of(results, scores, signs, config.memorisation.pairs)


def _of_corpus(samples: ImageSet, corpus: ImageSet) -> list[Sign]:
    """A sign where the images' record says that their model learnt from another corpus than this one."""
    inputs = samples.record.get("inputs") or [] if samples.record.get("stage") == "generate" else []
    learnt, left = [], [one.get("record") or {} for one in inputs]
    while left:
        record = left.pop()
        if record.get("stage") == "train":
            learnt += [one for one in record.get("inputs") or [] if (one.get("record") or {}).get("stage") != "train"]
            left += [one["record"] for one in record.get("inputs") or [] if one not in learnt]
    known = {fingerprint(corpus.folder), corpus.record.get("identity")}
    if not learnt or any({one["sha256"], (one.get("record") or {}).get("identity")} & known for one in learnt):
        return []
    return [
        Sign(
            "corpus",
            "undecided",
            "",
            "the record of these images says that their model learnt from another "
            "corpus or other splits than these: it may have seen the people held out here, and copies of images "
            "that are not in this training split were not searched for",
        )
    ]


def audit_modality(
    samples: ImageSet, corpus: ImageSet, config: EvaluateConfig, progress: Progress = silent, folder: Path | None = None
) -> tuple[CopiesResult, list[Score]]:
    """The searches in one modality, and the scores of privacy. Raises ValueError where none can be calibrated."""
    training = corpus.where(split="train")
    if len(training) < 2:
        raise ValueError("the corpus has fewer than two training images of it to look for copies of")
    known = {row.patient_id for row in training.rows} - {""}
    others = [
        i for i, row in enumerate(corpus.rows) if row.split in ("validation", "test") and row.patient_id not in known
    ]
    others = sorted(np.random.default_rng([config.seed, 5]).permutation(others)[:MOST].tolist())
    modality, searches, close, scores = samples.rows[0].modality, [], [], []
    for search in _searches(training, config, scores, progress, folder):
        searches.append(_searched(search, samples, corpus, others, training, config, progress))
        close.append(closeness_of(search, samples, corpus, others, config.seed))
    if not searches:
        raise ValueError("nothing was searched: search by features needs --features")
    more, signs = _by_patient(samples, corpus, searches, close, config.seed)
    scores += more
    if config.memorisation.member_loss and config.model:
        scores += _members(config.model, corpus, training, others, config.seed)
    hashes = {row.sha256 for row in training.rows}
    same = np.array([row.sha256 in hashes for row in samples.rows])
    return CopiesResult(modality, samples, training, tuple(searches), same, tuple(signs)), scores


def _by_patient(
    samples: ImageSet, corpus: ImageSet, searches: Sequence[Searched], close: Sequence[Closeness], seed: int
) -> tuple[list[Score], list[Sign]]:
    """Nearness to training people, and the spread over them: scores and signs."""
    modality, people = samples.rows[0].modality, patients(corpus.rows)
    scores: list[Score] = []
    signs: list[Sign] = []
    for one in close:
        where = {"versus": "train", "modality": modality, "extractor": one.features}
        try:
            near = nearness.nearness_of(one, seed)
            scores += nearness.scores_of(near, **where)
            signs.append(nearness.sign_of(near, modality, len(close)))
        except ValueError as error:
            scores += nearness.not_measured(str(error), **where)
            signs.append(nearness.unjudged(str(error), modality))
    training = [(row, who) for row, who in zip(corpus.rows, people, strict=True) if row.split == "train"]
    names = sorted({who for _, who in training})
    code = {who: i for i, who in enumerate(names)}
    owner = np.array([code[who] for _, who in training])
    landed = [
        spread.Landed(one.extractor, owner[one.found.index], owner[one.unseen.nearest], one.unseen.who, one.unseen.rows)
        for one in searches
    ]
    landed += [spread.landed_by_features(one, corpus.rows) for one in close]
    groups = spread.groups_of(samples.rows, corpus.rows, people)
    found = spread.spread_of(landed, groups, [row for row, _ in training], names, seed)
    scores += spread.scores_of(found, versus="train", modality=modality)
    unknown = sum(not row.patient_id for row, _ in training)
    return scores, [*signs, *spread.signs_of(found, modality), *spread.unjudged(unknown, len(training), modality)]


def _searches(
    training: ImageSet, config: EvaluateConfig, scores: list[Score], progress: Progress, folder: Path | None
) -> Iterator[Search]:
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


def _searched(
    search: Search,
    samples: ImageSet,
    corpus: ImageSet,
    others: Sequence[int],
    training: ImageSet,
    config: EvaluateConfig,
    progress: Progress,
) -> Searched:
    """Calibrate a search with unseen people, and use it."""
    unseen = unseen_by(search, corpus, others, training, config.seed, progress)
    calibration = calibrate(unseen.score, unseen.who, config.memorisation.false_positives, config.seed)
    found = search.found(samples, range(len(samples)), progress)
    return Searched(search.name, found, unseen, calibration, search.certain)


def unseen_by(
    search: Search,
    corpus: ImageSet,
    others: Sequence[int],
    training: ImageSet,
    seed: int = 0,
    progress: Progress = silent,
) -> Unseen:
    """Search for images of people who are not among the training images.

    Held-out images (`others` of the corpus), and training images among those of the other patients: a threshold is as
    good as the number of people it rests on.
    """
    everyone = patients(corpus.rows)
    found, absent = search.found(corpus, others, progress), _in_turns(search, training, seed, progress)
    return Unseen(
        np.concatenate([found.score, absent.score]),
        np.concatenate([found.index, absent.nearest]),
        [*(everyone[i] for i in others), *absent.who],
        [*(corpus.rows[i] for i in others), *absent.rows],
        len(absent.who),
    )


def _in_turns(search: Search, training: ImageSet, seed: int, progress: Progress) -> Unseen:
    """Search for training images among those of the other patients, a fifth of the patients at a time.

    At most MOST_TURNS random images, as evenly over the patients as can be.
    """
    rng, people = np.random.default_rng([seed, 6]), patients(training.rows)
    order: list[tuple[int, int]] = []
    seen: Counter[str] = Counter()
    for i in rng.permutation(len(people)).tolist():
        order.append((seen[people[i]], i))
        seen[people[i]] += 1
    chosen = np.array([i for _, i in sorted(order)[:MOST_TURNS]])
    scores, nearest, shown = [np.empty(0)], [np.empty(0, dtype=int)], []
    for fold, rest in divisions_of(training, people, rng):
        own: list[int] = chosen[fold[chosen]].tolist()
        if own and rest.sum() >= 2:
            found = search.part(np.flatnonzero(rest)).found(training, own, progress)
            scores.append(found.score)
            nearest.append(np.flatnonzero(rest)[found.index])
            shown += own
    return Unseen(
        np.concatenate(scores),
        np.concatenate(nearest),
        [f"training {people[i]}" for i in shown],
        [training.rows[i] for i in shown],
        len(shown),
    )


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
