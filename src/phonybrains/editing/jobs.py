"""What an edit of an image set comes to: what is made of each row, checked before the first minute of work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import ConfigError
from ..imageset import Attribute, ImageSet, Pixels
from ..model.given import check_size, shown_by
from ..model.latent_diffusion import LatentDiffusion
from ..networks.conditions import Value
from ..wording import count_of
from .config import AddNoise, Denoise, Edit, Explain, Inpaint, Translate, Upscale, Vary
from .denoise import denoised
from .explain import explained
from .holes import hole_of
from .inpaint import inpainted
from .noise import NoiseProfile, adapt, deviation, tissue_power
from .noise_level import Law, NoiseLevel, add_noise, noise_level
from .prior import Images, Prior
from .translate import translated
from .upscale import block_means, fitted, upscaled
from .vary import varied

Wanted = Mapping[str, Value]


@dataclass(frozen=True)
class EditBatch:
    """Rows of the source that are edited together: numbers, pixels (B, h, w), what they show, their generators."""

    rows: Sequence[int]
    images: Images
    wanted: Sequence[Wanted]
    rngs: Sequence[torch.Generator]


@dataclass(frozen=True)
class EditJob:
    """An edit of a set.

    paint: a batch to images (B, H, W) and, where an edit has them, maps (B, H, W) in grey levels.
    columns: what the table says of a row beside who made it. settle: the mean of a row's draws as an image.
    shows: what the images show afterwards, by row. given: what is edited of a row. before: how that is shown, where
    otherwise, as a hole is. truth: images that the source was made of; None where nobody knows. redrawn: where a row's
    image is drawn anew, (H, W), so that no outline of before is true there; all of it where the image is.
    """

    paint: Callable[[EditBatch], tuple[Images, NDArray[np.float32] | None]]
    wanted: Sequence[Wanted]
    given: Callable[[int], Images]
    columns: Callable[[int], dict[str, Attribute]] = lambda row: {}
    settle: Callable[[NDArray[np.float32], int], Images] = lambda mean, row: np.rint(mean).astype(np.uint8)
    shows: Sequence[Wanted] = ()
    before: Callable[[int], Images] | None = None
    truth: Callable[[int], Images] | None = None
    notes: Sequence[str] = ()
    redrawn: Callable[[int], NDArray[np.bool_]] | None = None


def job_of(source: ImageSet, how: Edit, model: LatentDiffusion | None = None, like: ImageSet | None = None) -> EditJob:
    """What is to be made of a set. Raises ConfigError, naming the row, for what the model or the edit cannot do."""
    if source.bits != 8:
        raise ConfigError(f"{source.folder} has 16-bit images, and edits are made in 8. Import them with a window.")
    if how.simulate and not isinstance(how, (Upscale, Denoise)):
        raise ConfigError(f"--simulate: for upscale and denoise, where the truth is then known, not for {how.name}.")
    if isinstance(how, AddNoise):
        return _noise(source, _given(like, "--like"))
    prior = _Asked(source, how, _given(model, "--model"))
    kinds: dict[type[Edit], Callable[[Any], EditJob]] = {
        Upscale: prior.upscale,
        Denoise: prior.denoise,
        Inpaint: prior.inpaint,
        Translate: prior.translate,
        Vary: prior.vary,
        Explain: prior.explain,
    }
    return kinds[type(how)](how)


def _given(thing: Any, name: str) -> Any:
    if thing is None:
        raise ConfigError(f"this edit needs {name}.")
    return thing


class _Asked:
    """A set and the model that it is edited by; one method for each edit."""

    def __init__(self, source: ImageSet, how: Edit, model: LatentDiffusion) -> None:
        self.source, self.how, self.model = source, how, model
        self.wanted: list[Wanted] = [*shown_by(source, model.conditions)]

    def prior(self, batch: EditBatch) -> Prior:
        return Prior(self.model, batch.wanted, batch.rngs, self.how.guidance)

    def changed(self, where: Mapping[str, Value], option: str) -> list[Wanted]:
        """What each image is to show instead. Raises ConfigError for what the model does not know, or no change."""
        if not where:
            raise ConfigError(f"{option} says what is to be another, for instance {option} modality=CT.")
        checked = [self.model.conditions.check({"modality": one["modality"], **where}) for one in self.wanted]
        pairs = zip(self.wanted, checked, strict=True)
        return [self.possible({**one, **asked}, asked) for one, asked in pairs]

    def doubts(self, shows: Sequence[Wanted]) -> list[str]:
        """What there is to say against asking for this, as `generate` says it: few images or patients behind it."""
        asked = {tuple(row.items()): {k: v for k, v in row.items() if v is not None} for row in shows}
        categories = {"modality", *self.model.conditions.categories}
        some = [{k: v for k, v in one.items() if k in categories} for one in asked.values()]
        return list(dict.fromkeys(doubt for one in some for doubt in self.model.doubts(one)))

    def possible(self, shown: Mapping[str, Value], asked: Mapping[str, Value]) -> Wanted:
        """What is shown, without what no training image shows together with what is asked for, as a plane CT lacks."""
        conditions, kept = self.model.conditions, dict(asked)
        for name, value in shown.items():
            if value is None or name in kept:
                continue
            tenths = conditions.tenths.get(name, {}).get(str(kept["modality"]), "")
            counted = any(not tenth.startswith("0/") for tenth in tenths.split())
            if conditions.matching({**kept, name: value}) if name in conditions.categories else counted:
                kept[name] = value
        return {name: kept.get(name) for name in shown}

    def upscale(self, how: Upscale) -> EditJob:
        check_size(self.source, self.model.size, 1 if how.simulate else how.factor)

        def small(row: int) -> Images:
            pixels = np.asarray(self.source.pixels(row), np.uint8)
            return block_means(pixels, how.factor) if how.simulate else pixels

        def paint(batch: EditBatch) -> tuple[Images, None]:
            return upscaled(batch.images, self.prior(batch), how), None

        def settle(mean: NDArray[np.float32], row: int) -> Images:
            return fitted(mean[None], small(row)[None], how.factor)[0]

        return EditJob(
            paint,
            self.wanted,
            small,
            lambda row: {"edit_factor": float(how.factor)},
            settle,
            truth=self._pixels if how.simulate else None,
        )

    def denoise(self, how: Denoise) -> EditJob:
        check_size(self.source, self.model.size)
        if how.simulate and how.sigma is None:
            raise ConfigError("--simulate adds noise, and --sigma says how much, for instance --sigma 20.")
        law: Law = how.law or "gaussian"

        def noisy(row: int) -> Images:
            pixels = np.asarray(self.source.pixels(row), np.uint8)
            rng = np.random.default_rng([how.seed, row])
            return add_noise(pixels, how.sigma or 0, law, rng) if how.simulate else pixels

        found: dict[int, NoiseLevel] = {}

        def level(row: int) -> NoiseLevel:
            if row not in found:
                seen = None if how.sigma is not None and how.law else noise_level(noisy(row))
                sigma = how.sigma if how.sigma is not None else seen.sigma if seen else 0.0
                found[row] = NoiseLevel(sigma, how.law or (seen.law if seen else law))
            return found[row]

        def paint(batch: EditBatch) -> tuple[Images, None]:
            return denoised(batch.images, self.prior(batch), how, [level(row) for row in batch.rows]), None

        return EditJob(
            paint,
            self.wanted,
            noisy,
            lambda row: {"edit_sigma": round(level(row).sigma, 3), "edit_law": level(row).law},
            truth=self._pixels if how.simulate else None,
        )

    def inpaint(self, how: Inpaint) -> EditJob:
        check_size(self.source, self.model.size)
        holes = [hole_of(self.source, number, how) for number in range(len(self.source))]
        shows = self.changed(how.where, "--where") if how.where else self.wanted

        def paint(batch: EditBatch) -> tuple[Images, None]:
            there = [shows[row] for row in batch.rows]
            prior = Prior(self.model, there, batch.rngs, how.guidance)
            return inpainted(batch.images, prior, how, np.stack([holes[row] for row in batch.rows])), None

        def settle(mean: NDArray[np.float32], row: int) -> Images:
            return np.where(holes[row], np.rint(mean), self._pixels(row)).astype(np.uint8)

        def before(row: int) -> Images:
            return np.where(holes[row], 0, self._pixels(row)).astype(np.uint8)

        def columns(row: int) -> dict[str, Attribute]:
            return {"edit_area": how.area, "edit_area_pixels": float(holes[row].sum())}

        notes = self.doubts(shows) if how.where else ()
        return EditJob(
            paint,
            self.wanted,
            self._pixels,
            columns,
            settle,
            shows,
            before,
            self._pixels,
            notes,
            redrawn=self._everywhere if how.where else lambda row: holes[row],
        )

    def translate(self, how: Translate) -> EditJob:
        check_size(self.source, self.model.size)
        shows = self.changed(how.to, "--to")

        def paint(batch: EditBatch) -> tuple[Images, None]:
            return translated(batch.images, self.prior(batch), how, [shows[row] for row in batch.rows]), None

        return EditJob(
            paint, self.wanted, self._pixels, shows=shows, notes=self.doubts(shows), redrawn=self._everywhere
        )

    def vary(self, how: Vary) -> EditJob:
        check_size(self.source, self.model.size)
        if how.by == "embedding" and not self.model.embedding:
            learn = "Train one: phonybrains train … --embedding 64"
            raise ConfigError(f"--by embedding: this model has no embedding of images. {learn}.")
        by: dict[str, Attribute] = {"edit_by": how.by} if how.by == "embedding" else {"edit_strength": how.strength}
        return EditJob(
            lambda batch: (varied(batch.images, self.prior(batch), how), None),
            self.wanted,
            self._pixels,
            lambda row: by,
            redrawn=self._everywhere,
        )

    def explain(self, how: Explain) -> EditJob:
        check_size(self.source, self.model.size)
        shows = self.changed(how.change, "--change")

        def paint(batch: EditBatch) -> tuple[Images, NDArray[np.float32]]:
            return explained(batch.images, self.prior(batch), how, [shows[row] for row in batch.rows])

        columns: dict[str, Attribute] = {"edit_strength": how.strength}
        return EditJob(
            paint,
            self.wanted,
            self._pixels,
            lambda row: columns,
            shows=shows,
            notes=self.doubts(shows),
            redrawn=self._everywhere,
        )

    def _everywhere(self, row: int) -> NDArray[np.bool_]:
        return np.ones((self.source.height, self.source.width), np.bool_)

    def _pixels(self, row: int) -> Images:
        return np.asarray(self.source.pixels(row), np.uint8)


def _noise(source: ImageSet, like: ImageSet) -> EditJob:
    """The noise of another set's images of the same modality, added."""
    modalities = sorted({row.modality for row in source.rows})
    profiles: dict[str, NoiseProfile] = {}
    for modality in modalities:
        target = like.where(modality=modality)
        if not len(target):
            raise ConfigError(f"--like {like.folder} has no {modality} image, whose noise {source.folder} is to have.")
        chosen = np.random.default_rng(0).permutation(len(target))[:200]
        profiles[modality] = NoiseProfile.of([target.pixels(int(i)) for i in chosen])

    def paint(batch: EditBatch) -> tuple[Images, None]:
        made = []
        for row, image, rng in zip(batch.rows, batch.images, batch.rngs, strict=True):
            seed = int(torch.randint(2**31, (1,), generator=rng))
            made.append(adapt(image, profiles[source.rows[row].modality], np.random.default_rng(seed)).image)
        return np.stack(made), None

    noisier = sum(_is_noisier(source.pixels(i), profiles[row.modality]) for i, row in enumerate(source.rows))
    whole = count_of(len(source), "image")
    note = f"Of {whole}, {count_of(noisier, 'is', 'are')} noisier than those of --like and left alone: denoise first."
    wanted = [{"modality": row.modality} for row in source.rows]
    return EditJob(paint, wanted, lambda row: np.asarray(source.pixels(row), np.uint8), notes=[note] if noisier else [])


def _is_noisier(image: Pixels, profile: NoiseProfile) -> bool:
    power = tissue_power(image)
    return power is not None and deviation(power) > profile.sigma
