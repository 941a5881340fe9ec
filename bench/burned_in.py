"""How surely import finds text that is burned into pixels, and how often it takes anatomy for it.

    python -m bench burned_in --data ../shared/data                 # the half of the people and the fonts not chosen by
    python -m bench burned_in --data ../shared/data --half chosen   # those that the thresholds were chosen by

A name or a date is drawn on a real scan: five fonts, sizes (height of a capital in pixels) and contrasts, three places;
level, turned by 3 degrees or by 90; as it is or as a JPEG of quality 80. It lies where a person can read it: on a box
of its own, or 55 grey levels of 255 or more from nine tenths of what it covers. One line an image. False alarms are of
the scans as they are; each is named, to be looked at. The people are parted by turns of their ids in order.
"""

from __future__ import annotations

import csv
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
from PIL import Image

from phonybrains.importing.burned_in import find_text
from phonybrains.statistics.proportions import wilson
from tests.support import burned_text  # pyright: ignore[reportMissingImports]  # of the tests

from .options import measurement
from .timing import cores, table

app = measurement(__name__, __doc__)
FOLDERS = ("brain-mri", "brain-mri-more", "head-ct", "head-ct-more")
CAPITALS = (7, 9, 12, 18, 28)
TURNS = (0, 0, 0, 3, -3, 90)


def scans(data: Path, half: str) -> Iterator[tuple[str, Path]]:
    """Folder and file of each image of one half of the people."""
    rows: list[tuple[str, Path, str]] = []
    for folder in FOLDERS:
        with (data / folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
            rows += [(folder, data / folder / row["file_name"], row["patient_id"]) for row in csv.DictReader(file)]
    people = sorted({person for _, _, person in rows})[half != "chosen" :: 2]
    chosen = set(people)
    return ((folder, path) for folder, path, person in rows if person in chosen)


def read(path: Path) -> burned_text.Picture:
    return np.asarray(Image.open(path).convert("L"))


def found(image: burned_text.Picture) -> bool:
    return find_text(image.astype(np.float32), 0.0, 255.0) is not None


def shares(counts: Mapping[Any, list[bool]]) -> list[list[object]]:
    """A row for each: how many, the share in percent, its 95 % interval (Wilson)."""
    rows: list[list[object]] = []
    for name, hits in counts.items():
        estimate = wilson(sum(hits), len(hits))
        rows.append(
            [name, len(hits), sum(hits), *(f"{100 * x:.1f}" for x in (estimate.value, estimate.low, estimate.high))]
        )
    return rows


@app.default
def main(
    *, data: Path, half: Literal["other", "chosen"] = "other", texts: int = 2000, every: int = 1, seed: int = 0
) -> None:
    """Print the tables.

    Args:
        data: Folder with brain-mri and head-ct.
        half: Fonts and people by which the thresholds were not chosen, or by which they were.
        texts: Images to draw on.
        every: Look for false alarms in every n-th image.
        seed: Start of the random numbers.
    """
    rng, images = np.random.default_rng(seed), list(scans(data, half))
    print(f"{len(images)} images, {cores()} cores")
    kinds: dict[str, dict[Any, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(texts):
        _, path = images[rng.integers(len(images))]
        drawer, text = str(rng.choice(list(burned_text.FONTS[half]))), burned_text.words(rng)
        capital, contrast, place = (
            int(rng.choice(CAPITALS)),
            str(rng.choice(burned_text.CONTRASTS)),
            str(rng.choice(burned_text.PLACES)),
        )
        turn, lossy = int(rng.choice(TURNS)), bool(rng.random() < 0.4)
        stamp = burned_text.trimmed(
            burned_text.turned(burned_text.trimmed(burned_text.FONTS[half][drawer](text, capital)), turn)
        )
        image = burned_text.burned(read(path), stamp, contrast, place, rng)
        if image is None:
            continue
        hit = found(burned_text.as_jpeg(image) if lossy else image)
        told = {"font": drawer, "capital, px": capital, "contrast": contrast, "place": place, "turned": turn}
        for kind, value in (told | {"file": "JPEG" if lossy else "as it is", "text": "all"}).items():
            kinds[kind][value].append(hit)
    for kind, counts in kinds.items():
        print(table([kind, "n", "found", "%", "from", "to"], shares(counts)), end="\n\n")
    alarms: dict[str, list[bool]] = defaultdict(list)
    seconds: list[float] = []
    for folder, path in images[::every]:
        image = read(path)
        before = time.thread_time()
        hit = found(image)
        seconds.append(time.thread_time() - before)
        alarms[folder].append(hit)
        alarms["all"].append(hit)
        if hit:
            print(f"{folder}/{path.name}: {find_text(image.astype(np.float32), 0.0, 255.0)}", flush=True)
    print(table(["no text drawn", "n", "found", "%", "from", "to"], shares(alarms)))
    print(f"{1000 * median(seconds):.1f} ms of a core an image (median of {len(seconds)})")
