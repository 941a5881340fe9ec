"""What some window could show of an image outside the anatomy: its air, its rim, its corners, both ends of its range.

Nothing here is matched to one kind of trace: distributions of what should look alike on both sides. Levels count from
the image's darkest, in 255ths of the range where an image has more levels than 256.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.fft import dctn

Image = NDArray[np.int16]
Levels = NDArray[np.int32]
Values = NDArray[np.float64]
Features = dict[str, float]

BLOCK, AIR, REACH = 8, 0.06, 9  # pixels; share of the range; pixels that air keeps from what is bright
RIM, SEGMENTS, CORNER = (0, 1, 2, 4, 8), 8, 16  # depths and crops in pixels
MODULI = (2, 3, 4, 5, 7, 8, 16)


def window_features(image: Image) -> Features:
    """Air, rim, corners, both ends of the grey levels, their residues, single lines and pixels, mirrored rims."""
    levels = image.astype(np.int32) - int(image.min())
    found = {"darkest level": float(image.min()), "brightest level": float(image.max())}
    for measure in (_ends, _residues, _air, _rim, _corners, _lines, _mirrors):
        found |= measure(levels)
    return found


def _unit(levels: Levels) -> float:
    """One 255th of the range, at least a level."""
    return max(1.0, int(levels.max()) / 255)


def _ends(levels: Levels) -> Features:
    """How pixels pile up at either end: shares, neighbours, runs, blocks of one value, distinct levels near it."""
    found: Features = {}
    unit, top = _unit(levels), int(levels.max())
    for name, from_end in (("dark", levels), ("bright", top - levels)):
        counts = np.bincount(np.minimum(from_end.ravel(), 4 * int(np.ceil(unit)) + 4))
        at, near = float(counts[0]), float(counts[1:5].mean()) if len(counts) > 5 else 0.0
        flat = from_end == 0
        figures = {
            "": at / levels.size,
            " over its neighbours": float(np.log((at + 1) / (near + 1))),
            ", second level": float(np.log((counts[1] + 1) / (counts[2:4].mean() + 1))),
            ", gap": float(np.flatnonzero(counts[1:])[0] if counts[1:].any() else len(counts)),
            ", blocks": float(blocks_of(flat, 4).all(axis=1).mean()),
            ", near it": float(np.log(counts[1:5].sum() + 1)),
            ", longest run": float(max(_longest_run(flat), _longest_run(flat.T))),
            ", distinct levels": len(np.unique(from_end[from_end <= 0.06 * top])) / (int(0.06 * top) + 1),
        }
        found |= {f"{name} end{what}": value for what, value in figures.items()}
    return found


def blocks_of(values: NDArray[Any], side: int = BLOCK) -> NDArray[Any]:
    """Aligned blocks as (n, side²)."""
    height, width = (n // side * side for n in values.shape)
    cut = values[:height, :width].reshape(height // side, side, width // side, side)
    return cut.swapaxes(1, 2).reshape(-1, side * side)


def _longest_run(mask: NDArray[np.bool_]) -> int:
    padded = np.pad(mask, ((0, 0), (1, 1))).astype(np.int8).ravel()
    edges = np.flatnonzero(np.diff(padded))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


def _residues(levels: Levels) -> Features:
    """How unevenly levels fall on the residues of small numbers, between the ends; how many levels there are."""
    top = int(levels.max())
    inner = levels[(levels > 0.06 * top) & (levels < 0.94 * top)]
    found = {"distinct levels": float(len(np.unique(inner)) / max(min(len(inner), 0.88 * top), 1))}
    for modulus in MODULI:
        shares = np.bincount(inner % modulus, minlength=modulus) * modulus / max(len(inner), 1)
        found[f"levels modulo {modulus}"] = max(0.0, float(shares.max()) - 1.1)
    return found


def _air(levels: Levels) -> Features:
    """The air's levels, its texture in 8 × 8 blocks (spectrum, variance, flat ones), and how both change in space.

    Air is where the image is dark all around: outside the head, away from its edge.
    """
    air = ndimage.uniform_filter(levels.astype(np.float32), REACH) < AIR * np.quantile(levels, 0.99)
    unit = _unit(levels)
    within = blocks_of(air).all(axis=1)
    values = blocks_of(levels)[within] / unit
    if len(values) < 8:
        values = np.zeros((8, BLOCK**2))
    spread = values.std(axis=1)
    spectrum = np.asarray(dctn(values.reshape(-1, BLOCK, BLOCK), axes=(1, 2), norm="ortho")) ** 2
    energy = np.log(np.mean(np.minimum(spectrum, 256), axis=0) + 0.003)
    found = {f"air, frequency {u}{v}": float(energy[u, v]) for u in range(BLOCK) for v in range(BLOCK) if u + v}
    found |= {f"air, variation {q:g}": float(np.quantile(spread, q)) for q in (0.05, 0.25, 0.5, 0.75, 0.95)}
    found |= {f"air, level {q:g}": float(np.quantile(values, q)) for q in (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)}
    found |= {f"air, share of {k}": float(((values >= k) & (values < k + 1)).mean()) for k in range(4)}
    found["air, flat blocks"] = float((spread == 0).mean())
    found["air, equal neighbours"] = float((np.diff(values.reshape(-1, BLOCK, BLOCK), axis=2) == 0).mean())
    return found | _gradients(levels / unit, air)


def _gradients(values: Values, air: NDArray[np.bool_]) -> Features:
    """How the air's mean and variation change from left to right, top to bottom, and outwards."""
    y, x = np.indices(values.shape) / (np.array(values.shape)[:, None, None] - 1) - 0.5
    places = np.flatnonzero(air)
    if len(places) < 64:
        places = np.arange(values.size)
    design = np.column_stack([np.ones(values.size), x.ravel(), y.ravel(), (x**2 + y**2).ravel()])[places]
    moments = design.T @ design
    fine = np.abs(values - ndimage.uniform_filter(values, 3))
    found: Features = {}
    for name, what in (("level", values), ("texture", fine)):
        slope = np.linalg.solve(moments, design.T @ np.minimum(what.ravel()[places], 16))
        figures = {"across": slope[1], "down": slope[2], "slope": np.hypot(slope[1], slope[2]), "outwards": slope[3]}
        found |= {f"air, {name} {way}": float(value) for way, value in figures.items()}
    return found


