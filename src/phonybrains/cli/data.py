"""The commands that make image sets of other people's images, or of phantoms: `import`, `fetch`, `phantom`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from ..errors import ConfigError
from ..wording import count_of
from .options import Flag, Modality, Seed, Whole
from .working import working


@working("quiet", "overwrite")
def import_(
    sources: Annotated[list[str], Parameter(name="SRC", negative="")],
    /,
    *,
    out: Path,
    config: Path | None = None,
    size: int | None = None,
    bits: Literal[8, 16] | None = None,
    modality: Modality | None = None,
    window: Annotated[tuple[float, float] | None, Parameter(negative="")] = None,
    no_window: Flag = False,
    plane: Literal["native", "axial", "coronal", "sagittal"] | None = None,
    seed: Seed | None = None,
    key_file: Path | None = None,
    masks: Path | None = None,
    mask_label: int | None = None,
    outline: str | None = None,
    synthetic: Flag = False,
    generator: str | None = None,
    keep_text: Flag = False,
    strict: Flag = False,
) -> int:
    """Turn scans (DICOM, NIfTI, NRRD, MetaImage, PNG, JPEG, TIFF, …; also in archives) into an image set.

    Args:
        sources: Folders, files, and queries of a PACS (docs/pacs.md), of any mixture.
        out: Folder of the image set; what was left out is listed beside it, in OUT.import.csv.
        config: TOML file with any of the settings of docs/import.md; the options here win.
        size: Side of the images in pixels (256).
        bits: Bits of a pixel (8).
        modality: Modality of files that do not say theirs.
        window: CT: centre and width in HU (40 80).
        no_window: CT: keep the HU as they are, in 16 bits.
        plane: volumes: the plane to slice in (native: the one with the finest pixels).
        seed: Start of the random numbers of the split (0).
        key_file: Another key of the patient pseudonyms.
        masks: Folder of masks, each of the name of its image; for several sources, [sources.NAME] of the settings.
        mask_label: The label that is inside (all but 0).
        outline: What the masks outline, e.g. "tumour".
        synthetic: The images were generated: no split, no patients; colour becomes luminance, and is noted.
        generator: With --synthetic: what generated them, e.g. "Midjourney 8".
        keep_text: Keep images with text burned into their pixels; the record says so, and the report lists them.
        strict: Exit with 1 if any file was left out.
    """
    from ..config import load_config
    from ..importing import ImportConfig, import_images

    if no_window and window is not None:
        raise ConfigError("--window and --no-window do not go together.")
    given = {"size": size, "modality": modality, "plane": plane, "seed": seed, "key_file": key_file}
    given |= {"bits": 16 if no_window else bits, "window": "none" if no_window else window}
    given |= {"masks": masks, "mask_label": mask_label, "outline": outline}
    given |= {"synthetic": synthetic or None, "generator": generator, "keep_text": keep_text or None}
    settings = load_config(ImportConfig, config, **given)
    return int(import_images(sources, out, settings, strict=strict).failed)


@working("quiet")
def fetch(name: str, /, *, out: Path) -> None:
    """Download a public data set from its publisher, for import.

    Args:
        name: cheng2017 (brain MRI with tumours) or ct-ich (head CT with hemorrhages; needs a PhysioNet login).
        out: Folder for its files.
    """
    from ..importing.fetch import fetch

    print(f"{fetch(name, out)} is complete. Next: phonybrains import {quote(str(out))} --out corpus/")


@working("quiet", "overwrite")
def phantom(
    *,
    n: Annotated[Whole, Parameter(name=["--n", "-n"])],
    out: Path,
    seed: Seed = 0,
    size: Annotated[int, Parameter(validator=Number(gte=16))] = 256,
    as_scans: Flag = False,
    masks: Literal["lesion", "ventricles", "head"] | None = None,
) -> None:
    """Draw head phantoms, MR and CT, as an image set with known ventricles, brain, age and lesions.

    Args:
        n: How many images.
        out: Folder of the image set.
        seed: Start of the random numbers.
        size: Side of the images in pixels, a multiple of 32.
        as_scans: Mark them as scans: for rehearsals in which they play the patients.
        masks: Write the exact outline of this beside each image.
    """
    from ..phantom.corpus import make_phantoms

    if size % 32:
        sizes = " or ".join(str(side) for side in (size // 32 * 32, size // 32 * 32 + 32) if side)
        raise ConfigError(f"--size {size}: training needs a multiple of 32 pixels a side. Give {sizes}.")
    make_phantoms(n, out, seed=seed, size=size, synthetic=not as_scans, masks=masks or "")
    print(f"{out}: {count_of(n, 'phantom')}")
