"""What a training keeps until it is done: tensors with a digest, so that none that are damaged are learnt from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..startup import say
from ..tensors import write_tensors

SEAL = "sha256"


def keep(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str] | None = None) -> None:
    """Write tensors and facts whole or not at all, with their digest."""
    facts = dict(facts or {})
    write_tensors(path, tensors, facts | {SEAL: _digest(tensors, facts)})


def take(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """What `keep` wrote; None where there is nothing, or where it is damaged, which is said."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            facts = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, LookupError, RuntimeError, ValueError):
        facts, tensors = {}, {}
    if facts.pop(SEAL, "") == _digest(tensors, facts):
        return tensors, facts
    say(f"{path.name} is damaged: what it held is made anew.")
    return None


def _digest(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(sorted(facts.items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
