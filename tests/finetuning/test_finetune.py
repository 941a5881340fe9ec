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
from phonybrains.model.latent_diffusion import image_rng
from phonybrains.model.share import model_card
from phonybrains.model.summary import summary
from phonybrains.record import read_record
from phonybrains.release_gate import audit_status
from tests.finetuning.conftest import QUICK, Made
from tests.support.stable_diffusion_files import KINDS, make_base


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_learns_and_paints(kind: str, made: Made, tmp_path: Path):
    """Loss below that of the base; images of the corpus's size with their captions, 8-bit gray, of known modality."""
    card = json.loads((made(kind) / "finetune.json").read_text(encoding="utf-8"))["card"]
    assert card["validation loss"] < card["validation loss of the base as it was"]
    images = ImageSet.open(generate(made(kind), tmp_path / "set", 2, where={"modality": "CT"}, show=False))
    assert (images.height, images.bits, len(images)) == (64, 8, 2)
    for row in images.rows:
        assert row["prompt"].startswith("axial CT of the brain")
        assert (row.synthetic, row.modality, row.unit) == (True, "CT", "HU")
        assert (row["generator"], row["steps"]) == (f"model-{kind}", 3)


PLAIN = """
import json, sys, torch, numpy
import diffusers
assert "phonybrains" not in sys.modules
prompt, seeds, models = json.loads(sys.argv[1])
for base, lora, guidance, out in models:
    pipeline = diffusers.DiffusionPipeline.from_pretrained(base)
    sets = []
    for load in (lambda: None, lambda: pipeline.load_lora_weights(lora)):
        load()
        rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        made = pipeline([prompt] * 2, generator=rngs, num_inference_steps=3, guidance_scale=guidance, height=64,
                        width=64, output_type="pil").images
        sets.append(numpy.stack([numpy.asarray(image.convert("L")) for image in made]))
    numpy.save(out, numpy.stack(sets))
"""


def test_plain_diffusers_loads_it_and_makes_the_same_images(made: Made, tmp_path: Path):
    """In a process of its own, without this package: equal to a gray level, and not those of the base alone."""
    prompt, kinds = "sagittal MRI of the brain, glioma", ("sd", "sdxl", "sd3-t5")
    asked: dict[str, Any] = {"where": {"prompt": prompt}, "seed": 3, "show": False}
    ours = {kind: ImageSet.open(generate(made(kind), tmp_path / kind, 2, **asked)) for kind in kinds}
    models = [
        (
            str(made(kind).parent / "bases" / kind),
            str(made(kind)),
            images.rows[0]["guidance"],
            str(tmp_path / f"{kind}.npy"),
        )
        for kind, images in ours.items()
    ]
    seeds = [image_rng(3, i).initial_seed() for i in range(2)]
    command = [sys.executable, "-c", PLAIN, json.dumps([prompt, seeds, models])]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    for kind, images in ours.items():
        own = np.stack([images.pixels(i) for i in range(2)]).astype(int)
        without, theirs = np.load(tmp_path / f"{kind}.npy")
        assert np.abs(own - theirs).max() <= 1, kind
        assert np.abs(own - without).max() > 1, kind


def test_a_lora_says_what_it_is(made: Made):
    """Names as diffusers gives them, the rank in the file's metadata, and nothing but the LoRA's matrices."""
    weights = load_file(made("sd") / "pytorch_lora_weights.safetensors")
    assert all(re.fullmatch(r"unet\.[\w.]+\.(to_q|to_k|to_v|to_out\.0)\.lora_[AB]\.weight", name) for name in weights)
    assert {min(tensor.shape) for tensor in weights.values()} == {4}
    assert all(tensor.abs().max() > 0 for tensor in weights.values())


