"""What a model is, in words: what it can be asked for, its figures, its licences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..networks.conditions import Conditions
from ..record import read_record
from .backing import counts_in_words, in_words, rule_in_words
from .description import AGAIN, check_parts, has_few_step, read_description
from .finding import is_fine_tuned, model_folder
from .lora_description import read_lora
from .sampling import FEW
from .schema import read_conditions

MOST_FREQUENT = 12


def summary(name: str | Path) -> str:
    """Describe a model folder, or a shipped model by its name. Raises ModelError if it is damaged."""
    if is_fine_tuned(name):
        return _fine_tuned(Path(name))
    folder = model_folder(name)
    content, record = read_description(folder), read_record(folder)
    check_parts(folder, content)
    few = f", and few-step weights for up to {FEW}" if has_few_step(content) else ""
    lines = [
        f"{folder.resolve().name}: {content['size']}×{content['size']} images, {content['diffusion']}, "
        f"{record.get('created', 'date not known')}",
        f"{content.get('steps', 16)} steps where none are asked for{few}",
    ]
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
    lines = ["", "Ask for it with --where name=value", *(f"  {a.name}: {in_words(a)}" for a in conditions.attributes)]
    lines += [f"  {rule_in_words(conditions)}"]
    if counts := counts_in_words(conditions):
        lines += ["", "How many images and patients of the training stand behind it", *(f"  {line}" for line in counts)]
    lines += ["", "Most frequent in training, as drawn when nothing is asked for", *_combinations(conditions)]
    lines += ["", "Figures", *(f"  {key}: {value}" for key, value in card.items())]
    lines += ["", "Made from"]
    for source in record.get("sources", ()):
        facts = (source.get(key) for key in ("licence", "attribution", "url"))
        lines.append(
            "; ".join(filter(None, (f"  {source.get('name', 'source')}: {next(facts) or 'no licence given'}", *facts)))
        )
    return lines


def _combinations(conditions: Conditions) -> Iterator[str]:
    for values, count in conditions.combinations[:MOST_FREQUENT]:
        yield f"  {' '.join(str(value) for value in values if value is not None)}: {count}"
    if len(conditions.combinations) > MOST_FREQUENT:
        yield f"  and {len(conditions.combinations) - MOST_FREQUENT} more"
