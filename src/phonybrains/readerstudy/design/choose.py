"""Which images of the sets become cases: matched, from different patients where possible, none used twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...errors import ConfigError, StudyError
from ...held_out import HELD_OUT, held_out
from ...imageset import ImageSet, Row, how_split
from ...record import UNSAFE
from ...wording import count_of
from ..config import StudyConfig
from ..study import Role, Truth
from .match import Strata, Stratum, apportion
from .order import fillers_for, foresight, keyed_generator

NO_ARM = ("real", "check")  # names that no synthetic set can have


@dataclass(frozen=True, slots=True)
class Arm:
    """One set of images and what it is called in the study; `real` are the controls."""

    name: str
    images: ImageSet


@dataclass(frozen=True, slots=True)
class Choice:
    """One image that becomes a case."""

    role: Role
    arm: Arm
    index: int

    @property
    def row(self) -> Row:
        return self.arm.images.rows[self.index]

    @property
    def truth(self) -> Truth:
        """A check is no real image any more, whatever it is made of."""
        return "real" if self.arm.name == "real" and self.role != "check" else "phony"


@dataclass
class Choices:
    """The sets, the images chosen of them so far, and what a reader of the protocol must know about them."""

    arms: Sequence[Arm]
    real: Arm | None
    config: StudyConfig
    seed: int
    chosen: list[Choice] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def used(self, arm: Arm) -> set[int]:
        return {choice.index for choice in self.chosen if choice.arm is arm}

    def free(self, arm: Arm, modality: str) -> list[int]:
        """The images of a modality that are not used yet, each content once."""
        return sorted({*_pool(arm, modality, "any")} - self.used(arm))


def choose_cases(
    arms: Sequence[Arm], real: Arm | None, config: StudyConfig, seed: int
) -> tuple[list[Choice], list[str]]:
    """Choose test cases of every arm, controls, training cases and checks; return them with warnings.

    Raises ConfigError for a plan that contradicts itself, StudyError naming the set that has too few images.
    """
    _check_plan(arms, real, config)
    state = Choices(arms, real, config, seed)
    for modality in dict.fromkeys([*config.synthetic, *config.real]):
        _choose_test(state, modality)
    if real is not None:
        _choose_training(state, real)
        modalities = list(dict.fromkeys([*config.real, *config.synthetic]))
        for number in range(config.checks):
            _take_one(state, "check", real, modalities[number % len(modalities)], number)
        _choose_fillers(state, real)
        state.warnings += _patients(state, real)
    return state.chosen, state.warnings


def _check_plan(arms: Sequence[Arm], real: Arm | None, config: StudyConfig) -> None:
    wanted = sum(config.real.values())
    if not arms or not sum(config.synthetic.values()):
        raise ConfigError(
            "synthetic: a study needs at least one synthetic case. Give --synthetic and a number of each modality."
        )
    asked = {"controls": wanted, "training": config.training, "checks": config.checks, "fillers": config.fillers}
    needs = [name for name, number in asked.items() if number]
    if real is None and needs:
        raise ConfigError(
            f"{' and '.join(needs)} are made of real images, and there is no real set. Give --real, or set "
            "real = {}, training = 0 and checks = 0 (as --preset paper does)."
        )
    if not wanted and config.plan.primary != "called_real":
        raise ConfigError(
            f"plan.primary = '{config.plan.primary}' needs real controls, and there are none. Set "
            "plan.primary = 'called_real', or add controls."
        )


def _choose_test(state: Choices, modality: str) -> None:
    """Synthetic cases spread over the strata that controls exist for; controls follow them."""
    arms, real, config = state.arms, state.real, state.config
    n, controls = config.synthetic.get(modality, 0), config.real.get(modality, 0)
    pool = []
    if real is not None and controls:
        pool = _pool(real, modality, config.split)
        _check_enough(real, modality, len(pool), controls, "control", f" (split {config.split})")
    own = {arm.name: _pool(arm, modality, "any") for arm in arms}
    holding = [arm for arm in arms if own[arm.name]] or arms[:1]
    for arm in holding:
        _check_enough(arm, modality, len(own[arm.name]), n, "case")
    if n:
        state.warnings += [f"{modality}: arm '{a.name}' has no such images." for a in arms if a not in holding]
    synthetic_rows = [arm.images.rows[i] for arm in arms for i in own[arm.name]]
    real_rows = [real.images.rows[i] for i in pool] if real is not None else []
    strata = Strata.of(synthetic_rows, real_rows, config.match if controls else ())
    state.warnings += [f"{modality}: {text}" for text in strata.warnings]
    available = Counter(map(strata.key, real_rows))
    followed: Counter[Stratum] = Counter()
    for arm in holding:
        groups = strata.group(arm.images.rows, own[arm.name])
        sizes = {name: len(group) for name, group in groups.items()}
        caps = {name: min(size, available[name] * n // controls) for name, size in sizes.items()} if controls else sizes
        quota = apportion(n, sizes, caps)
        followed.update(quota)
        _take_of_strata(state, arm, groups, quota, f"test {arm.name} {modality}")
    if real is not None and controls:
        quota = apportion(controls, followed, dict(available))
        _take_of_strata(state, real, strata.group(real.images.rows, pool), quota, f"test real {modality}")
        state.warnings += [f"{modality}: {text}" for text in strata.unmatched(followed, quota)]


def _check_enough(arm: Arm, modality: str, has: int, wanted: int, what: str, of: str = "") -> None:
    if has < wanted:
        remedy = "Ask for fewer, or give a larger set"
        if arm.name == "real":
            remedy += "; split = 'any' also takes images that a model may have learnt from"
        images = count_of(has, f"different {modality} image")
        raise StudyError(f"{arm.images.folder}: {images} for {count_of(wanted, what)}{of}. {remedy}.")


def _take_of_strata(
    state: Choices, arm: Arm, groups: Mapping[Stratum, Sequence[int]], quota: Mapping[Stratum, int], purpose: str
) -> None:
    """Draw so many test cases of each stratum, patients that were used least first."""
    rng, rows = keyed_generator(state.seed, purpose), arm.images.rows
    seen = Counter(c.row.patient_id for c in state.chosen if c.arm is arm)
    for name in sorted(groups, key=str):
        waiting = [groups[name][int(i)] for i in rng.permutation(len(groups[name]))]
        for _ in range(quota.get(name, 0)):
            seen[""] = 0  # who is not known was not seen
            index = min(waiting, key=lambda i: seen[rows[i].patient_id])
            waiting.remove(index)
            seen[rows[index].patient_id] += 1
            state.chosen.append(Choice("test", arm, index))


def _choose_training(state: Choices, real: Arm) -> None:
    """Modalities and arms in turn; the truth of each is drawn, so that those told give the next not away."""
    modalities = [m for m in state.config.synthetic if state.config.synthetic[m]]
    for number, phony in enumerate(_draw_truths(state.config.training, keyed_generator(state.seed, "training truths"))):
        modality = modalities[number % len(modalities)]
        holding = [arm for arm in state.arms if _pool(arm, modality, "any")]
        arm = holding[number // len(state.arms) % len(holding)] if phony else real
        _take_one(state, "training", arm, modality, number)


def _draw_truths(n: int, rng: np.random.Generator) -> list[bool]:
    """A coin for each of n, thrown again until both sides come where n allows."""
    while True:
        truths = [bool(side) for side in rng.integers(2, size=n)]
        if n < 2 or len(set(truths)) == 2:
            return truths


def _choose_fillers(state: Choices, real: Arm) -> None:
    """Phony and real fillers of each modality, as many of either as a reader may be shown, as far as images last."""
    tests = Counter((c.row.modality, c.truth) for c in state.chosen if c.role == "test")
    for modality in sorted({modality for modality, _ in tests}):
        phony, controls = tests[modality, "phony"], tests[modality, "real"]
        wanted = fillers_for(phony, controls)
        number = state.config.fillers
        if number is None:
            left = sum(len(state.free(arm, modality)) for arm in state.arms)
            number = min(wanted, left, len(state.free(real, modality)))
        for i in range(number):
            holding = [arm for arm in state.arms if state.free(arm, modality)] or list(state.arms[:1])
            _take_one(state, "filler", holding[i % len(holding)], modality, i)
            _take_one(state, "filler", real, modality, i)
        ahead = foresight(phony, controls, number) if phony and controls else 0.0
        if ahead > 0.03:
            state.warnings.append(
                f"{modality}: who is told the truth of every case before can guess the next with {100 * ahead:.1f} "
                f"points above chance, counting what is left. {wanted} fillers would hide it; there are images for "
                f"{number}."
            )


def _take_one(state: Choices, role: Role, arm: Arm, modality: str, number: int) -> None:
    """Draw one image that is not used: of a new patient in the controls' split, else of a new patient, else any."""
    rows, free, split = arm.images.rows, state.free(arm, modality), state.config.split
    if not free:
        has = len(_pool(arm, modality, "any"))
        raise StudyError(
            f"{arm.images.folder}: no {modality} image is left for {role} case {number + 1} ({has} there, all used). "
            "Add images, or ask for fewer."
        )
    patients = {rows[i].patient_id for i in state.used(arm)} - {""}
    order = keyed_generator(state.seed, f"{role} {arm.name} {number}").permutation(len(free))

    def cost(i: int) -> tuple[bool, bool]:
        return rows[i].patient_id in patients, arm.name == "real" and split not in ("any", rows[i].split)

    index = min((free[int(k)] for k in order), key=cost)
    if role == "training" and cost(index)[0] and arm.name == "real":
        state.warnings.append(
            f"{modality}: training case {rows[index].file_name} is of a patient who is also a control; no other was "
            "left."
        )
    state.chosen.append(Choice(role, arm, index))


