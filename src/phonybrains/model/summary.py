"""What a model is, in words: what it can be asked for, its figures, its licences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..networks.conditions import Conditions
from ..record import read_record
from .backing import counts_in_words, in_words, rule_in_words
from .description import AGAIN, FEW_STEP, IMAGE_EMBEDDING, PATCHES, TEXTURE, check_parts, has, read_description
from .finding import is_fine_tuned, model_folder
from .lora_description import read_lora
from .masks import MaskFacts, masks_in_words
from .sampling import FEW, GAN
from .schema import read_conditions

MOST_FREQUENT = 12


def summary(name: str | Path) -> str:
    """Describe a model folder, or a shipped model by its name. Raises ModelError if it is damaged."""
    if is_fine_tuned(name):
        return _fine_tuned(Path(name))
    folder = model_folder(name)
    content, record = read_description(folder), read_record(folder)
    check_parts(folder, content)
    few = f", and few-step weights for up to {FEW}" if has(content, FEW_STEP) else ""
    lines = [
        f"{folder.resolve().name}: {content['size']}×{content['size']} images, {content['diffusion']}, "
        f"{record.get('created', 'date not known')}",
        "One evaluation an image: it makes no steps and takes no guidance"
        if content["diffusion"] == GAN
        else f"{content.get('steps', 16)} steps where none are asked for{few}",
    ]
    if has(content, PATCHES):
        lines.append("Runs on pixels: no autoencoder")
    if has(content, TEXTURE):
        lines.append("Gives images their texture after decoding, by each image's own random numbers")
    if has(content, IMAGE_EMBEDDING):
        lines.append("Can be told an embedding of an image (edit vary --by embedding); its prior draws one otherwise")
    if "masks" in content:
        lines.append(f"Takes masks (--mask): {masks_in_words(MaskFacts(**content['masks']))}")
    conditions = read_conditions(folder / "conditions.json", AGAIN)
    return "\n".join([*lines, *_rest(conditions, content.get("card", {}), record)])


def _fine_tuned(folder: Path) -> str:
    (facts, conditions), record = read_lora(folder), read_record(folder)
    lines = [
        f"{folder.resolve().name}: {facts.image_size}×{facts.image_size} images, a LoRA of rank {facts.rank} on "
        f"{facts.base} ({facts.family}), {record.get('created', 'date not known')}",
        f"{facts.steps} steps and guidance {facts.guidance:g} where none are asked for, drawn at {facts.size}×"
        f"{facts.size}",
        f'Captions: "{facts.caption}"; or any words with --prompt',
    ]
    return "\n".join([*lines, *_rest(conditions, facts.card, record)])


def _rest(conditions: Conditions, card: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """What can be asked for, figures and sources."""
    shown = conditions.combinations
    frequent = [f"{' '.join(str(value) for value in values if value is not None)}: {n}" for values, n in shown]
    if len(shown) > MOST_FREQUENT:
        frequent[MOST_FREQUENT:] = [f"and {len(shown) - MOST_FREQUENT} more"]
    made_from = []
    for source in record.get("sources", ()):
        licence, *others = (source.get(key) for key in ("licence", "attribution", "url"))
        facts = (f"{source.get('name', 'source')}: {licence or 'no licence given'}", *others)
        made_from.append("; ".join(filter(None, facts)))
    asked = [f"{a.name}: {in_words(a)}" for a in conditions.attributes]
    counts = counts_in_words(conditions)
    sections = {
        "Ask for it with --where name=value": [*asked, rule_in_words(conditions)],
        **({"How many images and patients of the training stand behind it": counts} if counts else {}),
        "Most frequent in training, as drawn when nothing is asked for": frequent,
        "Figures": [f"{key}: {value}" for key, value in card.items()],
        "Made from": made_from,
    }
    return [line for title, told in sections.items() for line in ("", title, *(f"  {one}" for one in told))]
