"""Where the repository and the shared data lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
"""Real images and the weights of a small network; tests that need them skip where the folder is missing."""
