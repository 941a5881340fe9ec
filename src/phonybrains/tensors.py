"""Tensors on disk, written whole or not at all, and what went wrong with them in one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save

from .files import write_whole


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file whole or not at all, and have it on the disk.

    A full disk is an OSError that says so, and the file gets the permissions of any other; `save_file` has neither.
    """
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, dict(facts or {}))
    write_whole(path, content)


def brief(error: Exception) -> str:
    """An error's text on one line, cut off where torch goes on to list every weight."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:199] + "…"
