"""The systems that the paper stands on, trained at equal compute on one corpus of phantoms, in one table.

    python -m bench systems --out systems/ --features squeezenet.safetensors

Axial MR phantoms of 64×64, told diagnosis and the area of the ventricles. All but one learn on the latents of the
shipped autoencoder, the other on pixels; each takes as many steps as cost as many operations, counted, as the
flow's, what it learns besides (a classifier, a prior) included. All are asked for what phantoms kept apart show, and
judged against these, once encoded and decoded. Then what only that system does. The same command goes on where it
stopped.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.flop_counter import FlopCounterMode

from phonybrains.editing.config import Inpaint, Vary
from phonybrains.editing.jobs import job_of
from phonybrains.evaluation.features.extractors import SqueezeNetFeatures
from phonybrains.evaluation.features.handcrafted import handcrafted
from phonybrains.evaluation.quality.distances import frechet_of, kid, standardise
from phonybrains.evaluation.quality.neighbours import neighbourhoods
from phonybrains.evaluation.utility.classifier import learn
from phonybrains.imageset import ImageSet, to_unit_range, write_metadata
from phonybrains.model.latent_diffusion import LatentDiffusion, image_rng
from phonybrains.model.sampling import Sampling
from phonybrains.predicting.stage import predict_train
from phonybrains.record import read_record
from phonybrains.reporting.sheets import contact_sheet
from phonybrains.scoring.config import ScoreConfig
from phonybrains.scoring.likelihood import bits_per_dim
from phonybrains.training.config import TrainConfig, load_train_config
from phonybrains.training.copies import CopyWatch
from phonybrains.training.corpus import Corpus, check_corpus
from phonybrains.training.stage import train

from .editing import painted, stack
from .masks import OFF, axial_phantoms, untaught
from .options import chosen, measurement
from .timing import table, use_threads

SIZE, NAMES, AREA, LABEL = 64, ("diagnosis", "ventricle_area_mm2"), "ventricle_area_mm2", "diagnosis"
Images, Floats = NDArray[np.uint8], NDArray[np.float64]
NEVER = 10**9


def loop(steps: int, **how: Any) -> dict[str, Any]:
    each = {"batch_size": 32, "learning_rate": 1e-3, "warmup": 100, "cooldown": 0.5, "averages": (0.998,)}
    return each | {"steps": steps, "keep": "last", "validate_every": NEVER, "checkpoint_every": 200} | how


@dataclass(frozen=True)
class System:
    """How one is trained and asked: rounds, each a step of its denoiser, with steps of what else it learns."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    preset: str = "cpu"
    widths: tuple[int, ...] = (64, 64)
    besides: Mapping[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)
    """Part, and its steps to each of the denoiser's."""
    how: Mapping[str, Any] = field(default_factory=lambda: {"steps": 16})

    def config(self, rounds: int, start: Path) -> TrainConfig:
        denoiser = {"variants": 1, "shape": {"widths": self.widths, "layers": 1, "dropout": 0.0}}
        rate = {"learning_rate": 5e-4, "warmup": 100} if self.preset == "gan" else {}
        parts: dict[str, Any] = {"denoiser": denoiser | {"loop": loop(rounds, **rate)}, "few_step": OFF, "texture": OFF}
        parts |= {
            name: rest | {"loop": loop(max(1, round(share * rounds)))} for name, (share, rest) in self.besides.items()
        }
        parts |= {"conditions": NAMES, "min_patients": 0, "precision": "fp32"}  # phantoms are nobody
        if "autoencoder" not in self.settings:
            parts |= {"autoencoder": OFF | {"crop": SIZE}, "start": str(start)}
        return load_train_config(self.preset, **(parts | dict(self.settings)))


SYSTEMS = {
    "flow": System(),
    "DDPM, latents": System({"diffusion": "ddpm"}, how={"steps": 250}),
    "DDPM, pixels": System(
        {"diffusion": "ddpm", "autoencoder": OFF | {"kind": "none", "patch": 4}},
        "ddpm",
        (32, 64, 64),
        how={"steps": 250},
    ),
    "guided": System(
        besides={"classifier": (0.5, {"attribute": LABEL})}, how={"steps": 16, "classifier_guidance": 2.0}
    ),
    "unCLIP": System(besides={"embedding": (1.0, {"dim": 16})}),
    "GAN": System({"critic": {"widths": (64, 64)}}, "gan", how={"steps": 1}),
}


def operations(system: System, corpus: ImageSet, start: Path) -> float:
    """Those of a round of training: what a training of six rounds costs more than one of two, by four."""
    costs = []
    for rounds in (2, 6):
        with tempfile.TemporaryDirectory() as work, FlopCounterMode(display=False) as counter:
            train(corpus.folder, Path(work) / "model", system.config(rounds, start), show=False)
        costs.append(counter.get_total_flops())
    return (costs[1] - costs[0]) / 4