def test_image_i_depends_on_seed_and_index_alone(made: Made, tmp_path: Path):
    """Neither on how many are made nor on the batch, up to rounding; another seed makes another image."""
    five, three, other = (
        ImageSet.open(generate(made("sd"), tmp_path / f"{n}", n, seed=seed, batch_size=size, show=False))
        for n, seed, size in ((5, 1, 2), (3, 1, 16), (1, 2, 16))
    )
    for i in range(3):
        assert np.abs(five.pixels(i).astype(int) - three.pixels(i)).max() <= 1
        assert five.rows[i]["prompt"] == three.rows[i]["prompt"]
    assert np.abs(five.pixels(0).astype(int) - other.pixels(0)).max() > 5


def test_a_prompt_is_written_beside_its_image(made: Made, tmp_path: Path):
    """The row has the words, what they name, and the seed; the modality given wins."""
    rows = ImageSet.open(generate(made("sd"), tmp_path / "a", 1, where={"prompt": "coronal MRI"}, show=False)).rows
    assert (rows[0].modality, rows[0]["plane"], rows[0]["prompt"]) == ("MR", "coronal", "coronal MRI")
    where = {"prompt": "the head", "modality": "MR"}
    rows = ImageSet.open(generate(made("sd"), tmp_path / "b", 1, where=where, show=False)).rows
    assert (rows[0].modality, rows[0]["plane"]) == ("MR", None)


def test_images_of_a_foreign_base_are_unaudited(made: Made, tmp_path: Path):
    """Nobody knows what a base has seen: even fine-tuned on phantoms it does not count as showing no patients."""
    assert audit_status(generate(made("sd"), tmp_path / "set", 1, show=False)).word == "unaudited"
    inputs = read_record(made("sd"))["inputs"]
    assert [item["record"].get("stage") for item in inputs] == ["phantom", None]


def test_card_and_summary_tell_base_captions_and_figures(made: Made):
    """What a reader of the folder needs, without the path of a machine in the record or the card."""
    card = (made("sdxl") / "README.md").read_text(encoding="utf-8")
    text = summary(made("sdxl"))
    assert model_card(made("sdxl")) == card
    for part in ("images seen", "validation loss of the base as it was", "{plane} {modality} of the brain"):
        assert part in card
        assert part in text
    assert "licence of the base" in card
    for name in ("README.md", "record.json", "finetune.json"):
        assert str(made("sdxl").parent) not in (made("sdxl") / name).read_text(encoding="utf-8")


def test_a_model_without_its_base_says_so(made: Made, tmp_path: Path):
    """A base that is gone, or another one in its place, is an error before anything is painted."""
    lonely = shutil.copytree(made("sd"), tmp_path / "model-sd")
    with pytest.raises(ModelError, match="its base is to be in"):
        generate(lonely, tmp_path / "set", 1, show=False)
    assert [path.name for path in tmp_path.iterdir()] == ["model-sd"]
    make_base(tmp_path / "bases" / "sd", "sd2")
    with pytest.raises(ModelError, match="not the base"):
        _ = FineTuned.load(tmp_path / "model-sd").base


def test_a_damaged_part_is_named(made: Made, tmp_path: Path):
    """As in any model folder."""
    folder = shutil.copytree(made("sd"), tmp_path / "model")
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
    settings: dict[str, Any], message: str, made: Made, tmp_path: Path, phantom_corpus: Path
):
    """In one line, and no model appears."""
    with pytest.raises(ConfigError, match=message):
        finetune(str(made("sd").parent / "bases" / "sd"), phantom_corpus, tmp_path / "out", **QUICK | settings)
    assert not (tmp_path / "out").exists()


def test_a_corpus_without_training_images_is_refused(made: Made, tmp_path: Path, phantom_corpus: Path):
    """Only the split train is learnt from."""
    folder = shutil.copytree(phantom_corpus, tmp_path / "corpus")
    metadata = folder / "metadata.csv"
    metadata.write_text(metadata.read_text(encoding="utf-8").replace(",train,", ",test,"), encoding="utf-8")
    with pytest.raises(TrainingError, match="'train'"):
        finetune(str(made("sd").parent / "bases" / "sd"), folder, tmp_path / "out", **QUICK)
