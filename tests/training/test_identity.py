"""The identity of a training: all that can change its result is in it, and what is left open is settled first."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from phonybrains.finetuning.config import FinetuneConfig
from phonybrains.imageset import ImageSet
from phonybrains.model.description import write_description
from phonybrains.optimising.processes import settled
from phonybrains.phantom.corpus import make_phantoms
from phonybrains.training.config import TrainConfig, load_train_config
from phonybrains.training.stage import record_of
from tests.support.tiny_training import save_squeezenet

OTHER: dict[str, Any] = {"attributes": ("plane",), "min_patients": 3, "diffusion": "ddpm", "crop": 64}
OTHER |= {
    "averages": (0.5,),
    "counts": (1,),
    "modalities": ("MR",),
    "decoder_only": True,
    "compile": True,
    "precision": "bf16",
    "kind": "none",
    "attribute": "diagnosis",
    "prediction": "v",
}
"""Another value for each setting to which one cannot just be added."""
INPUTS = {"features", "start", "worse"}
"""Settings that name files or folders: their content counts."""


def leaves(config: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name)


def value_of(config: BaseModel, path: tuple[str, ...]) -> Any:
    value: Any = config
    for name in path:
        value = getattr(value, name)
    return value


def with_value(config: BaseModel, path: tuple[str, ...], value: Any) -> Any:
    name, *rest = path
    inner = with_value(getattr(config, name), tuple(rest), value) if rest else value
    return config.model_copy(update={name: inner})


def another(config: BaseModel, path: tuple[str, ...]) -> Any:
    value = value_of(config, path)
    if path[-1] == "keep":
        return "best" if value == "last" else "last"
    if path[-1] in OTHER:
        return OTHER[path[-1]]
    if isinstance(value, tuple):
        return (2 * value[0], *value[1:])
    return value / 2 + 0.1 if isinstance(value, float) else value + 1


PLAIN = load_train_config("tiny", precision="fp32")
WHERE_IT_COUNTS: dict[str, TrainConfig] = {
    "critic": PLAIN.model_copy(update={"diffusion": "gan"}),
    "adversarial": load_train_config("tiny", precision="fp32", adversarial={"loop": {"steps": 4}}),
    "classifier": load_train_config("tiny", precision="fp32", classifier={"attribute": "plane"}),
    "embedding": load_train_config("tiny", precision="fp32", embedding={"dim": 4}),
}
"""A training that has the part which a setting is of, for parts that are left out by themselves."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantoms(6, tmp_path_factory.mktemp("identity") / "corpus", size=32)


def identity(corpus: Path, config: TrainConfig) -> str:
    return record_of(corpus, ImageSet.open(corpus), config).identity


@pytest.mark.parametrize("path", [p for p in leaves(PLAIN) if p[-1] not in INPUTS], ids=".".join)
def test_every_setting_is_in_the_identity(corpus: Path, path: tuple[str, ...]):
    """Another value of any single setting is another training; the same value is the same."""
    config = WHERE_IT_COUNTS.get(path[0], PLAIN)
    changed = with_value(config, path, another(config, path))
    assert changed != config
    assert identity(corpus, changed) != identity(corpus, config)
    assert identity(corpus, with_value(changed, path, value_of(config, path))) == identity(corpus, config)


def test_every_input_counts_by_its_content(corpus: Path, tiny_model: Path, tmp_path: Path):
    """Corpus, features, start and the worse model: the same bytes under another name are the same, others are not."""
    features = save_squeezenet(tmp_path / "a.safetensors", seed=0)
    start, worse = (Path(shutil.copytree(tiny_model, tmp_path / name)) for name in ("start", "worse"))
    guided = with_value(PLAIN, ("guidance", "loop", "steps"), 4)
    config = guided.model_copy(update={"features": features, "start": str(start)})
    config = with_value(config, ("guidance", "worse"), str(worse))
    first, found = identity(corpus, config), set()
    moved = {
        "features": Path(shutil.copyfile(features, tmp_path / "b.safetensors")),
        "start": str(shutil.copytree(start, tmp_path / "moved")),
    }
    assert identity(corpus, config.model_copy(update=moved)) == first
    save_squeezenet(features, seed=1)
    found.add(identity(corpus, config))
    for folder in (start, worse):
        description = json.loads((folder / "model.json").read_text())
        description["latent_scale"]["MR"][0][0] += 1e-6
        write_description(folder, description)
        found.add(identity(corpus, config))
    other = Path(shutil.copytree(corpus, tmp_path / "corpus"))
    table = other / "metadata.csv"
    table.write_text(table.read_text().replace(",axial", ",coronal", 1))
    found.add(identity(other, config))
    assert len(found | {first}) == 5


def test_what_is_left_open_is_settled(corpus: Path, monkeypatch: pytest.MonkeyPatch):
    """`auto` is the arithmetic of this machine; processes, each of which draws its own noise, count."""
    auto = PLAIN.model_copy(update={"precision": "auto"})
    here = str(settled("auto")["precision"])
    assert here in ("bf16", "fp32")
    there = "fp32" if here == "bf16" else "bf16"
    assert identity(corpus, auto) == identity(corpus, PLAIN.model_copy(update={"precision": here}))
    assert identity(corpus, auto) != identity(corpus, PLAIN.model_copy(update={"precision": there}))
    alone = identity(corpus, auto)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert identity(corpus, auto) != alone


def test_no_number_of_a_setting_is_infinite():
    """nan and ±inf are refused for every number of both configurations, before anything is read."""
    for kind, config in ((TrainConfig, PLAIN), (FinetuneConfig, FinetuneConfig())):
        numbers = [path for path in leaves(config) if isinstance(value_of(config, path), float)]
        assert len(numbers) > 3
        for path in numbers:
            for value in (float("nan"), float("inf"), -float("inf")):
                with pytest.raises(ValueError, match=path[-1]):
                    kind.model_validate(with_value(config, path, value).model_dump())
