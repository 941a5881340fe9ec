"""Can a ruler tell? Power by ring of the spectrum, flat blocks, both ends of the grey levels, the worst single feature.

Made images stand beside held-out real ones, and beside that stands what real images of other patients score against the
same held-out ones, at the same n: patients drawn again with replacement, so that slices of one are not taken for many.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from ...imageset import ImageSet
from ...statistics.estimate import t_estimate
from ...statistics.multireader import areas, these_readers
from ..arrays import Array
from ..config import EvaluateConfig
from ..features.shards import features_of
from ..features.spectrum import RINGS, frequencies
from ..features.texture import CEILING, FLAT, FLOOR, NAMES, TextureFeatures, place_of
from ..findings import Facts, Findings, Ruler
from ..inputs.real import modalities_of
from ..inputs.sides import Side, side_of, without_copies
from ..score import Progress, Score, silent, unavailable
from .nulls import null_of, other_people
from .scores import Against

SHOWN = 12
"""Features of a modality that are listed, the most telling first."""
SHARES = {"flat_blocks": FLAT, "floor_share": FLOOR, "ceiling_share": CEILING}


def texture_audit(
    samples: ImageSet, corpus: ImageSet, config: EvaluateConfig, progress: Progress = silent, folder: Path | None = None
) -> Findings:
    """Scores of each modality, the spectrum by ring, and the features that tell most.

    What cannot be measured is a score without a value and with the reason. folder: where features are kept.
    """
    scores: list[Score] = []
    arrays: dict[str, Array] = {}
    rulers: dict[str, Sequence[Ruler]] = {}
    for modality, images in modalities_of(samples):
        real = corpus.where(modality=modality)
        made, notes = without_copies(images, real)
        scores += [note for note in notes if note.value is None]
        try:
            x = _against(side_of(made, real, modality, config), config, progress, folder)
        except ValueError as error:
            scores.append(unavailable("texture", str(error), modality=modality))
            continue
        worst, rulers[modality] = worst_feature(x)
        scores += [worst, spectrum_score(x), *share_scores(x)]
        arrays |= {f"spectrum/{modality}/{name}": values for name, values in spectra(x).items()}
    return Findings(scores, arrays, Facts(rulers=rulers))


def _against(side: Side, config: EvaluateConfig, progress: Progress, folder: Path | None) -> Against:
    """Features of the measured made and of the real images, with the draws of other people's in their place."""
    sizes = [(images.height, images.width) for images in (side.made, side.real)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"images of {sizes[0]} and of {sizes[1]} pixels have textures that cannot be compared")

    def say(what: str, done: int, total: int) -> None:
        progress(f"{side.modality}, {what}", done, total)

    made, real = (
        features_of(images, numbers, TextureFeatures(), folder, say).astype(np.float64)
        for images, numbers in ((side.made, side.measured.tolist()), (side.real, range(len(side.real))))
    )
    draws = list(other_people(side.groups, side.held, len(made), config.quality.null_draws, config.seed))
    where: dict[str, Any] = {"versus": side.versus, "modality": side.modality}
    return Against(made, real, side.groups, side.held, draws, where, config.seed)


def difference(made: Array, real: Array) -> Array:
    """Power of made minus that of real images, in dB by ring, from texture features (m, F) and (n, F), (RINGS,)."""
    return made[:, :RINGS].mean(axis=0) - real[:, :RINGS].mean(axis=0)


def spectrum_score(x: Against) -> Score:
    """The ring in which power lies farthest from that of real images, in dB."""
    apart = difference(x.made, x.real[x.held])
    worst = int(np.abs(apart).argmax())
    drawn = [float(np.abs(difference(x.real[a], x.real[b])).max()) for a, b in x.draws]
    note = f"{apart[worst]:+.1f} dB at {place_of(worst)}".replace("-", "−")
    return x.beside("spectrum_worst_db", float(abs(apart[worst])), drawn, note=note)


def share_scores(x: Against) -> list[Score]:
    """Flat blocks, and pixels at either end: means over made images beside those over other real people's."""
    scores = []
    for name, feature in SHARES.items():
        made, real = (side[:, NAMES.index(feature)] for side in (x.made, x.real))
        error = float(made.std(ddof=1)) / np.sqrt(len(made))
        found = t_estimate(float(made.mean()), error, len(made), df=len(made) - 1)
        drawn = [float(real[a].mean()) for a, _ in x.draws]
        note = f"{real[x.held].mean():.3f} of the held-out real images"
        scores.append(x.beside(name, found.value, drawn, "near", low=found.low, high=found.high, note=note))
    return scores


def worst_feature(x: Against) -> tuple[Score, list[Ruler]]:
    """The feature whose AUC between made and held-out real images lies farthest from ½, and the SHOWN worst.

    Its null is the same of real images of other patients: of each draw the farthest of all features, so that choosing
    the worst of many is paid for. Its interval is DeLong's over patients; it does not know that the feature was chosen.
    """
    found = aucs(x.made, x.real[x.held])
    drawn = np.array([aucs(x.real[a], x.real[b]) for a, b in x.draws])
    order = np.argsort(-np.abs(found - 0.5), kind="stable")[:SHOWN].tolist()
    rulers = [_ruler(x, i, float(found[i]), drawn[:, i]) for i in order]
    worst = rulers[0]
    low, high = (worst.low, worst.high) if worst.auc >= 0.5 else (1 - worst.high, 1 - worst.low)
    farthest = (0.5 + np.abs(drawn - 0.5).max(axis=1)).tolist()
    way = "larger" if worst.auc >= 0.5 else "smaller"
    note = f"{worst.feature}: {way} in synthetic images; the worst of {len(NAMES)}"
    value = 0.5 + abs(worst.auc - 0.5)
    return x.beside("texture_worst_auc", value, farthest, low=low, high=high, note=note), rulers


def aucs(made: Array, real: Array) -> Array:
    """The chance that a made image has more of each feature than a real one, ties counting half, (F,).

    [Mann & Whitney 1947]
    """
    ranks = rankdata(np.concatenate([made, real]), axis=0)[: len(made)]
    return (ranks.sum(axis=0) / len(made) - (len(made) + 1) / 2) / len(real)


def _ruler(x: Against, i: int, auc: float, drawn: Array) -> Ruler:
    """A feature with its interval by patient, every made image being of its own."""
    made, real = x.made[:, i], x.real[x.held, i]
    truth = np.repeat([True, False], [len(made), len(real)])
    owners = [*range(len(made)), *(f"real {x.groups[int(k)]}" for k in x.held)]
    found = these_readers(areas(np.concatenate([made, real])[None], truth, list(map(str, owners)))).estimate
    usual = null_of(drawn.tolist())
    medians = {"real": float(np.median(real)), "synthetic": float(np.median(made))}
    limits = {"low": found.low, "high": found.high, "usual_low": usual.low, "usual_high": usual.high}
    return Ruler(feature=NAMES[i], auc=auc, usual=usual.value, **medians, **limits)


def spectra(x: Against) -> dict[str, Array]:
    """Mean power in dB by ring, and where other real people's lies apart from the held-out ones'."""
    real, made = (side[:, :RINGS].mean(axis=0) for side in (x.real[x.held], x.made))
    low, high = np.quantile([difference(x.real[a], x.real[b]) for a, b in x.draws], [0.025, 0.975], axis=0)
    return {"frequency": frequencies()[:RINGS], "real": real, "synthetic": made, "low": low, "high": high}