def _of_four(name: str, four: Sequence[float]) -> Features:
    """What four sides or corners have of something, whichever of them it is."""
    return {f"{name}, least": min(four), f"{name}, most": max(four), f"{name}, mean": float(np.mean(four))}


def _sides(levels: Levels) -> Iterator[Levels]:
    """The image with each of its sides on top."""
    yield from (levels, levels[::-1], levels.T, levels.T[::-1])


def _rim(levels: Levels) -> Features:
    """The outermost lines: how flat, how dark, and how they step to the next, by depth; the wider and narrower side."""
    found: Features = {}
    unit, sides = _unit(levels), list(_sides(levels))
    for depth in RIM:
        lines = [(side[depth] / unit, side[depth + 1] / unit) for side in sides]
        figures = {
            "step": [float(np.sign(np.round(a - b, 6)).mean()) for a, b in lines],
            "change": [float(np.abs(a - b).mean()) for a, b in lines],
            "one level": [float(max(np.bincount(side[depth])) / side.shape[1]) for side in sides],
            "level": [float(np.minimum(a, 32).mean()) for a, _ in lines],
        }
        for name, four in figures.items():
            found |= _of_four(f"rim {depth}, {name}", four)
    widths, chords = zip(*map(_flat_lines, sides), strict=True)
    return found | {
        "border": float(sum(widths)),
        "thinnest border": min(widths),
        "widest border": max(widths),
        "straight edge": float(sum(chords)),
        "straightest edge": max(chords),
    }


