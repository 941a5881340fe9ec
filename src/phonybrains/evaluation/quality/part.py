"""Is the set good? Every distance of made images from held-out real ones beside that of real ones from real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...imageset import ImageSet
from ...statistics.proportions import clopper_pearson
from ..config import EvaluateConfig
from ..features.extractors import Extractor, extractors_of
from ..features.handcrafted import noise_of, power_of
from ..features.reading import features_of, pixels_of
from ..features.spectrum import frequencies, in_db
from ..findings import Facts, Findings, MapImages, Telling
from ..inputs.labels import Scale
from ..inputs.sides import Side, side_of, without_copies
from ..score import Progress, Score, silent, unavailable
from . import against, c2st
from .against import Against
from .distances import kid_of_blocks, standardise
from .diversity import diversity_score
from .neighbours import share_inside
from .nulls import real_against_real
from .prevalence import prevalence

Array = NDArray[Any]
SHOWN, TELLING = 300, 24
FRECHET = {"handcrafted": "fd_handcrafted", "inception-v3-compat": "fid", "radiomics": "frd"}
MISSING = {"inception-v3-compat": ("fid", "kid"), "squeezenet1_1": ("kid",), "dinov2": ("kid",), "radiomics": ("frd",)}


@dataclass
class Found:
    """What has been found so far, of all modalities."""

    scores: list[Score] = field(default_factory=list)
    arrays: dict[str, Array] = field(default_factory=dict)
    map: dict[str, MapImages] = field(default_factory=dict)
    telling: dict[str, list[Telling]] = field(default_factory=dict)


def quality(
    samples: ImageSet, corpus: ImageSet, config: EvaluateConfig, progress: Progress = silent, folder: Path | None = None
) -> Findings:
    """Scores of each modality and of each attribute's groups, never of modalities together.

    Made images are compared with the corpus's held-out split; each score's null is what the same measure gives for
    real images of the corpus against real images of other patients, as many on each side. What cannot be measured is
    a score without a value and with the reason. folder: where features are kept for the next run.
    """
    extractors, found = extractors_of(config), Found()
    for name, reason in extractors.missing.items():
        found.scores += [unavailable(score, reason, extractor=name) for score in MISSING[name]]
    for modality in sorted({row.modality for row in samples.rows}, reverse=True):
        real = corpus.where(modality=modality)
        made, notes = without_copies(samples.where(modality=modality), real)
        found.scores += notes
        try:
            side = side_of(made, real, modality, config)
        except ValueError as error:
            found.scores.append(unavailable("quality", str(error), modality=modality))
            continue
        _of_modality(found, side, extractors.found, config, partial(_named, progress, modality), folder)
    return Findings(found.scores, found.arrays, Facts(found.map, found.telling))


def _named(progress: Progress, modality: str, what: str, done: int, total: int) -> None:
    progress(f"{modality}, {what}", done, total)


def _of_modality(
    found: Found,
    side: Side,
    extractors: Sequence[Extractor],
    config: EvaluateConfig,
    progress: Progress,
    folder: Path | None,
) -> None:
    measured: dict[str, Against] = {}
    for extractor in extractors:
        try:
            every, real = _features(side, extractor, progress, folder)
            if extractor.name == "radiomics":  # made for this one distance
                x = _against(side, every[side.measured], real, extractor, config)
                found.scores.append(against.frechet_score(x, "frd"))
                continue
            if extractor.name == "handcrafted":
                _spectrum_and_noise(found, side, _against(side, every[side.measured], real, extractor, config))
                every, real = standardise(every, real), standardise(real, real)
            x = measured[extractor.name] = _against(side, every[side.measured], real, extractor, config)
            found.scores += _of_features(found, x, side, extractor, config, progress)
            if len(every) > len(side.measured):
                found.scores += _of_all(x, every, real[side.held], config.quality.neighbours)
        except ValueError as error:
            found.scores.append(
                unavailable(
                    FRECHET.get(extractor.name, "fd"),
                    str(error),
                    extractor=extractor.identity,
                    modality=side.modality,
                    versus=side.versus,
                )
            )
    if config.quality.network:
        progress("a network learns", 0, 1)
        found.scores += _by_network(side, config)
    progress("likeness of pairs", 0, 1)
    found.scores.append(diversity_score(side, config.seed))
    _of_groups(found, side, measured, config, progress)


def _features(side: Side, extractor: Extractor, progress: Progress, folder: Path | None) -> tuple[Array, Array]:
    """Features of all made and of all real images. Raises ValueError where some are not numbers."""
    made = features_of(side.made, range(len(side.made)), extractor, folder, progress)
    real = features_of(side.real, range(len(side.real)), extractor, folder, progress)
    if broken := int((~np.isfinite(real)).any(axis=1).sum()):
        raise ValueError(f"{extractor.name} gives no numbers for {broken} of {len(real)} real images")
    if broken := int((~np.isfinite(made)).any(axis=1).sum()):
        raise ValueError(f"{extractor.name} gives no numbers for {broken} of {len(made)} synthetic images")
    return made, real


def _spectrum_and_noise(found: Found, side: Side, x: Against) -> None:
    """What raw handcrafted features hold of power and noise: two scores, and the mean spectra, drawn with where those
    of as many real images lie."""
    made, real = power_of(x.made), power_of(x.real)
    found.scores.append(against.spectrum_score(x, made, real))
    found.scores.append(against.noise_score(x, noise_of(x.made), noise_of(x.real)))
    low, high = np.quantile([in_db(real[a]) for a, _ in x.draws], [0.025, 0.975], axis=0)
    shown = {
        "frequency": frequencies(),
        "real": in_db(real[side.held]),
        "real_low": low,
        "real_high": high,
        "synthetic": in_db(made),
    }
    found.arrays |= {f"spectrum/{side.modality}/{name}": values for name, values in shown.items()}


def _against(side: Side, made: Array, real: Array, extractor: Extractor, config: EvaluateConfig) -> Against:
    draws = list(real_against_real(side.groups, len(made), len(side.held), config.quality.null_draws, config.seed))
    where = {"versus": side.versus, "modality": side.modality, "extractor": extractor.identity}
    return Against(made, real, side.groups, side.held, draws, where, config.seed)


def _of_features(
    found: Found, x: Against, side: Side, extractor: Extractor, config: EvaluateConfig, progress: Progress
) -> list[Score]:
    """Every score of one kind of features."""
    scores: list[Score] = []
    steps = [
        lambda: against.kernel_scores(x, config.quality.permutations),
        lambda: [against.frechet_score(x, FRECHET.get(extractor.name, "fd"))],
        lambda: against.neighbour_scores(x, config.quality.neighbours),
        lambda: _told_apart(found, x, side),
        lambda: against.two_sample_scores(x, "c2st_forest", c2st.forest)[0] if extractor.name == "handcrafted" else [],
    ]
    for number, step in enumerate(steps):
        progress(f"scores of {extractor.name}", number, len(steps))
        try:
            scores += step()
        except ValueError as error:
            scores.append(unavailable("scores", str(error), **x.where))
    _map(found, x, side)
    return scores


def _told_apart(found: Found, x: Against, side: Side) -> list[Score]:
    """The two-sample test, and its most telling images: in the end those of the last kind of features, the deepest."""
    scores, test = against.two_sample_scores(x, "c2st", c2st.logistic)
    found.telling[side.modality] = [
        Telling(side.made.rows[int(side.measured[i])].file_name, float(test.probability_made[i]))
        for i in test.telling(TELLING)
    ]
    return scores


def _by_network(side: Side, config: EvaluateConfig) -> list[Score]:
    """The two-sample test by a network that sees the images themselves; chance is its null."""
    from .convolution import Convolutional

    where = {"versus": side.versus, "modality": side.modality, "extractor": "pixels"}
    made, real = pixels_of(side.made, side.measured.tolist()), pixels_of(side.real, side.held.tolist())
    groups = [side.groups[int(i)] for i in side.held]
    x = Against(made, real, groups, np.arange(len(real)), [], where, config.seed)
    try:
        if made.shape[1:] != real.shape[1:]:
            raise ValueError(f"images of {made.shape[1:]} and of {real.shape[1:]} pixels cannot be compared by pixels")
        return against.two_sample_scores(x, "c2st_network", lambda: Convolutional(config.seed), 0)[0]
    except ValueError as error:
        return [unavailable("c2st_network_auc", str(error), **where)]


def _map(found: Found, x: Against, side: Side) -> None:
    """Features of a few hundred images a side, for a picture of how the sets lie."""
    rng = np.random.default_rng(x.seed)
    made, held = (np.sort(rng.permutation(n)[:SHOWN]) for n in (len(x.made), len(x.held)))
    real = x.held[held]
    found.arrays[f"map/{side.modality}/synthetic"] = x.made[made].astype(np.float32)
    found.arrays[f"map/{side.modality}/real"] = x.real[real].astype(np.float32)
    found.map[side.modality] = MapImages(
        x.where["extractor"],
        [side.made.rows[int(side.measured[i])].file_name for i in made],
        [side.real.rows[int(i)].file_name for i in real],
    )


def _of_all(x: Against, every: Array, held: Array, k: int) -> list[Score]:
    """What can be had of more images than are compared with the null: KID, a mean over blocks, and precision."""
    value, error = kid_of_blocks(every, held, seed=x.seed)
    note = f"all {len(every)} images, in blocks; the other scores rest on {len(x.made)} of them"
    where: dict[str, Any] = {"n": len(every), "note": note, **x.where}
    inside = share_inside(every, held, k)
    exact = clopper_pearson(round(inside * len(every)), len(every))
    return [
        Score("kid_of_all", value, value - 1.96 * error, value + 1.96 * error, **where),
        Score("precision_of_all", inside, exact.low, exact.high, **where),
    ]


def _of_groups(
    found: Found, side: Side, measured: dict[str, Against], config: EvaluateConfig, progress: Progress
) -> None:
    """Prevalence of each attribute's labels, and distances within each label that has enough images."""
    where: dict[str, Any] = {"modality": side.modality, "versus": side.versus}
    held = [side.real.rows[int(i)] for i in side.held]
    for number, attribute in enumerate(side.attributes):
        progress("groups", number, len(side.attributes))
        try:
            scale = Scale.of(attribute, side.real.rows)
        except ValueError as error:
            found.scores.append(unavailable("prevalence", str(error), group=attribute, **where))
            continue
        found.scores += prevalence(side.made.rows, held, scale, **where)
        made, real = (np.array(scale.labels(images.rows)) for images in (side.made, side.real))
        few = []
        for label in scale.names:
            part = np.flatnonzero(made[side.measured] == label), np.flatnonzero(real == label)
            enough = min(len(part[0]), int(np.isin(part[1], side.held).sum())) >= config.bias.smallest_group
            few += [] if enough else [label]
            for name, x in measured.items() if enough else ():
                found.scores += _of_group(x, name, *part, f"{attribute}={label}", config)
        if few:
            note = f"fewer than {config.bias.smallest_group} images on a side: {', '.join(few)}"
            found.scores.append(unavailable("kid", note, group=attribute, **where))


def _of_group(x: Against, name: str, made: Array, real: Array, group: str, config: EvaluateConfig) -> list[Score]:
    """KID, Fréchet distance and coverage of one label's images, beside real ones of that label."""
    held = np.flatnonzero(np.isin(real, x.held))
    made, groups, where = made[: len(real) - len(held)], [x.groups[int(i)] for i in real], x.where | {"group": group}
    try:
        draws = list(real_against_real(groups, len(made), len(held), config.quality.null_draws, config.seed))
        part = Against(x.made[made], x.real[real], groups, held, draws, where, config.seed)
        scores = against.kernel_scores(part, config.quality.permutations)[:1]
        scores.append(against.frechet_score(part, FRECHET.get(name, "fd")))
        return scores + against.neighbour_scores(part, config.quality.neighbours)[-1:]
    except ValueError as error:
        return [unavailable("kid", str(error), **where)]
