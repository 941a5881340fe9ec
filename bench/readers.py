"""The readers that broken files are given to, each with whole files to break."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from phonybrains.imageset import ImageSet

from .mutations import Mutate, mutate_bytes, mutate_document, mutate_settings, mutate_table
from .whole_files import dicom, nifti, pictures, volumes

Give = Callable[[list[bytes], Path, Path], None]
"""give(inputs, place, folder): read inputs in an empty place; folder has what `make` has left."""


@dataclass
class Reader:
    """Reads broken inputs; `prepare` makes the whole ones. share: of all inputs; together: read at once."""

    share: int
    together: int
    mutate: Mutate
    make: Callable[[Path], list[bytes]]
    give: Give
    whole: list[bytes] = field(default_factory=list)
    folder: Path = Path()

    def prepare(self, folder: Path) -> None:
        """Make the whole inputs, and see that they can be read."""
        folder.mkdir(parents=True, exist_ok=True)
        self.whole, self.folder = self.make(folder), folder
        for number, content in enumerate(self.whole):
            place = folder / f"whole {number}"
            place.mkdir()
            self.read([content], place)

    def read(self, inputs: list[bytes], place: Path) -> None:
        self.give(inputs, place, self.folder)


def _import(names: str) -> Give:
    """Import files as one source; what is published has to be whole, and no draft may stay."""

    def give(inputs: list[bytes], place: Path, _: Path) -> None:
        from phonybrains.importing import ImportConfig, import_images

        source, out = place / "source", place / "out"
        source.mkdir()
        for number, content in enumerate(inputs):
            (source / names.format(number)).write_bytes(content)
        config = ImportConfig(size=16, modality="MR", key_file=place / "key")
        try:
            import_images([source], out, config, progress=False)
            ImageSet.open(out)
        finally:
            left = {path.name for path in place.iterdir()} - {"source", "out", "key"}
            assert all(name.startswith("out.") for name in left), f"left: {sorted(left)}"

    return give


def _tables(inputs: list[bytes], place: Path, folder: Path) -> None:
    """Import folders of pictures, each with a broken metadata.csv."""
    from phonybrains.importing import ImportConfig, import_images

    sources = [place / str(number) for number in range(len(inputs))]
    for source, content in zip(sources, inputs, strict=True):
        source.mkdir()
        for name in ("a.png", "b.png"):
            (source / name).write_bytes((folder / name).read_bytes() + source.name.encode())
        (source / "metadata.csv").write_bytes(content)
    import_images(sources, place / "out", ImportConfig(size=16, modality="MR", key_file=place / "key"), progress=False)
    ImageSet.open(place / "out")


def _source_tables(folder: Path) -> list[bytes]:
    for name, content in zip(("a.png", "b.png"), pictures("PNG", "L")(folder), strict=False):
        (folder / name).write_bytes(content)
    return [
        b"file_name,modality,patient_id,split,age_years,diagnosis\na.png,MR,p1,train,40,none\n"
        b'b.png,CT,p2,test,41.5,"glioma, left"\n',
        b"file_name,label\na.png,1\nb.png,2\n",
    ]


def _set(folder: Path) -> list[bytes]:
    from phonybrains.phantom.corpus import make_phantoms

    make_phantoms(4, folder / "set", size=16)
    return [(folder / "set" / "metadata.csv").read_bytes()]


def _own_table(inputs: list[bytes], place: Path, folder: Path) -> None:
    (place / "images").symlink_to(folder / "set" / "images")
    for content in inputs:
        (place / "metadata.csv").write_bytes(content)
        ImageSet.open(place)


def _records(folder: Path) -> list[bytes]:
    _set(folder)
    record = json.loads((folder / "set" / "record.json").read_bytes())
    nested = record | {
        "stage": "import",
        "inputs": [{"name": "a", "sha256": "b", "record": record}],
        "results": {"split": {"MR": "by patient"}, "images": {"MR": {"train": 2}}},
    }
    return [json.dumps(content).encode() for content in (record, nested)]


def _record(inputs: list[bytes], place: Path, folder: Path) -> None:
    from phonybrains.imageset import how_split
    from phonybrains.record import Record, as_input, is_published

    (place / "images").symlink_to(folder / "set" / "images")
    shutil.copyfile(folder / "set" / "metadata.csv", place / "metadata.csv")
    for content in inputs:
        (place / "record.json").write_bytes(content)
        how_split(ImageSet.open(place))
        Record("train", {}, 0, [as_input(place)]).write(place)
        is_published(place, Record("train", {}, 0, [as_input(place)]))


def _model(part: str) -> Callable[[Path], list[bytes]]:
    def make(folder: Path) -> list[bytes]:
        from phonybrains.phantom.corpus import make_phantoms
        from phonybrains.training.config import load_train_config
        from phonybrains.training.stage import train

        corpus = make_phantoms(40, folder.parent / "corpus", size=32)
        loop = {"loop": {"steps": 0}}
        untrained = dict.fromkeys(("autoencoder", "denoiser", "few_step"), loop)
        told: dict[str, Any] = {"conditions": ("plane", "age_years"), "min_patients": 0, "precision": "fp32"}
        config = load_train_config("tiny", **told, **untrained)
        model = train(corpus, folder.parent / "model", config, show=False)
        shutil.copytree(model, folder / "model", dirs_exist_ok=True)
        return [(folder / "model" / part).read_bytes()]

    return make


def _load_model(part: str) -> Give:
    """Load a model with a broken part whose hash is right."""

    def give(inputs: list[bytes], place: Path, folder: Path) -> None:
        from phonybrains.model.folder import read_model

        shutil.copytree(folder / "model", place / "model", copy_function=os.link)
        description = _unsealed(json.loads((folder / "model" / "model.json").read_bytes()))
        for content in inputs:
            for name in {part, "model.json"}:
                (place / "model" / name).unlink()
            if part != "model.json":
                description["sha256"][part] = hashlib.sha256(content).hexdigest()
                (place / "model" / "model.json").write_text(json.dumps(description))
            else:
                content = _without_seal(content)
            (place / "model" / part).write_bytes(content)
            read_model(place / "model")

    return give


def _unsealed(description: Any) -> Any:
    """A description without its own digest, as earlier versions wrote them: what follows that check is tried then."""
    if isinstance(description, dict) and isinstance(description.get("sha256"), dict):
        description["sha256"].pop("model.json", None)
    return description


def _without_seal(content: bytes) -> bytes:
    try:
        return json.dumps(_unsealed(json.loads(content))).encode()
    except (ValueError, RecursionError):
        return content


def _checkpoint(folder: Path) -> list[bytes]:
    _state().save(folder / "checkpoint.safetensors")
    return [(folder / "checkpoint.safetensors").read_bytes()]


def _state() -> Any:
    """The state of a training of one step."""
    import torch

    from phonybrains.optimising.checkpoint import TrainState

    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return TrainState.start(network, optimizer, (0.9,))


def _restore(inputs: list[bytes], place: Path, _: Path) -> None:
    for content in inputs:
        (place / "checkpoint.safetensors").write_bytes(content)
        _state().restore(place / "checkpoint.safetensors")


SETTINGS = {
    "import": b'size = 64\nbits = 8\nmodality = "CT"\nwindow = [40, 80]\nseed = 3\nevery = 2\nattributes = ["age"]\n'
    b'empty_below = 0.02\n[sources.scans]\nlicence = "CC0-1.0"\nattribution = "us"\n',
    "train": b'seed = 1\nconditions = ["plane"]\nmin_patients = 0\ndiffusion = "flow"\nsteps = 8\nprecision = "fp32"\n'
    b"[autoencoder]\ncrop = 32\nloop = { steps = 4, batch_size = 2, averages = [0.9] }\n[denoiser]\nvariants = 2\n"
    b"[denoiser.shape]\nwidths = [16, 32]\nlayers = 1\n[few_step.loop]\nsteps = 2\n",
    "evaluate": b'seed = 2\nattributes = ["plane"]\nheld_out = "test"\n[quality]\npermutations = 20\nnull_draws = 40\n'
    b'[memorisation]\nsearch = "registration"\nfalse_positives = 0.01\npairs = 4\n[utility]\nattribute = "sex"\n'
    b"real_shares = [0.1, 1.0]\n",
    "study": b'name = "a study"\nseed = 1\nsplit = "test"\nmatch = ["plane"]\nchecks = 4\ndays_valid = 60\n'
    b'readers = ["ann", "bob"]\nblock = 10\nsynthetic = { MR = 20, CT = 20 }\n[plan]\nprimary = "auc"\nmargin = 0.1\n'
    b"[repeats]\nshare = 0.1\ngap = 20\n",
    "imagine": b'model = "gpt-image-1"\nn = 4\nseed = 1\nsize = "1024x1024"\nbudget = 2.5\nconcurrency = 2\n'
    b'[[prompts]]\ntext = "A brain, {plane}"\nmodality = "MR"\nattributes = { plane = ["axial", "coronal"] }\n'
    b"[prices]\ngpt-image-1 = { image = 0.25, output_tokens = 30.0 }\n",
    "finetune": b'seed = 1\nrank = 4\nsize = 64\nprecision = "fp32"\n[loop]\nsteps = 4\nbatch_size = 2\n',
}


def _settings(name: str) -> Give:
    """Read the settings of a stage."""

    def give(inputs: list[bytes], place: Path, _: Path) -> None:
        from phonybrains.config import load_config
        from phonybrains.evaluation.config import EvaluateConfig
        from phonybrains.finetuning.config import FinetuneConfig
        from phonybrains.importing import ImportConfig
        from phonybrains.readerstudy.config import StudyConfig
        from phonybrains.remote.config import ImagineConfig
        from phonybrains.training.config import load_train_config

        kinds: dict[str, Any] = {"evaluate": EvaluateConfig, "finetune": FinetuneConfig, "import": ImportConfig}
        kinds |= {"study": StudyConfig, "imagine": ImagineConfig}
        load = partial(load_config, kinds[name]) if name in kinds else partial(load_train_config, "tiny")
        path = place / "settings.toml"
        for content in inputs:
            path.write_bytes(content)
            load(path)

    return give


TIFFS = pictures("TIFF", "L", "RGB", "F", compression="tiff_lzw")


def _of_model(share: int, mutate: Mutate, part: str) -> Reader:
    return Reader(share, 1, mutate, _model(part), _load_model(part))


READERS: dict[str, Reader] = {
    "DICOM": Reader(25, 40, mutate_bytes, dicom, _import("{:03d}.dcm")),
    "NIfTI": Reader(10, 20, mutate_bytes, nifti, _import("{:03d}.nii")),
    "NRRD, MetaImage, MGH": Reader(8, 20, mutate_bytes, volumes, _import("{:03d}.nrrd")),
    "PNG": Reader(10, 40, mutate_bytes, pictures("PNG", "L", "RGB", "P", "LA", optimize=True), _import("{:03d}.png")),
    "TIFF": Reader(10, 40, mutate_bytes, TIFFS, _import("{:03d}.tif")),
    "CSV beside pictures": Reader(8, 20, mutate_table, _source_tables, _tables),
    "CSV of an image set": Reader(10, 1, mutate_table, _set, _own_table),
    "JSON record": Reader(8, 1, mutate_document, _records, _record),
    "JSON model": _of_model(4, mutate_document, "model.json"),
    "JSON conditions": _of_model(3, mutate_document, "conditions.json"),
    "JSON network": _of_model(2, mutate_document, "unet/config.json"),
    **{
        f"TOML {name}": Reader(2, 1, mutate_settings, lambda _, whole=whole: [whole], _settings(name))
        for name, whole in SETTINGS.items()
    },
    "safetensors checkpoint": Reader(1, 1, mutate_bytes, _checkpoint, _restore),
    "safetensors weights": _of_model(1, mutate_bytes, "condition_embedding/diffusion_pytorch_model.safetensors"),
}
