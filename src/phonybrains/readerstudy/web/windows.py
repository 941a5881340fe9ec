"""The ready-made windows of grey levels that the viewer offers, in pixel values."""

from __future__ import annotations

from ..study import Study

HU_WINDOWS = (("Brain", 80, 40), ("Stroke", 40, 40), ("Subdural", 200, 75), ("Bone", 2500, 480))
AUTO = {"name": "Auto", "low": None, "high": None}
"""The viewer takes the 1st to 99th percentile of the image."""


def windows_of(study: Study) -> dict[str, list[dict[str, object]]]:
    """The windows of each modality, and what its pixels mean: value = slope · pixel + intercept, in `unit`.

    HU only where all cases of the modality, real and synthetic, are in HU on one scale: so they tell nothing.
    """
    found: dict[str, list[dict[str, object]]] = {}
    for modality in {case.modality for case in study.cases.values()}:
        scales = {(c.slope, c.intercept, c.unit) for c in study.cases.values() if c.modality == modality}
        slope, intercept, unit = next(iter(scales))
        if len(scales) > 1 or slope <= 0:
            slope, intercept, unit = 1.0, 0.0, ""
        windows = [_window(*window, slope, intercept) for window in HU_WINDOWS] if unit == "HU" else []
        scale = {"slope": slope, "intercept": intercept, "unit": unit if unit == "HU" else ""}
        found[modality] = [window | scale for window in [*windows, AUTO]]
    return found


def _window(name: str, width: float, level: float, slope: float, intercept: float) -> dict[str, object]:
    low, high = ((value - intercept) / slope for value in (level - width / 2, level + width / 2))
    return {"name": f"{name} {width}/{level}", "low": low, "high": high}
