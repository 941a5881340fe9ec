"""The latent diffusion model: image i depends on (seed, i) alone, whatever else is asked for beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from phonybrains.diffusion.guidance import guide
from phonybrains.errors import ConfigError
from phonybrains.imageset import ImageSet, from_unit_range, to_unit_range
from phonybrains.model.chains import CHAINS
from phonybrains.model.latent_diffusion import LatentDiffusion, image_rng
from phonybrains.model.parts import LatentScale
from phonybrains.model.sampling import FEW, SAMPLER_NAMES, Sampling
from tests.support.mixture import seeded

TWO = LatentScale({"MR": ([1.0, -2.0], [0.5, 3.0]), "CT": ([10.0, 0.0], [2.0, 1.0])})


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> LatentDiffusion:
    """The tiny model with its weights disturbed, few-step ones too: so little trained, it would hardly listen."""
    loaded = LatentDiffusion.load(tiny_model)
    assert loaded.few_step
    with torch.no_grad():
        for parameter in (*loaded.denoiser.parameters(), *loaded.few_step.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=seeded(1)) * 0.03)
    return loaded


@pytest.fixture(scope="module")
def chain_model(model: LatentDiffusion) -> LatentDiffusion:
    """The same networks read as the paper's DDPM, which has no few-step weights."""
    return replace(model, chain=CHAINS["ddpm"], few_step=None)


both_weights = pytest.mark.parametrize("sampler", ["heun", "shortcut"])


def difference(a: np.ndarray, b: np.ndarray) -> int:
    """The largest difference in gray levels."""
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_image_rng_is_distinct_for_every_seed_and_index():
    """20,000 pairs of seed and index begin with 20,000 different states, and (0, 1) is not (1, 0)."""
    pairs = [(seed, i) for seed in range(100) for i in range(200)]
    assert len({image_rng(*pair).initial_seed() for pair in pairs}) == len(pairs)
    draws = {torch.randn(4, generator=image_rng(*pair)).numpy().tobytes() for pair in pairs[:2000]}
    assert len(draws) == 2000
    assert image_rng(0, 1).initial_seed() != image_rng(1, 0).initial_seed()
    assert image_rng(3, 4).initial_seed() == image_rng(3, 4).initial_seed()
    assert image_rng(2**32 - 1, 2**31).initial_seed() > 0


def test_image_rng_draws_are_standard_normal_across_indices():
    """The first numbers of neighbouring generators are independent normals, not one sequence shifted."""
    first = torch.stack([torch.randn(8, generator=image_rng(0, i)) for i in range(4000)])
    assert first.mean().item() == pytest.approx(0, abs=0.02)
    assert first.std().item() == pytest.approx(1, abs=0.02)
    neighbours = torch.corrcoef(torch.stack([first[:-1, 0], first[1:, 0], first[:-1, 1], first[1:, 1]]))
    assert (neighbours - torch.eye(4)).abs().max() < 0.07


def test_latent_scale_by_hand():
    """Each image is standardised with its own modality's mean and deviation of each channel; restoring undoes it."""
    latents = torch.tensor([[1.5, 1.0], [12.0, 1.0]])[:, :, None, None].expand(2, 2, 3, 3)
    assert torch.equal(TWO.standardise(latents, ["MR", "CT"]), torch.ones(2, 2, 3, 3))
    latents = torch.randn(5, 2, 4, 4, generator=seeded()) * 30
    names = ["CT", "MR", "MR", "CT", "CT"]
    torch.testing.assert_close(TWO.restore(TWO.standardise(latents, names), names), latents)


def test_latent_scale_without_a_modality():
    """A modality that is missing or unknown gets the first one's statistics, not an error in the middle."""
    missing, unknown, first = TWO.standardise(torch.ones(3, 2, 1, 1), [None, "PET", "MR"])
    torch.testing.assert_close(missing, first)
    torch.testing.assert_close(unknown, first)


def test_encode_gives_standardised_latents(tiny_model: Path, phantom_corpus: Path):
    """Over the training images of each modality, the latents have mean 0 and deviation 1 in every channel."""
    plain, images = LatentDiffusion.load(tiny_model), ImageSet.open(phantom_corpus).where(split="train")
    for modality in ("MR", "CT"):
        some = images.where(modality=modality)
        pixels = to_unit_range(np.stack([some.pixels(i) for i in range(len(some))]))[:, None]
        latents = plain.encode(pixels, [modality] * len(some))
        assert latents.shape == (len(some), *plain.latent_shape)
        torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(4), rtol=0, atol=0.02)
        torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(4), rtol=0, atol=0.02)


