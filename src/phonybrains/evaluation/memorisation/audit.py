"""Memorisation: do synthetic images come nearer to training images than those of patients the model never saw?

By modality: the threshold that 1 % of unseen patients' images exceed, how many synthetic ones do, whether that is more
than chance gives, and the pairs for a human to judge. Whether they spread over patients, for each value that was asked
for (spread.py), and lie no nearer to training people than to others (nearness.py). signs.py makes one verdict of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...held_out import held_out
from ...imageset import ImageSet
from ...record import fingerprint
from ...release_gate import shows_nobody
from ..config import EvaluateConfig
from ..features.extractors import extractors_of
from ..findings import Findings, Sign
from ..inputs.edits import edits_among
from ..inputs.patients import patients
from ..inputs.sets import part_of
from ..score import Progress, Score, silent, tried, unavailable
from . import spread
from .copies import CopiesResult, Searched, findings_of
from .edits import edits_sign, recognised_by
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
            result, more = audit_modality(made, real, config, progress, folder, nobody=shows_nobody(samples.record))
        except ValueError as error:
            scores.append(unavailable("copies_flagged", str(error), modality=modality))
            signs.append(Sign("copies", "undecided", modality, f"{modality}: not searched: {error}"))
            continue
        results.append(result)
        scores += more
    return findings_of(results, scores, signs, config.memorisation.pairs)


def _of_corpus(samples: ImageSet, corpus: ImageSet) -> list[Sign]:
    """A sign where the images' record says that their model, or one that edited them, learnt from another corpus."""
    known = {fingerprint(corpus.folder), corpus.record.get("identity")}
    for maker in _makers(samples.record):
        learnt = [*_learnt(maker)]
        if learnt and not any({one["sha256"], (one.get("record") or {}).get("identity")} & known for one in learnt):
            return [Sign("corpus", "undecided", "", ANOTHER_CORPUS)]
    return []


def _learnt(model: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The corpora that a model learnt from, or the model that it started from."""
    record = model.get("record") or {}
    for one in record.get("inputs") or [] if record.get("stage") == "train" else []:
        started = (one.get("record") or {}).get("stage") == "train"
        yield from _learnt(one) if started else [one]


def _makers(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a set was generated or edited by, and what any set that was edited was itself made by."""
    if record.get("stage") in ("generate", "edit"):
        for one in record.get("inputs") or []:
            yield one
            yield from _makers(one.get("record") or {})


def audit_modality(
    samples: ImageSet,
    corpus: ImageSet,
    config: EvaluateConfig,
    progress: Progress = silent,
    folder: Path | None = None,
    *,
    nobody: bool = False,
) -> tuple[CopiesResult, list[Score]]:
    """The searches in one modality, and scores of what else was looked at. Raises ValueError where none can be done.

    An edit is searched for among other patients than its own. Spread and nearness are of images that are no edits.
    nobody: only phantoms were edited.
    """
    training, modality = corpus.where(split="train"), samples.rows[0].modality
    if len(training) < 2:
        raise ValueError("the corpus has fewer than two training images of it to look for copies of")
    others = np.random.default_rng([config.seed, 5]).permutation(held_out(corpus.rows))
    others = sorted(others[:MOST].tolist())
    trained, edits = np.array([row.split == "train" for row in corpus.rows]), edits_among(samples.rows, corpus.rows)
    own, new = edits.own[:, trained], np.flatnonzero(~edits.real)
    fresh, recognised = part_of(samples, new.tolist()), None
    searches: list[Searched] = []
    close: list[Closeness] = []
    scores: list[Score] = []
    for search in _searches(training, config, scores, progress, folder):
        unseen = unseen_by(search, corpus, others, training, config.seed, progress)
        known = calibrate(unseen.score, unseen.who, config.memorisation.false_positives, config.seed)
        found = search.found(samples, range(len(samples)), progress, ~own if own.any() else None)
        searches.append(Searched(search.name, found, unseen, known, search.certain))
        if len(fresh):
            close.append(closeness_of(search, fresh, corpus, others, config.seed))
        if own.any() and not recognised:
            recognised = recognised_by(search, samples, own, known, progress)
    if not searches:
        raise ValueError("nothing was searched: search by features needs --features")
    looks = [nearness_signs(one, modality, len(close), config.seed) for one in close]
    if len(fresh):
        landed = [replace(one, found=one.found.part(new)) for one in searches]
        looks.append(_spread(fresh, corpus, landed, close, config.seed))
    if edits.real.any():
        above = int(recognised.above.sum()) if recognised else 0
        looks.append(([], [edits_sign(modality, edits, trained, above, nobody=nobody)]))
    for more, _ in looks:
        scores += more
    if config.memorisation.member_loss and config.model:
        losses = membership_of(config.model, training, corpus, others, config.seed)
        scores += tried("member_loss_auc", losses, modality=modality)
    hashes = np.array([training.content(i) for i in range(len(training))])
    same = np.array([(hashes[~mine] == samples.content(i)).any() for i, mine in enumerate(own)])
    signs = tuple(sign for _, said in looks for sign in said)
    return CopiesResult(modality, samples, training, tuple(searches), same, signs, recognised), scores


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
