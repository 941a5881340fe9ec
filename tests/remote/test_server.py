"""imagine against an image server that others have written, which speaks OpenAI's protocol as they read it.

PHONYBRAINS_IMAGE_SERVER is its address, PHONYBRAINS_IMAGE_MODEL its model: docs/text-to-image.md says how to start one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from phonybrains.imageset import ImageSet
from phonybrains.remote.config import load_imagine_config
from phonybrains.workflows.imagine import imagine

SERVER, MODEL = os.environ.get("PHONYBRAINS_IMAGE_SERVER", ""), os.environ.get("PHONYBRAINS_IMAGE_MODEL", "tiny")


@pytest.mark.skipif(not SERVER, reason="no other image server is running (PHONYBRAINS_IMAGE_SERVER)")
def test_another_image_server_is_understood(tmp_path: Path):
    """Its images come in the size that was asked for, become a set, and are not asked for twice."""
    how: dict[str, Any] = {"dialect": "dall-e-3", "size": "64*64", "side": 64, "retries": 0, "concurrency": 1}
    extra = {"kwargs": '{"num_inference_steps": 2}'}  # Xinference's way to say how many steps
    config = load_imagine_config("paper", n=2, base_url=SERVER, model=MODEL, extra=extra, **how)
    images = ImageSet.open(imagine(tmp_path / "out", config, show=False))
    assert [row.modality for row in images.rows] == ["MR", "CT"]
    assert {row["generator"] for row in images.rows} == {MODEL}
    with Image.open(tmp_path / images.rows[0].source) as original:
        assert original.size == (64, 64)
    (tmp_path / "out").rename(tmp_path / "gone")
    gone = config.model_copy(update={"timeout_s": 1e-3})
    assert len(ImageSet.open(imagine(tmp_path / "out", gone, show=False))) == 2