def first(images: ImageSet, n: int, out: Path) -> ImageSet:
    """A small set of some training rows, for counting."""
    rows = [row for row in images.rows if row.split == "train"][:n]
    if not out.is_dir():
        for row in rows:
            (out / row.file_name).parent.mkdir(parents=True, exist_ok=True)
            (out / row.file_name).write_bytes((images.folder / row.file_name).read_bytes())
        (out / "record.json").write_bytes((images.folder / "record.json").read_bytes())
        write_metadata(out, [replace(row, mask_file_name="", mask_sha256="") for row in rows])
    return ImageSet.open(out)


def columns(images: ImageSet) -> tuple[Floats, NDArray[np.int64]]:
    """Areas and diagnoses of rows, as numbers."""
    known = sorted({str(row[LABEL]) for row in images.rows})
    return np.array([float(row[AREA]) for row in images.rows]), np.array(
        [known.index(str(r[LABEL])) for r in images.rows]
    )


@dataclass(frozen=True)
class Judge:
    """Says of images that were asked for what the phantoms kept apart show how good they are."""

    corpus: ImageSet
    held: ImageSet
    decoded: Images
    """These phantoms, encoded and decoded."""
    watch: CopyWatch
    network: SqueezeNetFeatures

    def features(self, images: Images) -> tuple[Floats, Floats]:
        """SqueezeNet's of images enlarged twice, and handcrafted ones, which no loss has seen."""
        return self.network(images.repeat(2, 1).repeat(2, 2)).astype(float), handcrafted(images).astype(float)

    @cached_property
    def real(self) -> tuple[Floats, Floats]:
        return self.features(self.decoded)

    @cached_property
    def rulers(self) -> tuple[Any, Floats, NDArray[np.int64]]:
        """A regression of the area, features and diagnoses of training phantoms."""
        taught = self.corpus.where(split="train")
        area, label = columns(taught)
        known = np.hstack(self.features(stack(taught)))
        return make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 5, 11))).fit(known, area), known, label

    def __call__(self, images: Images) -> dict[str, float]:
        """The figures of images (n, H, W), one to each phantom kept apart."""
        deep, plain = self.features(images)
        scaled = [standardise(x, self.real[1]) for x in (plain, self.real[1])]
        found: dict[str, float] = {}
        found["KID"], found["±"] = kid(deep, self.real[0])
        found["FD, handcrafted"] = frechet_of(*scaled)
        around = neighbourhoods(deep, self.real[0])
        found |= {"precision": around.precision, "recall": around.recall}
        near = self.watch.figures(torch.from_numpy(to_unit_range(images))[:, None], ["MR"] * len(images))
        found["copies"] = near["nearer than 99 % of validation"] / len(images)
        ruler, known, label = self.rulers
        seen, (area, truth) = np.hstack([deep, plain]), columns(self.held)
        found["area r"] = float(np.corrcoef(ruler.predict(seen), area)[0, 1])
        told = learn(known, label, int(label.max()) + 1, seen, seed=0).argmax(1)
        found["diagnosis"] = float((told == truth).mean())
        return found


def drawn(model: LatentDiffusion, held: ImageSet, how: Mapping[str, Any]) -> tuple[Images, float]:
    """One image to each phantom kept apart, and how many a second of CPU were made."""
    wanted, begun = [model.conditions.of(row) for row in held.rows], time.process_time()
    sampling = Sampling(**{"seed": 0, "batch_size": 50, "precision": "fp32"} | dict(how))
    images = np.stack(list(model.paint(range(len(wanted)), wanted, sampling)))
    return images, len(images) / (time.process_time() - begun)


def told_apart(model: LatentDiffusion, held: ImageSet, n: int = 48) -> str:
    """Score: AUC of the bits of phantoms changed against those as they are."""
    images, wanted = stack(held)[:n], [model.conditions.of(row) for row in held.rows[:n]]
    n = len(images)

    def bits(changed: Images) -> Floats:
        rngs = [image_rng(0, i) for i in range(len(changed))]
        return np.array(bits_per_dim(model, to_unit_range(changed)[:, None], wanted, rngs, ScoreConfig(steps=8)))

    usual, said = bits(images), []
    for name, changed in {"inverted": 255 - images, "upside down": images[:, ::-1]}.items():
        ranks = rankdata(np.concatenate([usual, bits(np.ascontiguousarray(changed))]))
        auc = (ranks[n:].sum() - n * (n + 1) / 2) / n**2
        said.append(f"{name} {auc:.2f}")
    return f"AUC of bits ({n}): {', '.join(said)}"


def hole(model: LatentDiffusion, held: ImageSet, n: int = 40) -> str:
    """Inpainting: mean error in a hole of 16×16, beside biharmonic filling."""
    from skimage.restoration import inpaint_biharmonic

    source, where = replace(held, rows=held.rows[:n]), np.zeros((SIZE, SIZE), bool)
    where[24:40, 24:40] = True
    truth = stack(source)
    how = Inpaint(area="hole", hole=(24, 24, 16, 16))
    made = painted(job_of(source, how, model), source, how, 1)[0]
    smooth = [255 * inpaint_biharmonic(np.where(where, 0, x) / 255, where) for x in truth]
    ours, plain = (np.abs(np.asarray(x, float) - truth)[:, where].mean() for x in (made, smooth))
    return f"hole ({n}): {ours:.1f} grey levels, biharmonic {plain:.1f}"


