"""Models of either kind, found by their folder or, where they come with the package, by name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from ..errors import ModelError
from .description import CARD, DESCRIPTION
from .lora_description import DESCRIPTION as LORA_DESCRIPTION


def shipped_models() -> dict[str, Path]:
    """Names and folders of the models that come with the package."""
    root = Path(str(resources.files("phonybrains"))) / "shipped"
    return {path.parent.name: path.parent for path in sorted(root.glob("*/model.json"))}


def model_folder(name: str | Path) -> Path:
    """The folder of a model that ships with the package, by name, or the path. Raises ModelError if it is no model."""
    shipped = shipped_models()
    folder = shipped.get(str(name), Path(name))
    if (folder / DESCRIPTION).is_file():
        return folder
    known = ", ".join(shipped) or "none"
    raise ModelError(f"{folder} is not a model folder: it has no model.json. Shipped models: {known}.")


def find_model(name: str | Path) -> Path:
    """The folder of a model of either kind. Raises ModelError if it is no model."""
    return Path(name) if is_fine_tuned(name) else model_folder(name)


def is_fine_tuned(folder: str | Path) -> bool:
    """Whether a folder is that of a fine-tuned checkpoint."""
    return (Path(folder) / LORA_DESCRIPTION).is_file()


def model_card(name: str | Path) -> str:
    """The text of the card, README.md, of a model of either kind. Raises ModelError if it has none."""
    path = find_model(name) / CARD
    if not path.is_file():
        raise ModelError(f"{path} is missing: the model has no card. Write one before you share the model.")
    return path.read_text(encoding="utf-8")
