"""Whose volumes these are, told from their names: the ids of BIDS and of public sets are known, all else is guessed.

A guess takes away from a path all that says *what* a volume is (sequence, processing, visit, channel); what is left
says *who*. It keeps one person's volumes together where it can, and is always called a guess.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ..reader import vocabulary
from .content import CT, MR, stem, words

BIDS = re.compile(r"(?:^|[/_])(sub-[A-Za-z0-9]+)(?=[/_.]|$)")
KNOWN = re.compile(
    r"""(?<![A-Za-z0-9])(
      BraTS-[A-Za-z]+-\d{5}                              # BraTS 2023 and later; then -000, the visit
    | BraTS20\d\d_\d{5}                                  # BraTS 2021
    | BraTS\d\d_(?:Training|Validation|Testing)_\d{3}    # BraTS 2020
    | BraTS1\d_[A-Za-z0-9]+_[A-Za-z0-9]+(?=_\d)          # BraTS 2017 to 2019: centre and patient; then the visit
    | BraTS_(?:2013|TCIA)_pat\d+                         # BraTS 2013 to 2015
    | IXI\d{3}
    | \d{3}_S_\d{4,5}                                    # ADNI: site and patient
    | OAS[1-4]_?\d{4}                                    # OASIS-1 to -4; then _MR1 or _d0129, the visit
    | HC[ADP]\d{7}                                       # HCP Lifespan
    | \d{6}(?=_[37]T_)                                   # HCP Young Adult
    | TCGA[-_][A-Za-z0-9]{2}[-_][A-Za-z0-9]{4}           # TCGA-GBM, TCGA-LGG
    | UPENN-GBM-\d{5}                                    # then _11 or _21, the visit
    | UCSF-PDGM-\d{3,4}
    | CQ500-?CT-?\d+
    )(?![A-Za-z0-9])""",
    re.VERBOSE | re.IGNORECASE,
)
NOT_WHO = vocabulary(
    "fl fl2d fl3d space tse se gre mpr mprage mp rage gd ce contrast pre post native wi w axial ax sagittal sag "
    "coronal cor 2d 3d brain bet skull stripped skullstripped strip masked n3 n4 bias corr corrected biascorr unbiased "
    "reg registered coreg warped resampled iso norm normalized normalised nu rawavg orig original raw anon anonymized "
    "defaced deface denoised cropped preproc preprocessed processed proc final restore brainext mni mninonlinear "
    "mni152 talairach acpc dc stx ras lps lpi nifti niftis nii dicom anat func perf images imagestr image img volume "
    "volumes vol scans scan data dataset rawdata derivatives sourcedata modality sequence series"
)
HCP = re.compile(r"(?:^|/)(\d{6})/(?:T1w|T2w|MNINonLinear|unprocessed)/")
WHAT = MR | CT | NOT_WHO
DETAIL = re.compile(r"\d+mm|\d+(x\d+)+|\d+t|mpr\d+|(ax|cor|sag)(t1|t2|flair)\w*")
VISIT = re.compile(
    r"(?<![a-z0-9])(?:(?:ses|session|visit|timepoint|time|tp|fu|followup|day|week|month|year)[_\- ]?\d+(?:-\d+)?"
    r"|baseline|followup)(?![a-z0-9])"
)
CODE = re.compile(r"(?<![a-z0-9])(?:[tvm]\d{1,2}|(?:19|20)\d\d(?:[-._]?[01]\d[-._]?[0-3]\d)?)(?![a-z0-9])")
"""A visit or a date beside the number of a patient; else perhaps the patient's own number."""
NUMBERED = re.compile(r"(?<![a-z0-9])(?:scan|series|run|acq|vol|volume|image|img|echo|channel)[_\- ]?\d+(?![a-z0-9])")
VSD = re.compile(r"(?:vsd|smir)\.brain\..*")
GROUP = re.compile(r"(?:site|cent(?:er|re)|batch|fold|part|group|cohort|study|class|grade|phase|set|scanner)(?: ?\d+)?")
CHANNEL = re.compile(r"_(\d{4})$")
MOST_IN_FOLDER = 30
"""A folder with more volumes of people without a number of their own is no folder of one patient."""


