"""Refusals, in the words of different services: an answer that says that no image is made of this prompt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

FREE = ("moderation_blocked", "content_policy_violation")
"""OpenAI's own codes, which cost nothing. Others may charge: Azure OpenAI does for a filtered prompt."""
CODES = re.compile(
    r"moderat(ion(blocked|failed|error)?|ed)$|content(policy|filter|moderation|violation)|policyviolation|responsibleai"
    r"|safety(violation|system|filter|block(ed)?|error)?$|sensitive|prohibitedcontent|datainspection|nsfw|unsafe|guardrail"
)
WORDS = re.compile(
    r"content[ _-]?(policy|policies|filter|management|moderation)|responsible ?ai|safety (system|filter|polic)"
    r"|moderation (system|layer|filter)|(sensitive|unsafe|prohibited|inappropriate) content|usage polic",
    re.IGNORECASE,
)
INNER = ("innererror", "inner_error")
DEEPEST = 6


def refusal_of(answer: Any, *, words: bool = True) -> str | None:
    """The code of a refusal, as the service writes it; None if an answer says something else.

    words: whether the error's message may tell it, where no code does.
    """
    for code in _codes(answer):
        if CODES.search(re.sub(r"[^a-z]", "", code.lower())):
            return code
    return "refused" if words and WORDS.search(message_of(answer)) else None


def may_cost(answer: Any, code: str) -> bool:
    """Whether a refusal may have been paid for."""
    return code not in FREE or any(name in _error(answer) for name in INNER)


def message_of(answer: Any) -> str:
    """What an answer says to a person about what is wrong."""
    error = _error(answer)
    found = error.get("message") or error.get("detail")
    return found if isinstance(found, str) else ""


def _error(answer: Any) -> Mapping[str, Any]:
    error = (answer.get("error") or answer) if isinstance(answer, Mapping) else answer
    return error if isinstance(error, Mapping) else {"message": error}


def _codes(value: Any, depth: int = 0) -> Iterator[str]:
    """All that calls itself a code, a type or a reason; and what a filter says to have found."""
    if isinstance(value, list) and depth < DEEPEST:
        for inner in value:
            yield from _codes(inner, depth + 1)
    if not isinstance(value, Mapping) or depth == DEEPEST:
        return
    for name, inner in value.items():
        if name in ("code", "type", "reason", "status", "finish_reason") and isinstance(inner, str):
            yield inner
        elif name == "contentFilter" and inner:  # Zhipu: who said what was filtered
            yield name
        elif isinstance(inner, Mapping) and inner.get("filtered") is True:  # Azure: by category
            yield "content_filter"
        elif name not in ("b64_json", "url"):
            yield from _codes(inner, depth + 1)
