"""The times that sampling of the flow passes; nothing here needs torch."""

from __future__ import annotations


def flow_times(steps: int, shift: float = 1.0) -> list[float]:
    """1 … 0 as `steps` + 1 falling numbers: equal steps u, shifted to s u / (1 + (s - 1) u).  [Esser 2024, eq. 23]

    Coarse structure is settled near pure noise, where a shift above 1 makes the steps smaller.
    """
    equal = [1 - i / steps for i in range(steps)] + [0.0]
    return [shift * u / (1 + (shift - 1) * u) for u in equal]