def by_chain(model: LatentDiffusion, judge: Judge) -> str:
    """DDPM: KID in 16 steps of DDIM, where its chain takes 250."""
    found = judge(drawn(model, judge.held, {"steps": 16, "sampler": "ddim"})[0])
    return f"DDIM of 16 steps: KID {found['KID']:.0f}"


def led(model: LatentDiffusion, judge: Judge) -> str:
    """Guided diffusion: the diagnosis found, and recall, by strength."""
    found = {s: judge(drawn(model, judge.held, {"steps": 16, "classifier_guidance": s})[0]) for s in (0.0, 4.0, 8.0)}
    return "diagnosis, recall by strength " + ", ".join(
        f"{s:g}: {one['diagnosis']:.2f}, {one['recall']:.2f}" for s, one in found.items()
    )


def alike(model: LatentDiffusion, judge: Judge) -> str:
    """unCLIP: whether an image under the embedding of a phantom is nearer to it than one that the prior draws."""
    how = Vary(by="embedding", n=1)
    varied = painted(job_of(judge.held, how, model), judge.held, how, 1)[0]
    sets = varied, drawn(model, judge.held, {"steps": 16})[0]
    own, other = (np.linalg.norm(judge.features(made)[0] - judge.real[0], axis=1) for made in sets)
    return f"nearer to its own: {(own < other).mean():.2f} of {len(own)}"


def predicted(corpus: ImageSet, out: Path) -> str:
    """CARD, as it is by default: the area of the ventricles of test phantoms, with an interval."""
    begun = time.process_time()
    model = predict_train(corpus.folder, out, attribute=AREA, show=False)
    test = read_record(model)["results"]["test"]
    return f"{json.dumps(test)}; {time.process_time() - begun:.0f} s of CPU"


def only(name: str, model: LatentDiffusion, judge: Judge) -> str:
    """What only this system does, measured."""
    if name == "flow":
        return f"{told_apart(model, judge.held)}; {hole(model, judge.held)}"
    if name.startswith("DDPM"):
        return by_chain(model, judge)
    return {"guided": led, "unCLIP": alike}[name](model, judge) if name in ("guided", "unCLIP") else ""


app = measurement(__name__, __doc__)


@app.default
def main(
    *, out: Path, features: Path, heads: int = 1333, flow_steps: int = 1000, systems: tuple[str, ...] = ()
) -> None:
    """Train, generate and judge; what is there already is not made again.

    Args:
        out: Folder for everything.
        features: SqueezeNet weights (safetensors, torchvision's names).
        heads: Phantoms; their axial slices make the corpus.
        flow_steps: Of the flow's training, 32 images each; the others take as many as cost the same.
        systems: Some by name, or all.
    """
    use_threads(1)
    corpus = ImageSet.open(axial_phantoms(out / "corpus", heads, seed=0, size=SIZE))
    held = replace(corpus, rows=tuple(row for row in corpus.rows if row.split in ("validation", "test")))
    start = untaught(out / "start", corpus.where(split="train"), NAMES, (64, 64))
    pilot, shipped = first(corpus, 64, out / "pilot"), LatentDiffusion.load("heads")
    modality = ["MR"] * len(held)
    decoded = shipped.decode(shipped.encode(to_unit_range(stack(held))[:, None], modality), modality)
    work = out / "work"
    work.mkdir(exist_ok=True)
    watch = CopyWatch.of(Corpus.open(corpus, check_corpus(corpus, NAMES, SIZE), work, torch.device("cpu")))
    judge = Judge(corpus, held, decoded, watch, SqueezeNetFeatures(features))
    kept = out / "systems.json"
    found: dict[str, Any] = json.loads(kept.read_bytes()) if kept.is_file() else {}
    for name in chosen(systems, SYSTEMS, "system"):
        if name in found:
            continue
        system, begun = SYSTEMS[name], time.process_time()
        cost = {each: operations(one, pilot, start) for each, one in SYSTEMS.items() if each in ("flow", name)}
        rounds = round(flow_steps * cost["flow"] / cost[name])
        model = LatentDiffusion.load(train(corpus.folder, out / name, system.config(rounds, start), show=False))
        spent = time.process_time() - begun
        images, rate = drawn(model, held, system.how)
        contact_sheet(list(images[:32]), out / f"{name}.png", columns=8, side=128)
        found[name] = judge(images) | {"images/s": rate, "rounds": rounds, "CPU s of training": spent}
        found[name]["only"] = only(name, model, judge)
        kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(name, found[name], flush=True)
    rulers = {key: value for key, value in judge(decoded).items() if key in ("copies", "area r", "diagnosis")}
    found.setdefault("phantoms kept apart, decoded", rulers)
    found.setdefault("CARD", {"only": predicted(corpus, out / "card")})
    kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    heads_of = list(next(iter(found.values())))
    print(
        table(["system", *heads_of], [[name, *(row.get(key, "") for key in heads_of)] for name, row in found.items()])
    )
