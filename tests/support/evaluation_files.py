"""Image sets and findings for the tests of the evaluation: phantoms play both sides, the findings are made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from phonybrains.evaluation.config import EvaluateConfig, Part
from phonybrains.evaluation.findings import Audited, Confusion, Facts, Findings, MapImages, Pair, Ruler, Telling
from phonybrains.evaluation.inputs.sets import Sides, open_sides
from phonybrains.evaluation.score import Null, Score, unavailable
from phonybrains.phantom.corpus import make_phantoms

EXTRACTOR = "fd_handcrafted sha256:0123456789ab"
PAIR = Pair(
    modality="MR",
    synthetic="images/0.png",
    similarity=0.97,
    correlation=0.9,
    training="images/1.png",
    patient="a",
    threshold=0.9,
    flagged=False,
    same_file=False,
    panel="MR",
    excess=0.7,
)

AUDITED = Audited(
    n=12,
    exceedances=1,
    certain=0,
    threshold=0.9,
    rate=0.01,
    p=0.11,
    status="failed",
    held_out=9,
    held_out_patients=5,
    left_out=0,
    training=30,
    searches=["registration"],
)

RULER = Ruler(
    feature="power at 0.625 of Nyquist, dB",
    real=58.9,
    synthetic=55.1,
    auc=0.45,
    low=0.4,
    high=0.5,
    usual=0.51,
    usual_low=0.44,
    usual_high=0.57,
)


def make_sides(folder: Path, samples: int = 24, corpus: int = 96, size: int = 64) -> tuple[Path, Path]:
    """Image sets `samples` (synthetic) and `corpus` (real, two slices a patient) of phantoms, half MR, half CT."""
    made = make_phantoms(samples, folder / "samples", seed=2, size=size)
    real = make_phantoms(corpus, folder / "corpus", seed=1, size=size, slices_per_patient=2, synthetic=False)
    return made, real


def opened(folder: Path, **numbers: int) -> Sides:
    """`make_sides`, opened."""
    return open_sides(*make_sides(folder, **numbers), EvaluateConfig())


def made_up(sides: Sides) -> dict[Part, Findings]:
    """Findings of every part: of MR nothing is shown, CT is apart; one copy is flagged; FID could not be had."""
    others: dict[Part, Findings] = {"memorisation": _memorisation(sides), "bias": _bias(), "utility": _utility()}
    return {"quality": _quality(sides), "texture": _texture(), **others}


def _quality(sides: Sides) -> Findings:
    rng = np.random.default_rng(0)
    scores, arrays = [unavailable("fid", "no weights were given")], {}
    shown, telling = {}, {}
    for modality, off in (("MR", 0.0), ("CT", 1.0)):
        rows = sides.samples.where(modality=modality).rows
        null = Null(0.001, -0.010, 0.012, 20)
        scores += [
            Score(
                "kid",
                0.002 + 0.2 * off,
                -0.01 + 0.1 * off,
                0.011 + off,
                len(rows),
                null,
                0.4 - 0.39 * off,
                "test",
                modality,
                extractor=EXTRACTOR,
            ),
            Score("kid", 0.003, n=9, null=null, versus="test", modality=modality, group="plane=axial"),
            Score("prevalence", 0.25, 0.1, 0.5, len(rows), Null(0.5, 0.4, 0.6), modality=modality, group="plane=axial"),
        ]
        for kind, shift in (("real", 0.0), ("synthetic", off)):
            arrays[f"map/{modality}/{kind}"] = rng.normal(shift, 1, (40, 8))
        shown[modality] = MapImages(EXTRACTOR, [], [])
        telling[modality] = [Telling(row.file_name, 0.9) for row in rows[:5]]
    return Findings(scores, arrays, Facts(shown, telling))


def _texture() -> Findings:
    scores, arrays, frequency = [], {}, np.linspace(0.01, 0.5, 19)
    for modality, off in (("MR", 0.0), ("CT", 0.4)):
        value, null = 0.55 + off, Null(0.56, 0.52, 0.62, 40)
        where: dict[str, Any] = {
            "versus": "test",
            "modality": modality,
            "note": f"{RULER.feature}: smaller in synthetic images; the worst of 2",
        }
        scores.append(Score("texture_worst_auc", value, value - 0.04, value + 0.04, 12, null, 0.4 - off, **where))
        spectra = {"frequency": frequency, "real": -20 * frequency, "synthetic": -20 * frequency - 5 * off}
        for name, values in (spectra | {"low": 0 * frequency - 2, "high": 0 * frequency + 2}).items():
            arrays[f"spectrum/{modality}/{name}"] = values
    return Findings(scores, arrays, Facts(rulers={"MR": [RULER], "CT": [replace(RULER, auc=0.05)]}))


def _memorisation(sides: Sides) -> Findings:
    made = sides.samples.where(modality="MR").rows
    train = sides.corpus.where(modality="MR", split="train").rows
    pairs = [
        replace(
            PAIR,
            synthetic=made[i].file_name,
            training=train[i].file_name,
            patient=train[i].patient_id,
            similarity=PAIR.similarity - 0.1 * i,
            flagged=i == 0,
        )
        for i in range(3)
    ]
    arrays = {"similarity/MR/synthetic": np.linspace(0.5, 0.97, 12), "similarity/MR/held_out": np.linspace(0.4, 0.9, 9)}
    said = "One image is a copy of a training image."
    facts = Facts(pairs=pairs, pairs_shown=24, status="failed", sentence=said, audit={"MR": AUDITED})
    return Findings([Score("copies_flagged", 1 / 12, 0.002, 0.38, 12, versus="train", modality="MR")], arrays, facts)


def _bias() -> Findings:
    shares = Score("prevalence", 0.2, 0.1, 0.4, 12, Null(0.5, 0.5, 0.5), modality="CT", group="hemorrhage=none")
    shift = Score("amplification", -0.4, -0.9, 0.1, 12, Null.known(0), 0.2, modality="CT", group="hemorrhage=none")
    confusion = {"MR plane": Confusion(["axial", "coronal"], [[5, 1], [2, 4]], [[9, 0], [0, 9]])}
    return Findings([shares, shift], facts=Facts(confusion=confusion))


def _utility() -> Findings:
    where = {"modality": "CT", "group": "real + synthetic 1:1"}
    return Findings([Score("delta_auc", 0.02, -0.01, 0.05, 40, Null.known(0), 0.3, **where)])
