"""A GAN against the flow: as many operations of training, then quality, variety, copies and images a second.

Both learn axial, coronal and sagittal MR phantoms of 64×64 on the latents of the shipped autoencoder, told the plane
and the diagnosis, from the same generator's network. They are judged against other phantoms; beside them stand those
others once encoded and decoded, and training images.
"""

from __future__ import annotations

import json
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
SHAPE: dict[str, Any] = {"widths": (32, 64), "layers": 1}


def configured(kind: str, steps: int, batch: int, rate: float, penalty: float) -> TrainConfig:
    """The preset of each, with a network and a loop for minutes."""
    loop = {"steps": steps, "batch_size": batch, "learning_rate": rate, "warmup": 100, "averages": (0.995,)}
    loop |= {"keep": "last", "validate_every": 10**6, "checkpoint_every": 10**6, "cooldown": 0.5}
    denoiser = {"variants": 2, "shape": SHAPE, "loop": loop}
    critic: dict[str, Any] = {"critic": {"widths": (32, 64), "penalty": penalty}} if kind == "gan" else {}
    return load_train_config("gan" if kind == "gan" else "cpu", precision="fp32", denoiser=denoiser, **critic)


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
    value, error = kid(deep, other)
    copies = watch.figures(torch.from_numpy(to_unit_range(made))[:, None], ["MR"] * len(made))
    near = int(copies["nearer than 99 % of validation"])
    recall, precision = (getattr(neighbourhoods(deep, other), name) for name in ("recall", "precision"))
    said = {"KID": f"{value:.0f} ± {error:.0f}", "recall": round(recall, 3), "precision": round(precision, 3)}
    return said | {"n": len(made), "nearer to training than 99 % of validation": near}


app = measurement(__name__, __doc__)


@app.default
def main(
    *, out: Path, features: Path, flow_steps: int = 600, rate: float = 5e-4, penalty: float = 1.0, batch: int = 16
) -> None:
    """Train both and judge them.

    Args:
        out: Folder for everything.
        features: SqueezeNet weights (safetensors, torchvision's names).
        flow_steps: Of the flow's training; the GAN makes as many as cost the same.
        rate: The GAN's learning rate; the flow's is 1e-3.
        penalty: Weight of the GAN's gradient penalties.
        batch: Images in a step.
    """
    how: dict[str, Any] = {"size": SIZE, "modalities": ("MR",)}
    images = ImageSet.open(make_phantoms(1500, out / "corpus", seed=0, **how))
    others = ImageSet.open(make_phantoms(300, out / "others", seed=1, **how))
    real = np.stack([others.pixels(i) for i in range(len(others))])
    heads, squeeze, found = LatentDiffusion.load("heads"), SqueezeNetFeatures(features), dict[str, Any]()
    (out / "work").mkdir(exist_ok=True)
    corpus = Corpus.open(images, check_corpus(images, NAMES, SIZE), out / "work", CPU)
    encoding = configured("flow", 1, batch, 1e-3, penalty)
    list(encode_latents(heads.autoencoder, corpus, encoding.denoiser, 0, out / "work" / "latents.safetensors", CPU))
    latents, watch = load_latents(out / "work" / "latents.safetensors", corpus), CopyWatch.of(corpus)
    costs = {kind: operations(learner(kind, corpus, latents, encoding)[1]) for kind in ("flow", "gan")}
    for kind, own in (("flow", 1e-3), ("gan", rate)):
        steps = round(flow_steps * costs["flow"] / costs[kind])
        config = configured(kind, steps, batch, own, penalty)
        denoiser, task = learner(kind, corpus, latents, config)
        work = out / "work" / f"{kind}-{steps}-{own:g}-{penalty:g}"
        work.mkdir(exist_ok=True)
        begun = time.process_time()
        with accelerating(config, out / "work") as accelerator:
            list(fit(task, config.denoiser.loop, 0, work, accelerator))
        spent = time.process_time() - begun
        parts = (heads.autoencoder, denoiser, corpus.conditions, latents.scale, CHAINS[kind], SIZE)
        model = LatentDiffusion(*parts, steps=1 if kind == "gan" else 16).to("cpu")
        wanted = [model.conditions.of(row) for row in others.rows]
        for walk in (1,) if kind == "gan" else (16, 4, 1):
            begun = time.process_time()
            made = np.stack(list(model.paint(range(len(wanted)), wanted, Sampling(0, walk, precision="fp32"))))
            a_second = len(made) / (time.process_time() - begun)
            contact_sheet(made[:32], out / f"{kind}-{walk}.png", columns=8)
            about = {"training steps": steps, "of CPU, s": round(spent), "images a CPU second": round(a_second, 1)}
            found[f"{kind}, {walk} steps"] = judged(made, real, watch, squeeze) | about
            print(found[f"{kind}, {walk} steps"], flush=True)
    train = np.stack([images.pixels(int(i)) for i in corpus.train[: len(real)]])
    model.scale = latents.scale
    coded = model.decode(model.encode(to_unit_range(real)[:, None], ["MR"] * len(real)), ["MR"] * len(real))
    for name, shown in (("encoded and decoded", coded), ("training images", train)):
        found[name] = judged(shown, real, watch, squeeze)
    text = json.dumps(found | {"operations a step": costs}, indent=1)
    (out / "gan.json").write_text(text + "\n", encoding="utf-8")
    print(text)
