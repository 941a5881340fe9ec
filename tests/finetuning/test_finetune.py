"""Fine-tuning Stable Diffusion: every family end to end, from a checkpoint and a corpus to images."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from phonybrains.errors import ConfigError, ModelError, TrainingError
from phonybrains.finetuning.stage import finetune
from phonybrains.generating.stage import generate
from phonybrains.imageset import ImageSet
from phonybrains.model.fine_tuned import FineTuned
from phonybrains.model.share import model_card
from phonybrains.model.summary import summary
from phonybrains.record import read_record
from phonybrains.release_gate import audit_status
from tests.support.stable_diffusion_files import KINDS, make_base

LOOP: dict[str, Any] = {"steps": 6, "batch_size": 4, "learning_rate": 3e-3, "warmup": 1, "validate_every": 6}
QUICK: dict[str, Any] = {"show": False, "precision": "fp32", "rank": 4, "steps": 3, "min_patients": 0, "loop": LOOP}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, phantom_corpus: Path) -> dict[str, Path]:
    """A fine-tuned model of every family; its base lies beside it."""
    folder = tmp_path_factory.mktemp("families")
    return {
        kind: finetune(str(make_base(folder / kind, kind)), phantom_corpus, folder / f"model-{kind}", **QUICK)
        for kind in KINDS
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_learns_and_paints(kind: str, made: dict[str, Path], tmp_path: Path):
    """Loss below that of the base; images of the corpus's size with their captions, 8-bit gray, of known modality."""
    card = json.loads((made[kind] / "finetune.json").read_text(encoding="utf-8"))["card"]
    assert card["validation loss"] < card["validation loss of the base as it was"]
    images = ImageSet.open(generate(made[kind], tmp_path / "set", 2, where={"modality": "CT"}, show=False))
    assert (images.height, images.bits, len(images)) == (64, 8, 2)
    for row in images.rows:
        assert row["prompt"].startswith("axial CT of the brain")
        assert (row.synthetic, row.modality, row.unit) == (True, "CT", "HU")
        assert (row["generator"], row["steps"]) == (f"model-{kind}", 3)


PLAIN = """
import sys, torch, numpy
import diffusers
assert "phonybrains" not in sys.modules
base, lora, out, guidance, seeds, prompt = sys.argv[1:]
pipeline = diffusers.DiffusionPipeline.from_pretrained(base)
pipeline.load_lora_weights(lora)
rngs = [torch.Generator().manual_seed(int(seed)) for seed in seeds.split()]
made = pipeline([prompt] * 2, generator=rngs, num_inference_steps=3, guidance_scale=float(guidance), height=64,
                width=64, output_type="pil").images
numpy.save(out, numpy.stack([numpy.asarray(image.convert("L")) for image in made]))
"""


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3-t5"])
def test_plain_diffusers_loads_it_and_makes_the_same_images(kind: str, made: dict[str, Path], tmp_path: Path):
    """In a process of its own, without this package: equal to a gray level, and not those of the base alone."""
    from phonybrains.model.latent_diffusion import image_rng

    prompt, base = "sagittal MRI of the brain, glioma", made[kind].parent / kind
    images = ImageSet.open(generate(made[kind], tmp_path / "ours", 2, where={"prompt": prompt}, seed=3, show=False))
    guidance = images.rows[0]["guidance"]
    seeds = " ".join(str(image_rng(3, i).initial_seed()) for i in range(2))
    command = [sys.executable, "-c", PLAIN, base, made[kind], tmp_path / "theirs.npy", str(guidance), seeds, prompt]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    ours, theirs = np.stack([images.pixels(i) for i in range(2)]), np.load(tmp_path / "theirs.npy")
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    painter = FineTuned.load(made[kind])
    plain = painter.base.load()
    rngs = [image_rng(3, i) for i in range(2)]
    without = plain(
        [prompt] * 2,
        generator=rngs,
        num_inference_steps=3,
        guidance_scale=guidance,
        height=64,
        width=64,
        output_type="np",
    ).images
    assert np.abs(without.mean(-1) * 255 - ours).max() > 1


def test_a_lora_says_what_it_is(made: dict[str, Path]):
    """Names as diffusers gives them, the rank in the file's metadata, and nothing but the LoRA's matrices."""
    weights = load_file(made["sd"] / "pytorch_lora_weights.safetensors")
    assert all(re.fullmatch(r"unet\.[\w.]+\.(to_q|to_k|to_v|to_out\.0)\.lora_[AB]\.weight", name) for name in weights)
    assert {min(tensor.shape) for tensor in weights.values()} == {4}
    assert all(tensor.abs().max() > 0 for tensor in weights.values())


