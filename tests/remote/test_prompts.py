"""Prompts of imagine: templates, their combinations, and what cannot be asked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from phonybrains.errors import ConfigError
from phonybrains.remote.config import ImagineConfig, load_imagine_config
from phonybrains.remote.prompts import wanted_images

TEMPLATE = {
    "text": "axial {sequence} MRI of the brain, {finding}",
    "attributes": {"sequence": ["T1-weighted", "FLAIR"], "finding": ["glioma", "no abnormality"], "plane": "axial"},
}


def config(*prompts: dict[str, Any], n: int = 4, **given: Any) -> ImagineConfig:
    return ImagineConfig.model_validate({"prompts": prompts, "n": n, **given})


def test_every_combination_has_its_turn():
    """Two attributes of two values make four prompts, in order, then they come again; all attributes are kept."""
    images = wanted_images(config(TEMPLATE, {"text": "head CT"}, n=6))
    pairs = [(kind, what) for kind in ("T1-weighted", "FLAIR") for what in ("glioma", "no abnormality")]
    prompts = [*(f"axial {kind} MRI of the brain, {what}" for kind, what in pairs), "head CT"]
    assert [image.prompt for image in images] == [*prompts, prompts[0]]
    assert images[2].attributes == {"sequence": "FLAIR", "finding": "glioma", "plane": "axial"}
    assert [image.modality for image in images] == ["MR"] * 4 + ["CT", "MR"]


def test_a_drawn_prompt_depends_on_seed_and_number_alone():
    """More images leave the first ones as they are; another seed draws others; all combinations come up."""
    few = wanted_images(config(TEMPLATE, combine="draw", n=10, seed=3))
    many = wanted_images(config(TEMPLATE, combine="draw", n=400, seed=3))
    assert many[:10] == few
    assert [i.prompt for i in wanted_images(config(TEMPLATE, combine="draw", n=10, seed=4))] != [i.prompt for i in few]
    counts = Counter(image.prompt for image in many)
    assert len(counts) == 4
    assert min(counts.values()) > 60


@pytest.mark.parametrize(
    ("text", "modality"),
    [
        ("Brain MRI image", "MR"),
        ("a T2-weighted picture of a head", "MR"),
        ("magnetic resonance of a brain", "MR"),
        ("head CT", "CT"),
        ("Computed tomography of the head", "CT"),
    ],
)
def test_the_words_of_a_prompt_tell_its_modality(text: str, modality: str):
    """MRI, T2 … and CT are understood, inside other words they are not."""
    assert wanted_images(config({"text": text}))[0].modality == modality


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ({"text": "a brain"}, "neither MR nor CT"),
        ({"text": "a section of the brain's tract"}, "neither MR nor CT"),
        ({"text": "CT and MRI fused"}, "both MR and CT"),
        ({"text": "{what} MRI"}, "'{what}' has no attribute"),
        ({"text": "{0} MRI"}, "not the name of an attribute"),
        ({"text": "{} MRI"}, "not the name of an attribute"),
        ({"text": "{a.b} MRI", "attributes": {"a": "x"}}, "not the name of an attribute"),
        ({"text": "{ MRI"}, "is written twice"),
        ({"text": "MRI", "attributes": {"plane": ["axial", "coronal"]}}, "does not ask for it"),
        ({"text": "MRI", "attributes": {"split": "test"}}, "cannot be called 'split'"),
        ({"text": "MRI", "attributes": {"prompt": "x"}}, "cannot be called 'prompt'"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_is(prompt: dict[str, Any], says: str):
    """A prompt of no modality, or with a name that means nothing, is named with what to do."""
    with pytest.raises(ConfigError, match=says.replace("{", r"\{")):
        wanted_images(config(prompt))


def test_braces_that_are_meant_are_written_twice():
    """{{ and }} stand for braces."""
    assert wanted_images(config({"text": "MRI {{a}}"}))[0].prompt == "MRI {a}"


def test_the_presets_and_files_lie_over_one_another(tmp_path: Path):
    """A file may name the service, another the prompts; the command line wins; a key that is unknown is an error."""
    (tmp_path / "service.toml").write_text('model = "m"\nsize = "512x512"\n[prices.m]\nimage = 0.1\n')
    (tmp_path / "prompts.toml").write_text('[[prompts]]\ntext = "head CT"\n')
    found = load_imagine_config(None, tmp_path / "service.toml", tmp_path / "prompts.toml", n=2, size="256x256")
    assert (found.model, found.size, found.prompts[0].text) == ("m", "256x256", "head CT")
    assert found.price is not None
    assert found.price.image == 0.1
    with pytest.raises(ConfigError, match=r"preset 'papr' is not known. Known: paper"):
        load_imagine_config("papr", n=1)
    (tmp_path / "prompts.toml").write_text('[[prompts]]\ntxt = "head CT"\n')
    with pytest.raises(ConfigError, match="prompts"):
        load_imagine_config(None, tmp_path / "prompts.toml", n=2)


@pytest.mark.parametrize("odd", ["nan", "-inf", "2020-01-01", "{ deep = [inf] }"])
def test_what_no_request_can_say_is_refused(tmp_path: Path, odd: str):
    """A value of `extra` that JSON does not have is named, before anything is asked."""
    (tmp_path / "service.toml").write_text(f"extra = {{ strength = {odd} }}\n")
    with pytest.raises(ConfigError, match="extra"):
        load_imagine_config("paper", tmp_path / "service.toml", n=1)


def test_the_papers_preset_asks_for_both_modalities():
    """Half of the images are MRI, half CT."""
    images = wanted_images(load_imagine_config("paper", n=10))
    assert Counter(image.modality for image in images) == {"MR": 5, "CT": 5}


@pytest.mark.parametrize("address", ["ftp://x", "images", "https://user:pass@x/v1", "https://x/v1?key=1"])
def test_an_address_that_would_hold_a_secret_or_is_none_is_refused(address: str):
    """The address goes into the record: no user, password or query may be in it."""
    with pytest.raises(ConfigError, match="base_url"):
        load_imagine_config("paper", n=1, base_url=address)
