"""What a model is, in words: what it can be asked for, its figures, its licences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..record import read_record
from .conditions import Category, Number
from .folder import load_model, model_folder
from .latent_diffusion import LatentDiffusion
from .sampling import FEW

MOST_FREQUENT = 12


def summary(name: str | Path) -> str:
    """Describe a model folder, or a shipped model by its name. Raises ModelError if it is damaged."""
    folder = model_folder(name)
    model, record = load_model(folder), read_record(folder)
    lines = [f"{folder.resolve().name}: {model.size}×{model.size} images, {model.chain.name}, "
             f"{record.get('created', 'date not known')}"]  # fmt: skip
    few = f", and few-step weights for up to {FEW}" if model.few_step else ""
    lines += [f"{model.steps} steps where none are asked for{few}"]
    lines += ["", "Ask for it with --where name=value", *map(_attribute, model.conditions.attributes)]
    lines += ["", "Most frequent in training, as drawn when nothing is asked for", *_combinations(model)]
    lines += ["", "Figures", *(f"  {key}: {value}" for key, value in model.card.items())]
    lines += ["", "Made from"]
    for source in record.get("sources", ()):
        facts = (source.get(key) for key in ("licence", "attribution", "url"))
        lines.append("; ".join(filter(None, (f"  {source.get('name', 'source')}: {next(facts) or 'no licence given'}",
                                             *facts))))  # fmt: skip
    return "\n".join(lines)


def _attribute(attribute: Category | Number) -> str:
    if isinstance(attribute, Number):
        return f"  {attribute.name}: {attribute.low:g} to {attribute.high:g}"
    return f"  {attribute.name}: {', '.join(attribute.labels)}"


def _combinations(model: LatentDiffusion) -> Iterator[str]:
    for values, count in model.conditions.combinations[:MOST_FREQUENT]:
        yield f"  {' '.join(str(value) for value in values if value is not None)}: {count}"
    if len(model.conditions.combinations) > MOST_FREQUENT:
        yield f"  and {len(model.conditions.combinations) - MOST_FREQUENT} more"