def test_decode_after_encode_is_the_bare_autoencoder(tiny_model: Path, phantom_corpus: Path):
    """The latent scale cancels: what comes back is what the autoencoder alone would give, to one gray level."""
    plain, images = LatentDiffusion.load(tiny_model), ImageSet.open(phantom_corpus)
    pixels = to_unit_range(np.stack([images.pixels(i) for i in range(8)]))[:, None]
    names = [row.modality for row in images.rows[:8]]
    assert set(names) == {"MR", "CT"}
    back = plain.decode(plain.encode(pixels, names), names)
    with torch.inference_mode():
        bare = plain.autoencoder(torch.from_numpy(pixels)).sample[:, 0].numpy()
    assert back.shape == (8, 64, 64)
    assert back.dtype == np.uint8
    assert difference(back, from_unit_range(bare)) <= 1
    assert back.std() > 10


@pytest.mark.parametrize("settings", [{"sampler": "heun", "guidance": 2.0}, {"sampler": "shortcut"}], ids=str)
def test_images_do_not_depend_on_the_batch(model: LatentDiffusion, settings: dict):
    """Batches of 1, 3 and 16: within one gray level, and the same conditions."""
    made = [model.generate(7, {}, seed=3, steps=3, batch_size=b, **settings) for b in (1, 3, 16)]
    assert made[0].images.shape == (7, 64, 64)
    assert made[0].images.std() > 5
    assert max(difference(m.images, made[0].images) for m in made) <= 1
    assert made[0].conditions == made[1].conditions == made[2].conditions


def test_image_i_is_the_same_alone(model: LatentDiffusion):
    """Image 5 of 7 is image 5 made by itself, with noise drawn anew at every step too."""
    for sampling in (Sampling(seed=3, steps=3, sampler=name) for name in ("heun", "adams", "ddpm", "shortcut")):
        wanted = model.ask(range(7), {}, 3)
        together = list(model.paint(range(7), wanted, sampling))
        alone = next(model.paint([5], model.ask([5], {}, 3), sampling))
        assert difference(together[5], alone) <= 1


def test_seed_and_index_change_the_image(model: LatentDiffusion):
    """The same seed gives the same images, another seed or index others; zero images are an empty array."""
    a, b, other = (model.generate(3, {"modality": "MR"}, seed=s, steps=2).images for s in (1, 1, 2))
    assert model.generate(0).images.shape == (0, 64, 64)
    assert (a == b).all()
    assert difference(a, other) > 10
    assert difference(a[0], a[1]) > 10


def test_what_is_asked_for_is_in_the_conditions(model: LatentDiffusion):
    """Asked values are kept in every image; what was not asked is drawn per image."""
    made = model.generate(6, {"modality": "CT", "age_years": "50"}, steps=1)
    assert all(c["modality"] == "CT" and c["age_years"] == 50.0 and c["plane"] == "axial" for c in made.conditions)
    assert len({str(c) for c in model.generate(12, {}, steps=1).conditions}) > 2


@both_weights
def test_conditions_reach_the_network(model: LatentDiffusion, sampler: str):
    """The same noise under another condition is another image."""
    wanted = [model.ask([0, 1], {"modality": m}, 1) for m in ("MR", "CT")]
    a, b = (list(model.walk([0, 1], w, Sampling(seed=1, steps=2, sampler=sampler)))[-1] for w in wanted)
    assert (a - b).abs().max() > 0.03


def test_guidance_one_is_the_plain_model(model: LatentDiffusion):
    """Guidance 1 is the conditional prediction to the bit, 0 the unconditional one, others lie on the line of both."""
    x = torch.randn(3, *model.latent_shape, generator=seeded())
    t = torch.full((3,), 0.6, dtype=torch.float64)
    c = model.conditions.encode([{"modality": "CT", "plane": "axial"}] * 3)
    null = model.conditions.null(3)
    with torch.inference_mode():
        plain, without = model.predict(x, t, c), model.predict(x, t, null)
        assert torch.equal(guide(model.predict, c, null, 1.0)(x, t), plain)
        torch.testing.assert_close(guide(model.predict, c, null, 0.0)(x, t), without, rtol=1e-4, atol=1e-4)
        strong = guide(model.predict, c, null, 3.0)(x, t)
        torch.testing.assert_close(strong, without + 3 * (plain - without), rtol=1e-4, atol=1e-4)
    assert (plain - without).abs().max() > 0.01


