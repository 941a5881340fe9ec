"""Memorisation: do synthetic images come nearer to training images than those of patients the model never saw?

By modality: the threshold that 1 % of unseen patients' images exceed, how many synthetic ones do, whether that is more
than chance gives, and the pairs for a human to judge. Whether they spread over patients, for each value that was asked
for (spread.py), and lie no nearer to training people than to others (nearness.py). signs.py makes one verdict of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ...held_out import held_out
from ...imageset import ImageSet
from ...record import fingerprint
from ..config import EvaluateConfig
from ..features.extractors import extractors_of
from ..findings import Findings, Sign
from ..inputs.patients import patients
from ..score import Progress, Score, silent, tried, unavailable
from . import spread
from .copies import CopiesResult, Searched, findings_of
from .nearness import Closeness, closeness_of, nearness_signs
from .privacy import membership_of
from .search import ByFeatures, ByRegistration, Search
from .threshold import calibrate, unseen_by

MOST = 2000
NETWORK = "squeezenet1_1"
ANOTHER_CORPUS = (
    "the record of these images says that their model learnt from another corpus or other splits than these: it may "
    "have seen the people held out here, and copies of images that are not in this training split were not searched for"
)


def memorisation_audit(
    samples: ImageSet, corpus: ImageSet, config: EvaluateConfig, progress: Progress = silent, folder: Path | None = None
) -> Findings:
    """Search every synthetic image for among the training images of its modality; scores, pairs and a verdict.

    Training images are those of the corpus' split train, held-out ones as held_out.py says.
    folder: where what was found is kept for the next run. Findings: as findings.py describes.
    """
    scores: list[Score] = []
    results: list[CopiesResult] = []
    signs = _of_corpus(samples, corpus)
    for modality in sorted({row.modality for row in samples.rows}, reverse=True):
        made, real = samples.where(modality=modality), corpus.where(modality=modality)
        try:
            result, more = audit_modality(made, real, config, progress, folder)
        except ValueError as error:
            scores.append(unavailable("copies_flagged", str(error), modality=modality))
            signs.append(Sign("copies", "undecided", modality, f"{modality}: not searched: {error}"))
            continue
        results.append(result)
        scores += more
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
    return [Sign("corpus", "undecided", "", ANOTHER_CORPUS)]


def audit_modality(
    samples: ImageSet, corpus: ImageSet, config: EvaluateConfig, progress: Progress = silent, folder: Path | None = None
) -> tuple[CopiesResult, list[Score]]:
    """The searches in one modality, and scores of what else was looked at. Raises ValueError where none can be done."""
    training, modality = corpus.where(split="train"), samples.rows[0].modality
    if len(training) < 2:
        raise ValueError("the corpus has fewer than two training images of it to look for copies of")
    others = np.random.default_rng([config.seed, 5]).permutation(held_out(corpus.rows))
    others = sorted(others[:MOST].tolist())
    searches: list[Searched] = []
    close: list[Closeness] = []
    scores: list[Score] = []
    for search in _searches(training, config, scores, progress, folder):
        unseen = unseen_by(search, corpus, others, training, config.seed, progress)
        known = calibrate(unseen.score, unseen.who, config.memorisation.false_positives, config.seed)
        found = search.found(samples, range(len(samples)), progress)
        searches.append(Searched(search.name, found, unseen, known, search.certain))
        close.append(closeness_of(search, samples, corpus, others, config.seed))
    if not searches:
        raise ValueError("nothing was searched: search by features needs --features")
    looks = [nearness_signs(one, modality, len(close), config.seed) for one in close]
    looks.append(_spread(samples, corpus, searches, close, config.seed))
    for more, _ in looks:
        scores += more
    if config.memorisation.member_loss and config.model:
        losses = membership_of(config.model, training, corpus, others, config.seed)
        scores += tried("member_loss_auc", losses, modality=modality)
    hashes = {row.sha256 for row in training.rows}
    same = np.array([row.sha256 in hashes for row in samples.rows])
    signs = tuple(sign for _, said in looks for sign in said)
    return CopiesResult(modality, samples, training, tuple(searches), same, signs), scores


def _searches(
    training: ImageSet, config: EvaluateConfig, scores: list[Score], progress: Progress, folder: Path | None
) -> Iterator[Search]:
    """The searches that are asked for; one whose weights are missing is a score that says so."""
    wanted = config.memorisation.search
    if wanted != "features":
        yield ByRegistration.of(training, folder)
    if wanted != "registration":
        networks = extractors_of(config)
        for network in (one for one in networks.found if one.name == NETWORK):
            yield ByFeatures.of(training, network, folder, progress)
        if missing := networks.missing.get(NETWORK):
            modality = training.rows[0].modality
            scores.append(unavailable("copies_flagged", missing, extractor=NETWORK, modality=modality))


def _spread(
    samples: ImageSet, corpus: ImageSet, searches: Sequence[Searched], close: Sequence[Closeness], seed: int
) -> tuple[list[Score], list[Sign]]:
    """The spread over training patients, by each search and its features."""
    modality, people = samples.rows[0].modality, patients(corpus.rows)
    training = [i for i, row in enumerate(corpus.rows) if row.split == "train"]
    names, owner = np.unique([people[i] for i in training], return_inverse=True)
    landed = [
        spread.Landed(one.extractor, owner[one.found.index], owner[one.unseen.nearest], one.unseen.who, one.unseen.rows)
        for one in searches
    ]
    landed += [spread.landed_by_features(one, corpus.rows) for one in close]
    groups = spread.groups_of(samples.rows, corpus.rows, people)
    found = list(spread.spread_of(landed, groups, names.tolist(), modality, seed))
    unknown = sum(not corpus.rows[i].patient_id for i in training)
    signs: list[Sign] = [*(sign for sign, _ in found), *spread.unjudged(unknown, len(training), modality)]
    return [score for _, score in found], signs
