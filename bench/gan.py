"""A GAN against the flow: as many operations of training, then quality, variety, copies and images a second.

Both learn MR phantoms of 64×64 on the latents of the shipped autoencoder, told plane and diagnosis, by networks of one
shape. They are judged against other phantoms; beside them stand those once encoded and decoded.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator
from torch.utils.flop_counter import FlopCounterMode

from phonybrains.evaluation.features.extractors import SqueezeNetFeatures
from phonybrains.evaluation.quality.distances import kid
from phonybrains.evaluation.quality.neighbours import neighbourhoods
from phonybrains.imageset import ImageSet, to_unit_range
from phonybrains.model.chains import CHAINS
from phonybrains.model.latent_diffusion import LatentDiffusion
from phonybrains.model.sampling import Sampling
from phonybrains.networks.critic import Critic
from phonybrains.networks.denoiser import Denoiser, build_embedding, build_unet
from phonybrains.optimising.loop import fit
from phonybrains.optimising.processes import accelerating
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.reporting.sheets import contact_sheet
from phonybrains.training import augment
from phonybrains.training.config import TrainConfig, load_train_config
from phonybrains.training.copies import CopyWatch
from phonybrains.training.corpus import Corpus, check_corpus
from phonybrains.training.denoiser import DenoiserTask
from phonybrains.training.gan import Adversaries, GanTask
from phonybrains.training.latents import Latents, encode_latents, load_latents

from .options import measurement

SIZE, CPU, NAMES = 64, torch.device("cpu"), ("plane", "diagnosis")
WIDTHS, RATES = (32, 64), {"flow": 1e-3, "gan": 1e-3}
HOW: dict[str, Any] = {"size": SIZE, "modalities": ("MR",)}


def configured(kind: str, steps: int) -> TrainConfig:
    """The preset of each, with networks and a loop for minutes."""
    loop = {"steps": steps, "batch_size": 16, "learning_rate": RATES[kind], "warmup": 100, "averages": (0.995,)}
    loop |= {"keep": "last", "validate_every": 10**6, "checkpoint_every": 10**6, "cooldown": 0.5}
    parts: dict[str, Any] = {"denoiser": {"variants": 2, "shape": {"widths": WIDTHS, "layers": 1}, "loop": loop}}
    parts |= {"critic": {"widths": WIDTHS}} if kind == "gan" else {}
    return load_train_config("gan" if kind == "gan" else "cpu", precision="fp32", **parts)


def learner(kind: str, corpus: Corpus, latents: Latents, config: TrainConfig) -> tuple[Denoiser, DenoiserTask]:
    """The network that will make images, and the task that trains it."""
    torch.manual_seed(0)
    channels, width = latents.values.shape[2], corpus.conditions.width
    unet = build_unet(config.denoiser.shape, channels, SIZE // 8)
    denoiser = Denoiser(unet, build_embedding(unet, width, augment.WIDTH))
    denoiser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rest = (corpus, latents, CHAINS[kind], config.denoiser, CPU)
    if kind == "flow":
        return denoiser, DenoiserTask(denoiser, *rest)
    critic = Critic(channels, SIZE // 8, width, augment.WIDTH, config.critic.widths, config.critic.layers)
    return denoiser, GanTask(Adversaries(denoiser, critic, CHAINS[kind], config.critic.penalty), *rest)


def operations(task: DenoiserTask) -> int:
    """Those of one step of training, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        task.loss(task.network, Generator().manual_seed(0), slice(None)).backward()
    task.network.zero_grad(set_to_none=True)
    return counter.get_total_flops()


def judged(made: NDArray[Any], real: NDArray[Any], watch: CopyWatch, squeeze: Any) -> dict[str, Any]:
    """KID and recall against real images, and how many come nearer to a training image than these usually do."""
    deep, other = squeeze(made), squeeze(real)
    (value, error), around = kid(deep, other), neighbourhoods(deep, other)
    copies = watch.figures(torch.from_numpy(to_unit_range(made))[:, None], ["MR"] * len(made))
    found = {"KID": round(value), "±": round(error), "recall": around.recall, "precision": around.precision}
    return found | {"n": len(made), "nearer than 99 % of validation": copies["nearer than 99 % of validation"]}


app = measurement(__name__, __doc__)


@app.default
def main(*, out: Path, features: Path, flow_steps: int = 600) -> None:
    """Train both and judge them.

    Args:
        out: Folder for everything.
        features: SqueezeNet weights (safetensors, torchvision's names).
        flow_steps: Of the flow's training; the GAN makes as many as cost the same.
    """
    images, others = (ImageSet.open(make_phantoms(n, out / f"of-{n}", seed=n, **HOW)) for n in (1500, 300))
    real, modalities = np.stack([others.pixels(i) for i in range(len(others))]), ["MR"] * len(others)
    heads, squeeze, work = LatentDiffusion.load("heads"), SqueezeNetFeatures(features), out / "work"
    work.mkdir(exist_ok=True)
    corpus, cache = Corpus.open(images, check_corpus(images, NAMES, SIZE), work, CPU), work / "latents.safetensors"
    list(encode_latents(heads.autoencoder, corpus, configured("flow", 1).denoiser, 0, cache, CPU))
    latents, watch, found = load_latents(cache, corpus), CopyWatch.of(corpus), dict[str, Any]()
    costs = {kind: operations(learner(kind, corpus, latents, configured(kind, 1))[1]) for kind in RATES}
    for kind, cost in costs.items():
        steps = round(flow_steps * costs["flow"] / cost)
        config, begun = configured(kind, steps), time.process_time()
        denoiser, task = learner(kind, corpus, latents, config)
        with tempfile.TemporaryDirectory() as folder, accelerating(config, work) as accelerator:
            list(fit(task, config.denoiser.loop, 0, Path(folder), accelerator))
        spent = {"training steps": steps, "of CPU, s": round(time.process_time() - begun)}
        parts = (heads.autoencoder, denoiser, corpus.conditions, latents.scale, CHAINS[kind], SIZE)
        model = LatentDiffusion(*parts, steps=1).to("cpu")
        wanted = [model.conditions.of(row) for row in others.rows]
        for walk in (1,) if kind == "gan" else (16, 4, 1):
            begun = time.process_time()
            made = np.stack(list(model.paint(range(len(wanted)), wanted, Sampling(0, walk, precision="fp32"))))
            fast = {"images a CPU second": round(len(made) / (time.process_time() - begun), 1)}
            contact_sheet(made[:32], out / f"{kind}-{walk}.png", columns=8)
            found[f"{kind}, {walk} steps"] = judged(made, real, watch, squeeze) | spent | fast
        coded = model.decode(model.encode(to_unit_range(real)[:, None], modalities), modalities)
        found["encoded and decoded"] = judged(coded, real, watch, squeeze)
    text = json.dumps(found | {"operations a step": costs}, indent=1, ensure_ascii=False)
    (out / "gan.json").write_text(text + "\n", encoding="utf-8")
    print(text)
