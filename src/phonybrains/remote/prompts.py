"""Prompts: templates filled in, every combination in turn or drawn by the seed."""

from __future__ import annotations

import itertools
import random
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import ConfigError
from ..imageset import is_own_column
from ..networks.conditions import near
from .config import ImagineConfig, Prompt, Value

WORDS = {
    "MR": re.compile(r"\b(MRI?|magnetic resonance|T[12]w?|FLAIR)\b", re.IGNORECASE),
    "CT": re.compile(r"\b(CT|computed tomograph\w*)\b", re.IGNORECASE),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One image that is wanted: its number in the set, what is asked, and what it is to show."""

    index: int
    prompt: str
    modality: str
    attributes: Mapping[str, Value]


def wanted_images(config: ImagineConfig) -> list[Wanted]:
    """The n images that a configuration asks for; with `draw`, image i depends on (seed, i) alone.

    Raises ConfigError for a template with a name that it has no attribute for, and for a prompt without modality.
    """
    for prompt in config.prompts:
        _check(prompt)
    if config.combine == "draw":
        turns = (_drawn(random.Random(f"{config.seed} {i}"), config.prompts) for i in range(config.n))
    else:
        turns = itertools.cycle([(prompt, values) for prompt in config.prompts for values in _combinations(prompt)])
    images = []
    for i, (prompt, values) in enumerate(itertools.islice(turns, config.n)):
        text = prompt.text.format_map(values)
        images.append(Wanted(i, text, prompt.modality or config.modality or _modality(text), values))
    return images


def _names(text: str) -> set[str]:
    """The attributes that a template names."""
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ConfigError(f"prompt '{text}': {error}. A brace that is meant as such is written twice.") from None
    if bad := [name for name in fields if not name.isidentifier()]:
        raise ConfigError(f"prompt '{text}': '{{{bad[0]}}}' is not the name of an attribute, such as {{finding}}.")
    return set(fields)


def _check(prompt: Prompt) -> None:
    named = _names(prompt.text)
    if missing := sorted(named - prompt.attributes.keys()):
        raise ConfigError(
            f"prompt '{prompt.text}': '{{{missing[0]}}}' has no attribute. Give it a value or a list of "
            f"values under attributes.{near(missing[0], prompt.attributes)}"
        )
    for name, value in prompt.attributes.items():
        if is_own_column(name):
            raise ConfigError(
                f"prompt '{prompt.text}': an attribute cannot be called '{name}', which is a column that every set has."
            )
        if isinstance(value, list) and name not in named:
            raise ConfigError(
                f"prompt '{prompt.text}': '{name}' has several values, but the text does not ask for "
                f"it. Write {{{name}}} where it belongs."
            )


def _choices(prompt: Prompt) -> list[Sequence[Value]]:
    return [value if isinstance(value, list) else [value] for value in prompt.attributes.values()]


def _combinations(prompt: Prompt) -> Iterator[dict[str, Value]]:
    for values in itertools.product(*_choices(prompt)):
        yield dict(zip(prompt.attributes, values, strict=True))


def _drawn(rng: random.Random, prompts: Sequence[Prompt]) -> tuple[Prompt, dict[str, Value]]:
    prompt = rng.choice(prompts)
    values = [rng.choice(choices) for choices in _choices(prompt)]
    return prompt, dict(zip(prompt.attributes, values, strict=True))


def _modality(text: str) -> str:
    """MR or CT, as the words of a prompt say."""
    found = [modality for modality, words in WORDS.items() if words.search(text)]
    if len(found) != 1:
        raise ConfigError(
            f"prompt '{text}' speaks of {'both MR and CT' if found else 'neither MR nor CT'}: say which "
            "one it is, with --modality or as modality in the prompts' file."
        )
    return found[0]
