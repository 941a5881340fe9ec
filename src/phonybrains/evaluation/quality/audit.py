"""Is the set good? Every distance of made images from held-out real ones beside that of real ones from real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...imageset import ImageSet
from ...statistics.proportions import clopper_pearson
from ..arrays import Array
from ..config import EvaluateConfig
from ..features.extractors import Extractor, extractors_of
from ..features.handcrafted import noise_of
from ..features.shards import features_of, pixels_of
from ..findings import Facts, Findings, MapImages, Telling
from ..inputs.labels import Scale
from ..inputs.real import modalities_of
from ..inputs.sides import Side, side_of, without_copies
from ..score import Progress, Score, silent, unavailable
from . import c2st
from .distances import kid_interval, kid_of_blocks, standardise
from .diversity import diversity_score
from .neighbours import share_inside
from .nulls import real_against_real
from .prevalence import prevalence
from .scores import Against, frechet_score, kernel_scores, neighbour_scores, noise_score, two_sample_scores

SHOWN, TELLING = 300, 24
FRECHET = {"handcrafted": "fd_handcrafted", "inception-v3-compat": "fid", "radiomics": "frd"}
MISSING = {"inception-v3-compat": ("fid", "kid"), "squeezenet1_1": ("kid",), "dinov2": ("kid",), "radiomics": ("frd",)}


def quality_audit(
    samples: ImageSet, corpus: ImageSet, config: EvaluateConfig, progress: Progress = silent, folder: Path | None = None
) -> Findings:
    """Scores of each modality and of each attribute's groups, never of modalities together.

    Made images are compared with the corpus's held-out split; each score's null is what the same measure gives for
    real images of the corpus against real images of other patients, as many on each side. What cannot be measured is
    a score without a value and with the reason. folder: where features are kept for the next run.
    """
    extractors, found = extractors_of(config), Measured()
    for name, reason in extractors.missing.items():
        found.scores += [unavailable(score, reason, extractor=name) for score in MISSING[name]]
    for modality, images in modalities_of(samples):
        real = corpus.where(modality=modality)
        made, notes = without_copies(images, real)
        found.scores += notes
        try:
            side = side_of(made, real, modality, config)
        except ValueError as error:
            found.scores.append(unavailable("quality", str(error), modality=modality))
            continue
        ModalityAudit(side, config, progress, folder, found).run(extractors.found)
    return Findings(found.scores, found.arrays, Facts(found.map, found.telling))


@dataclass
class Measured:
    """What has been measured so far, of all modalities."""

    scores: list[Score] = field(default_factory=list)
    arrays: dict[str, Array] = field(default_factory=dict)
    map: dict[str, MapImages] = field(default_factory=dict)
    telling: dict[str, list[Telling]] = field(default_factory=dict)


@dataclass(frozen=True)
class ModalityAudit:
    """The audit of one modality, which adds to what has been measured."""

    side: Side
    config: EvaluateConfig
    progress: Progress
    folder: Path | None
    measured: Measured

    @property
    def where(self) -> dict[str, Any]:
        return {"versus": self.side.versus, "modality": self.side.modality}

    def run(self, extractors: Sequence[Extractor]) -> None:
        """Every score: by each kind of features, by a network if asked for, of pairs, of groups."""
        compared: dict[str, Against] = {}
        for extractor in extractors:
            try:
                self._of_extractor(extractor, compared)
            except ValueError as error:
                name, where = FRECHET.get(extractor.name, "fd"), {"extractor": extractor.identity, **self.where}
                self.measured.scores.append(unavailable(name, str(error), **where))
        if self.config.quality.network:
            self._say("a network learns", 0, 1)
            self.measured.scores += self._by_network()
        self._say("likeness of pairs", 0, 1)
        self.measured.scores.append(diversity_score(self.side, self.config.seed))
        self._of_groups(compared)

    def _say(self, what: str, done: int, total: int) -> None:
        self.progress(f"{self.side.modality}, {what}", done, total)

    def _of_extractor(self, extractor: Extractor, compared: dict[str, Against]) -> None:
        side, where = self.side, {**self.where, "extractor": extractor.identity}
        every, real = self._features(extractor)
        x = self._against(every[side.measured], real, side.groups, side.held, where)
        if extractor.name == "radiomics":  # made for this one distance
            self.measured.scores.append(frechet_score(x, "frd"))
            return
        if extractor.name == "handcrafted":
            self.measured.scores.append(noise_score(x, noise_of(x.made), noise_of(x.real)))
            every, real = standardise(every, real), standardise(real, real)
            x = replace(x, made=every[side.measured], real=real)
        compared[extractor.name] = x
        self._of_features(x, extractor)
        if len(every) > len(side.measured):
            self.measured.scores += _of_all(x, every, self.config.quality.neighbours)

    def _features(self, extractor: Extractor) -> tuple[Array, Array]:
        """Features of all made and of all real images. Raises ValueError where some are not numbers."""
        made, real = (
            features_of(images, range(len(images)), extractor, self.folder, self._say)
            for images in (self.side.made, self.side.real)
        )
        for features, kind in ((real, "real"), (made, "synthetic")):
            if broken := int((~np.isfinite(features)).any(axis=1).sum()):
                raise ValueError(f"{extractor.name} gives no numbers for {broken} of {len(features)} {kind} images")
        return made, real

    def _against(self, made: Array, real: Array, groups: Sequence[str], held: Array, where: dict[str, Any]) -> Against:
        draws = real_against_real(groups, len(made), len(held), self.config.quality.null_draws, self.config.seed)
        return Against(made, real, groups, held, list(draws), where, self.config.seed)

    def _of_features(self, x: Against, extractor: Extractor) -> None:
        """Every score of one kind of features."""
        steps = [
            lambda: kernel_scores(x, self.config.quality.permutations),
            lambda: [frechet_score(x, FRECHET.get(extractor.name, "fd"))],
            lambda: neighbour_scores(x, self.config.quality.neighbours),
            lambda: self._told_apart(x),
            lambda: two_sample_scores(x, "c2st_forest", c2st.forest)[0] if extractor.name == "handcrafted" else [],
        ]
        for number, step in enumerate(steps):
            self._say(f"scores of {extractor.name}", number, len(steps))
            try:
                self.measured.scores += step()
            except ValueError as error:
                self.measured.scores.append(unavailable("scores", str(error), **x.where))
        self._map(x)

    def _told_apart(self, x: Against) -> list[Score]:
        """The two-sample test, and its most telling images: in the end those of the last features, the deepest."""
        found, test = two_sample_scores(x, "c2st", c2st.logistic)
        chosen = test.telling(TELLING)
        names = zip(self.side.made_names(chosen), test.probability_made[chosen].tolist(), strict=True)
        self.measured.telling[self.side.modality] = [Telling(*one) for one in names]
        return found

    def _map(self, x: Against) -> None:
        """Features of a few hundred images a side, for a picture of how the sets lie."""
        rng, modality = np.random.default_rng(x.seed), self.side.modality
        made, held = (np.sort(rng.permutation(n)[:SHOWN]) for n in (len(x.made), len(x.held)))
        real = x.held[held]
        self.measured.arrays[f"map/{modality}/synthetic"] = x.made[made].astype(np.float32)
        self.measured.arrays[f"map/{modality}/real"] = x.real[real].astype(np.float32)
        names = [self.side.real.rows[int(i)].file_name for i in real]
        self.measured.map[modality] = MapImages(x.where["extractor"], self.side.made_names(made), names)

    def _by_network(self) -> list[Score]:
        """The two-sample test by a network that sees the images themselves; chance is its null."""
        from .convolution import Convolutional

        side, where = self.side, {**self.where, "extractor": "pixels"}
        made, real = pixels_of(side.made, side.measured.tolist()), pixels_of(side.real, side.held.tolist())
        sizes = made.shape[1:], real.shape[1:]
        if sizes[0] != sizes[1]:
            note = f"images of {sizes[0]} and of {sizes[1]} pixels cannot be compared by pixels"
            return [unavailable("c2st_network_auc", note, **where)]
        groups = [side.groups[int(i)] for i in side.held]
        x = Against(made, real, groups, np.arange(len(real)), [], where, self.config.seed)
        try:
            return two_sample_scores(x, "c2st_network", lambda: Convolutional(self.config.seed), 0)[0]
        except ValueError as error:
            return [unavailable("c2st_network_auc", str(error), **where)]

    def _of_groups(self, compared: Mapping[str, Against]) -> None:
        """Prevalence of each attribute's labels, and distances within each label that has enough images."""
        side, smallest = self.side, self.config.bias.smallest_group
        held = [side.real.rows[int(i)] for i in side.held]
        people = [side.groups[int(i)] for i in side.held]
        for number, attribute in enumerate(side.attributes):
            self._say("groups", number, len(side.attributes))
            try:
                scale = Scale.of(attribute, side.real.rows)
            except ValueError as error:
                self.measured.scores.append(unavailable("prevalence", str(error), group=attribute, **self.where))
                continue
            self.measured.scores += prevalence(side.made.rows, held, people, scale, self.config.seed, **self.where)
            made, real = (scale.codes(images.rows) for images in (side.made, side.real))
            few = []
            for code, label in enumerate(scale.names):
                part = np.flatnonzero(made[side.measured] == code), np.flatnonzero(real == code)
                if min(len(part[0]), int(np.isin(part[1], side.held).sum())) < smallest:
                    few.append(label)
                    continue
                for name, x in compared.items():
                    self.measured.scores += self._of_group(x, name, *part, f"{attribute}={label}")
            if few:
                note = f"fewer than {smallest} images on a side: {', '.join(few)}"
                self.measured.scores.append(unavailable("kid", note, group=attribute, **self.where))

    def _of_group(self, x: Against, name: str, made: Array, real: Array, group: str) -> list[Score]:
        """KID, Fréchet distance and coverage of one label's images, beside real ones of that label.

        There are no more made images than real ones that are not held out: some at random.
        """
        held, where = np.flatnonzero(np.isin(real, x.held)), x.where | {"group": group}
        chosen = np.random.default_rng([x.seed, 23]).permutation(made)[: len(real) - len(held)]
        made, groups = np.sort(chosen), [x.groups[int(i)] for i in real]
        try:
            part = self._against(x.made[made], x.real[real], groups, held, where)
            kid, *_ = kernel_scores(part, self.config.quality.permutations)
            *_, coverage = neighbour_scores(part, self.config.quality.neighbours)
            return [kid, frechet_score(part, FRECHET.get(name, "fd")), coverage]
        except ValueError as error:
            return [unavailable("kid", str(error), **where)]


def _of_all(x: Against, every: Array, k: int) -> list[Score]:
    """What can be had of more images than are compared with the null: KID, a mean over blocks, and precision."""
    held, people, n = x.real[x.held], [x.groups[int(i)] for i in x.held], len(every)
    value, error = kid_of_blocks(every, held, seed=x.seed, people=people)
    own = kid_interval(value, error, n, people)
    inside = share_inside(every, held, k)
    exact = clopper_pearson(round(inside * n), n)
    note = f"all {n} images, in blocks; the other scores rest on {len(x.made)} of them"
    where: dict[str, Any] = {"n": n, "note": note, **x.where}
    return [
        Score("kid_of_all", value, own and own.low, own and own.high, **where),
        Score("precision_of_all", inside, exact.low, exact.high, **where),
    ]