def patients(names: Sequence[str], source: str) -> dict[str, tuple[str, bool]]:
    """By name, the patient's id and whether it is a guess.

    names: paths of volumes below a source, with `/`; source: the base name of that folder, which guesses begin with.
    """
    known = {name: identity for name in names if (identity := _known(stem(name)))}
    twice = _in_two_places(known)
    found = {name: (identity, identity in twice) for name, identity in known.items()}
    rest = [name for name in names if name not in known]
    channels = _channels(rest)
    by_folder: dict[str, list[str]] = defaultdict(list)
    for name in rest:
        by_folder[name.rpartition("/")[0]].append(channels[name])
    for name in rest:
        beside = by_folder[name.rpartition("/")[0]]
        parts = [_who(source), *_guess(channels[name], beside)]
        found[name] = ("/".join(part for part in parts if part) or source.lower(), True)
    return found


def _known(name: str) -> str:
    """The id that BIDS or a public set gives, from the file's own name or else from the nearest folder."""
    if bids := BIDS.findall(name):
        match = KNOWN.fullmatch(bids[-1].removeprefix("sub-"))
        return match[1] if match else bids[-1]
    if match := HCP.search(name):
        return match[1]
    for part in reversed(name.split("/")):
        if match := KNOWN.search(part):
            return match[1].replace("_", "-") if match[1][:4].upper() == "TCGA" else match[1]
    return ""


def _in_two_places(known: Mapping[str, str]) -> set[str]:
    """BIDS ids below several folders that are no derivatives of each other: perhaps two studies, so two people."""
    places: dict[str, set[str]] = defaultdict(set)
    for name, identity in known.items():
        before = name.split(identity)[0].split("/")[:-1]
        cut = next((i for i, part in enumerate(before) if part in ("derivatives", "sourcedata", "rawdata")), None)
        places[identity].add("/".join(_who(part) for part in before[:cut]))
    return {identity for identity, found in places.items() if identity.startswith("sub-") and len(found) > 1}


def _channels(names: Iterable[str]) -> dict[str, str]:
    """Names without nnU-Net's channel, _0000 to _0009: where more numbers follow one stem, they count patients."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for name in names:
        if match := CHANNEL.search(stem(name)):
            numbers[stem(name)[: match.start()]].add(int(match[1]))
    cut: dict[str, str] = {}
    for name in names:
        bare = stem(name)
        match = CHANNEL.search(bare)
        head = bare[: match.start()] if match else bare
        folder, _, own = head.rpartition("/")
        channel = match and max(numbers[head]) < 10 and (re.search(r"\d", own) or folder.lower().endswith(("tr", "ts")))
        cut[name] = head if channel else bare
    return cut


def _guess(name: str, beside: Sequence[str]) -> list[str]:
    """The parts of a path that say who; beside: the names in the same folder."""
    *folders, own = name.split("/")
    if folders and folders[-1].lower() == "orig":
        folders.pop()
    if len(folders) > 1 and folders[-1].lower() == "mri":  # FreeSurfer: <subject>/mri/*.mgz
        return _distinct(_who(folder) for folder in folders[:-1])
    whos = [who for folder in folders if (who := _who(folder))]
    numbered = next((who for who in reversed(whos) if _has_digit(who) and not GROUP.fullmatch(who)), "")
    who = _who(own)
    if numbered and who and (_same(who, numbered) or (len(beside) <= MOST_IN_FOLDER and _is_detail(own, who, beside))):
        return _distinct(whos)
    if who or numbered:
        return _distinct([*whos, who])
    return _distinct([*whos, _who(own, NUMBERED, CODE)]) or _distinct(
        _who(part, VISIT, CODE) for part in (*folders, own)
    )


def _who(part: str, *kept: re.Pattern[str]) -> str:
    """What is left of a name without the words that say what it is; `kept` are patterns not to take away."""
    text = VSD.sub(" ", part.lower())
    for pattern in (NUMBERED, VISIT, CODE):
        if pattern not in kept:
            text = pattern.sub(" ", text)
    return " ".join(w for w in words(text) if w not in WHAT and not DETAIL.fullmatch(w))


def _is_detail(own: str, who: str, beside: Sequence[str]) -> bool:
    """Whether a file in a patient's folder is named for what it is: no number, the sequence first or each another."""
    if not _has_digit(who) or words(own)[0] in MR | CT:
        return True
    sequences = [frozenset(words(name.rpartition("/")[2])) & (MR | CT) for name in beside]
    return len(beside) > 1 and all(sequences) and len(set(sequences)) == len(sequences)


def _same(one: str, other: str) -> bool:
    shorter, longer = sorted((one.split(), other.split()), key=len)
    return longer[: len(shorter)] == shorter


def _distinct(parts: Iterable[str]) -> list[str]:
    """Parts that are not empty, without those that only repeat the one before."""
    kept: list[str] = []
    for part in filter(None, parts):
        if not (kept and _same(part, kept[-1])):
            kept.append(part)
    return kept


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)