def test_image_i_depends_on_seed_and_index_alone(made: dict[str, Path], tmp_path: Path):
    """Neither on how many are made nor on the batch, up to rounding; another seed makes another image."""
    five = ImageSet.open(generate(made["sd"], tmp_path / "five", 5, seed=1, batch_size=2, show=False))
    three = ImageSet.open(generate(made["sd"], tmp_path / "three", 3, seed=1, show=False))
    other = ImageSet.open(generate(made["sd"], tmp_path / "other", 1, seed=2, show=False))
    for i in range(3):
        assert np.abs(five.pixels(i).astype(int) - three.pixels(i)).max() <= 1
        assert five.rows[i]["prompt"] == three.rows[i]["prompt"]
    assert np.abs(five.pixels(0).astype(int) - other.pixels(0)).max() > 5


def test_a_prompt_is_written_beside_its_image(made: dict[str, Path], tmp_path: Path):
    """The row has the words, what they name, and the seed; the modality given wins."""
    rows = ImageSet.open(generate(made["sd"], tmp_path / "a", 1, where={"prompt": "coronal MRI"}, show=False)).rows
    assert (rows[0].modality, rows[0]["plane"], rows[0]["prompt"]) == ("MR", "coronal", "coronal MRI")
    where = {"prompt": "the head", "modality": "MR"}
    rows = ImageSet.open(generate(made["sd"], tmp_path / "b", 1, where=where, show=False)).rows
    assert (rows[0].modality, rows[0]["plane"]) == ("MR", None)


def test_images_of_a_foreign_base_are_unaudited(made: dict[str, Path], tmp_path: Path):
    """Nobody knows what a base has seen: even fine-tuned on phantoms it does not count as showing no patients."""
    assert audit_status(generate(made["sd"], tmp_path / "set", 1, show=False)).word == "unaudited"
    inputs = read_record(made["sd"])["inputs"]
    assert [item["record"].get("stage") for item in inputs] == ["phantom", None]


def test_card_and_summary_tell_base_captions_and_figures(made: dict[str, Path]):
    """What a reader of the folder needs, without the path of a machine in the record or the card."""
    card = (made["sdxl"] / "README.md").read_text(encoding="utf-8")
    text = summary(made["sdxl"])
    assert model_card(made["sdxl"]) == card
    for part in ("images seen", "validation loss of the base as it was", "{plane} {modality} of the brain"):
        assert part in card
        assert part in text
    assert "licence of the base" in card
    for name in ("README.md", "record.json", "finetune.json"):
        assert str(made["sdxl"].parent) not in (made["sdxl"] / name).read_text(encoding="utf-8")


def test_a_model_without_its_base_says_so(made: dict[str, Path], tmp_path: Path):
    """A base that is gone, or another one in its place, is an error before anything is painted."""
    lonely = shutil.copytree(made["sd"], tmp_path / "model-sd")
    with pytest.raises(ModelError, match="its base is to be in"):
        generate(lonely, tmp_path / "set", 1, show=False)
    assert [path.name for path in tmp_path.iterdir()] == ["model-sd"]
    make_base(tmp_path / "sd", "sd2")
    with pytest.raises(ModelError, match="not the base"):
        _ = FineTuned.load(tmp_path / "model-sd").base


def test_a_damaged_part_is_named(made: dict[str, Path], tmp_path: Path):
    """As in any model folder."""
    folder = shutil.copytree(made["sd"], tmp_path / "model")
    with (folder / "pytorch_lora_weights.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match=r"pytorch_lora_weights.safetensors is damaged"):
        generate(folder, tmp_path / "set", 1, show=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"caption": "{plane} of {nobody}"}, "nobody"),
        ({"size": 63}, "multiples of 4"),
        ({"targets": ("to_nothing",)}, "to_nothing"),
        ({"caption": "{plane} " + "very " * 40 + "long"}, "tokens"),
    ],
)
def test_what_does_not_fit_is_refused(
    settings: dict[str, Any], message: str, made: dict[str, Path], tmp_path: Path, phantom_corpus: Path
):
    """In one line, and no model appears."""
    with pytest.raises(ConfigError, match=message):
        finetune(str(made["sd"].parent / "sd"), phantom_corpus, tmp_path / "out", **QUICK | settings)
    assert not (tmp_path / "out").exists()


def test_a_corpus_without_training_images_is_refused(made: dict[str, Path], tmp_path: Path, phantom_corpus: Path):
    """Only the split train is learnt from."""
    folder = shutil.copytree(phantom_corpus, tmp_path / "corpus")
    metadata = folder / "metadata.csv"
    metadata.write_text(metadata.read_text(encoding="utf-8").replace(",train,", ",test,"), encoding="utf-8")
    with pytest.raises(TrainingError, match="'train'"):
        finetune(str(made["sd"].parent / "sd"), folder, tmp_path / "out", **QUICK)