def test_guidance_changes_generated_images(model: LatentDiffusion):
    """`guidance` reaches the sampler: one that is named, and the one for more steps than the few-step weights serve."""
    for settings in ({"steps": 2, "sampler": "heun"}, {"steps": FEW + 1}):
        one, three = (model.generate(2, {"modality": "CT"}, guidance=g, **settings).images for g in (1.0, 3.0))
        assert difference(one, three) > 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "steps 0: it is a whole number from 1"),
        ({"batch_size": 0}, "batch_size 0: it is a whole number from 1"),
        ({"sampler": "heunn"}, rf"sampler 'heunn' is not known\. Known: {', '.join(SAMPLER_NAMES)}\."),
        ({"steps": 4, "guidance": 2.0}, r"guidance 2: few-step weights have theirs built in\. Give more than 4 steps"),
        ({"steps": 9, "guidance": 0.5, "sampler": "shortcut"}, r"guidance 0\.5: few-step weights have theirs built in"),
        ({"where": {"plan": "axial"}}, r"no attribute 'plan'.*Did you mean plane\?"),
        ({"where": {"plane": "oblique"}}, "plane 'oblique' is not known"),
    ],
)
def test_wrong_settings_are_explained(model: LatentDiffusion, settings: dict, words: str):
    """Settings, attributes and values that are not known are errors that say what is possible."""
    with pytest.raises(ConfigError, match=words):
        model.generate(1, **settings)


def test_the_few_step_sampler_without_their_weights_is_explained(model: LatentDiffusion):
    """A model that has none says what to do."""
    with pytest.raises(ConfigError, match=r"sampler 'shortcut': this model has no few-step weights\. Leave"):
        replace(model, few_step=None).generate(1, sampler="shortcut")


def test_steps_choose_the_weights(model: LatentDiffusion, chain_model: LatentDiffusion):
    """Few-step weights up to 4 steps, the denoiser beyond; the model's own number; a sampler that is named wins."""

    def settled(chosen: LatentDiffusion, **sampling: Any) -> tuple[int | None, str]:
        found = chosen.settle(Sampling(**sampling))
        assert chosen.settle(found) == found
        return found.steps, found.sampler

    assert settled(model) == (16, "adams")
    assert [settled(model, steps=n)[1] for n in range(1, 7)] == ["shortcut"] * 4 + ["adams"] * 2
    assert settled(replace(model, steps=3)) == (3, "shortcut")
    assert settled(replace(model, steps=3), steps=12) == (12, "adams")
    assert settled(replace(model, steps=3), guidance=2.0) == (16, "adams")
    assert settled(replace(model, steps=3), sampler="heun") == (16, "heun")
    assert settled(replace(model, steps=3, few_step=None), sampler="heun") == (3, "heun")
    assert settled(model, steps=2, sampler="heun") == (2, "heun")
    assert settled(model, steps=2, sampler="euler", guidance=3.0) == (2, "euler")
    assert settled(model, steps=9, sampler="shortcut") == (9, "shortcut")
    assert settled(replace(model, few_step=None), steps=2) == (2, "adams")
    assert settled(chain_model, steps=2) == (2, "ddpm")


