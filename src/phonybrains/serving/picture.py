"""Where served images come from, as they say themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..marks import EDITED, MADE, marked_png
from .batch import Image, Order


@dataclass(frozen=True)
class Origin:
    """What made the images: the model's name and the SHA-256 of its model.json."""

    generator: str
    model_sha256: str

    def facts(self, order: Order) -> dict[str, Any]:
        """All that determines an image."""
        return {
            "generator": self.generator,
            "model_sha256": self.model_sha256,
            "seed": order.seed,
            "index": order.index,
            "conditions": dict(order.wanted),
            **order.settings,
        }

    def png(self, image: Image, order: Order) -> bytes:
        """(H, W) uint8 as a PNG with these facts as text."""
        return marked_png(image, self.facts(order), EDITED if order.edited else MADE)