def _flat_lines(side: Levels) -> tuple[float, float]:
    """How many lines at the top are of the corner's level, and the share of the next one that is not."""
    other = (side != side[0, 0]).mean(axis=1)
    width = int(np.argmax(other > 0))
    return float(width), float(other[width])


def _corners(levels: Levels) -> Features:
    """The four corners, turned alike: level, brightest, variation, share of one level; triangles at the very corner."""
    unit = _unit(levels)
    turned = (levels, levels[:, ::-1], levels[::-1], levels[::-1, ::-1])
    crops = [image[:CORNER, :CORNER] for image in turned]
    tip = np.add.outer(np.arange(CORNER), np.arange(CORNER)) < CORNER // 2
    figures: dict[str, list[float]] = {
        "level": [float(np.minimum(c / unit, 64).mean()) for c in crops],
        "brightest": [float(c.max() / unit) for c in crops],
        "variation": [float(c.std() / unit) for c in crops],
        "one level": [float(np.bincount(c.ravel()).max() / c.size) for c in crops],
        "tip": [float(np.minimum(c[tip] / unit, 64).mean() - np.minimum(c[~tip] / unit, 64).mean()) for c in crops],
        "tip's variation": [float(np.log((c[tip].std() + 0.1) / (c[~tip].std() + 0.1))) for c in crops],
    }
    found: Features = {}
    for name, four in figures.items():
        found |= _of_four(f"corner, {name}", four)
    return found


def _lines(levels: Levels) -> Features:
    """Lines that differ from both neighbours all along, lines of one level amid others, pixels that stand alone."""
    odd, flat, gain = 0.0, 0, 0.0
    for lines in (levels, levels.T):
        gain = max(gain, float(abs(np.log((lines[::2].sum() + 1) / (lines[1::2].sum() + 1)))))
        bend = np.sign(2 * lines[1:-1] - lines[:-2] - lines[2:])
        counts = np.abs(bend).sum(axis=1)
        odd = max(odd, float(np.where(counts >= 32, np.abs(bend.sum(axis=1)) / np.maximum(counts, 1), 0).max()))
        varied = np.ptp(lines, axis=1) > 0
        flat += int((~varied[1:-1] & varied[:-2] & varied[2:]).sum())
    around = np.arange(9).reshape(3, 3) != 4
    above = levels - ndimage.maximum_filter(levels, footprint=around)
    below = ndimage.minimum_filter(levels, footprint=around) - levels
    alone = np.maximum(np.maximum(above, below), 0)
    usual = np.quantile(alone, 0.99) + 0.02 * levels.max()
    return {
        "every other line": gain,
        "odd line": max(0.0, odd - 0.9),
        "flat line": float(flat),
        "pixels alone": float((alone > 4 * usual).sum()),
    }


def _mirrors(levels: Levels, deepest: int = 16) -> Features:
    """Whether the rim repeats what lies inside it, mirrored or copied: the largest share of equal steps along lines."""
    largest = 0.0
    for side in _sides(levels):
        steps = np.diff(side[: 2 * deepest + 1], axis=1)
        for k in range(1, deepest + 1):
            for outside, inside in ((k - 1, k), (k - 1, k + 1)):
                a, b = steps[outside::-1][:k], steps[inside : inside + k][:k]
                varied = (a != 0) | (b != 0)
                if varied.sum() >= 24:
                    largest = max(largest, float((a == b)[varied].mean()))
    return {"mirrored rim": max(0.0, largest - 0.6)}


def rim_crops(image: Image) -> Values:
    """The outermost sixteenth on each side after stretching, pooled to 64 pixels a side, as a vector: no anatomy."""
    levels = image.astype(np.int32) - int(image.min())
    pool, width = max(1, min(levels.shape) // 64), max(1, min(levels.shape) // 16)
    stretched = np.minimum(levels / _unit(levels), 16)
    keep = np.ones(levels.shape, bool)
    keep[width:-width, width:-width] = False
    return blocks_of(stretched, pool).mean(axis=1)[blocks_of(keep, pool).all(axis=1)]