def test_few_steps_are_jumps_of_the_few_step_weights(model: LatentDiffusion):
    """Each is told when it begins and how long it is; with a velocity that stays the same, they go straight to x - v.

    The denoiser is not asked; where a sampler of its own is named, it alone is.
    """

    class Straight(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.told: list[list[float]] = []

        def forward(self, x: Tensor, t: Tensor, condition: Tensor, length: Tensor) -> Tensor:
            self.told.append([*t.tolist(), *length[:, 0].tolist()])
            return torch.full_like(x, 0.3) + condition.sum()

    few, wanted = Straight(), [{"modality": "CT"}]
    jumping = replace(model, few_step=few, denoiser=torch.nn.Linear(1, 1))  # type: ignore[arg-type]
    for steps in (1, 2, 4):
        noise, *_, end = jumping.walk([5], wanted, Sampling(seed=2, steps=steps))
        velocity = 0.3 + model.conditions.encode(wanted).sum()
        torch.testing.assert_close(end, noise - velocity, rtol=0, atol=1e-5)
        times = model.chain.times(steps)
        assert few.told == [pytest.approx([t, t - r]) for t, r in pairwise(times)]
        few.told.clear()
    list(replace(jumping, denoiser=model.denoiser).walk([5], wanted, Sampling(seed=2, steps=2, sampler="heun")))
    assert few.told == []


@pytest.mark.parametrize("sampler", ["", "ddim", "ddpm", "heun", "adams", "euler"])
def test_the_paper_chain_generates(chain_model: LatentDiffusion, sampler: str):
    """A DDPM model works with every sampler and with a step number that does not divide 1000."""
    made = chain_model.generate(2, steps=7, sampler=sampler).images
    assert made.shape == (2, 64, 64)
    assert made.std() > 1


def test_the_paper_chain_has_a_thousand_steps(chain_model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch):
    """1000 steps are the whole chain, each time once; one more is refused."""
    seen: list[int] = []

    def predict(self: LatentDiffusion, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        seen.extend(t.tolist())
        return x_t

    monkeypatch.setattr(LatentDiffusion, "predict", predict)
    walk = chain_model.walk([0], chain_model.ask([0], {}, 0), Sampling(steps=1000, sampler="ddpm"))
    assert sum(1 for _ in walk) == 1001
    assert seen == list(range(1000, 0, -1))
    with pytest.raises(ConfigError, match=r"steps 1001: this model's chain has 1000 steps\."):
        chain_model.generate(1, steps=1001)


@both_weights
def test_walk_is_the_film_of_the_reverse_process(model: LatentDiffusion, sampler: str):
    """`steps` + 1 frames, the first pure noise of the image's own generator, the last what is decoded."""
    wanted = model.ask([4, 9], {}, 2)
    sampling = Sampling(seed=2, steps=3, sampler=sampler, precision="fp32")
    frames = list(model.walk([4, 9], wanted, sampling))
    assert len(frames) == 4
    for frame, index in zip(frames[0], (4, 9), strict=True):
        assert torch.equal(frame, torch.randn(model.latent_shape, generator=image_rng(2, index)))
    painted = np.stack(list(model.paint([4, 9], wanted, sampling)))
    assert (model.decode(frames[-1], [c["modality"] for c in wanted]) == painted).all()


@pytest.mark.parametrize("name", ["flow", "ddpm"])
def test_diffuse_is_the_film_of_the_forward_process(model: LatentDiffusion, name: str):
    """From the latents themselves, to the bit, to noise that no longer knows them, with one noise all the way."""
    noisy = replace(model, chain=CHAINS[name])
    latents = torch.full((2, *model.latent_shape), 3.0)
    film = noisy.diffuse(latents, 4, seed=7)
    assert len(film) == 5
    assert torch.equal(film[0], latents)
    noise = torch.randn(latents.shape, generator=image_rng(7, 0))
    torch.testing.assert_close(film[-1], noise, rtol=0, atol=1e-6 if name == "flow" else 0.03)
    shares = [torch.corrcoef(torch.stack([f.flatten(), noise.flatten()]))[0, 1].item() for f in film[1:]]
    assert shares == pytest.approx([1, 1, 1, 1], abs=1e-4)
    deviations = [f.std().item() for f in film]
    assert deviations == sorted(deviations)
    assert all(torch.equal(a, b) for a, b in zip(film, noisy.diffuse(latents, 4, seed=7), strict=True))


def test_prediction_of_a_network_that_is_right(model: LatentDiffusion):
    """With a denoiser that answers the exact target, `predict` is the clean latents, in both kinds of diffusion."""
    for chain, t in (("flow", torch.tensor([0.3, 0.9])), ("ddpm", torch.tensor([1, 1000]))):
        kind = CHAINS[chain]
        x_0, noise = (torch.randn(2, *model.latent_shape, generator=seeded(s)) for s in (1, 2))
        a, s = kind.process.signal(t).float(), kind.process.noise(t).float()

        class Exact:
            target = kind.objective.target(x_0, noise, t, kind.process)

            def __call__(self, x_t: torch.Tensor, fraction: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
                assert fraction.max() <= 1
                return self.target

        exact = LatentDiffusion(model.autoencoder, Exact(), model.conditions, model.scale, kind, 64)  # type: ignore[arg-type]
        found = exact.predict(a * x_0 + s * noise, t, torch.zeros(2, model.conditions.width))
        torch.testing.assert_close(found, x_0, rtol=0, atol=2e-4)


def test_generation_leaves_the_global_generator_alone(model: LatentDiffusion):
    """A caller's own random numbers are not disturbed, and do not disturb."""
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    first = model.generate(1, seed=1, steps=2, sampler="ddpm").images
    assert torch.equal(torch.randn(3), expected)
    assert (model.generate(1, seed=1, steps=2, sampler="ddpm").images == first).all()


def test_modalities_share_no_scale(model: LatentDiffusion):
    """Decoding the same latents as MR and as CT gives different images: each has its own statistics."""
    latents = torch.randn(1, *model.latent_shape, generator=seeded())
    names: Sequence[str] = ("MR", "CT")
    mr, ct = (model.decode(latents, [name]) for name in names)
    assert difference(mr, ct) > 1