def _pool(arm: Arm, modality: str, split: str) -> list[int]:
    """The images of a modality and split, each content once; of test and validation those that are held out."""
    rows = arm.images.rows
    kept = held_out(rows, split) if split in HELD_OUT else range(len(rows))
    own = [i for i in kept if rows[i].modality == modality and split in ("any", rows[i].split)]
    return sorted({arm.images.content(i): i for i in sorted(own, reverse=True)}.values())


def _patients(state: Choices, real: Arm) -> list[str]:
    """What to know about the people whose images are the controls."""
    controls = [c.row for c in state.chosen if c.arm is real and c.role == "test"]
    modalities = dict.fromkeys(row.modality for row in controls)
    warnings = [
        f"{modality}: the controls' set is split {method}: a model may have learnt from the people they show."
        for modality, method in how_split(real.images).items()
        if UNSAFE in method and modality in modalities
    ]
    for modality in modalities:
        patients = [row.patient_id for row in controls if row.modality == modality]
        known = [patient for patient in patients if patient]
        if len(known) < len(patients):
            warnings.append(
                f"{modality}: of {count_of(len(patients), 'control')}, "
                f"{count_of(len(patients) - len(known), 'has', 'have')} no patient_id: they may be "
                "of one patient, and of one that the model has learnt from. The set is not patient-safe."
            )
        if len(set(known)) < len(known):
            warnings.append(
                f"{modality}: {len(known)} controls are of {count_of(len(set(known)), 'patient')}, so they are less "
                "independent than their number says."
            )
    if state.config.split in ("train", "validation", "any") and controls:
        warnings.append(f"Controls are from split '{state.config.split}': a model may have learnt from them.")
    return warnings
