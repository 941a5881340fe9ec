"""Configuration of `phonybrains study design`: the cases, what readers are shown, and the plan of the analysis."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from ..config import Config, load_config
from ..errors import ConfigError
from .names import clean_names

Share = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[int, Field(ge=0)]
ReaderNames = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(clean_names)]


class RepeatConfig(Config):
    """Cases shown twice to the same reader, to see how steady the answers are."""

    share: Share = 0.1
    """Repeats as a share of the test cases."""
    least: Number = 10
    """At least so many, where there are any."""
    gap: Number = 20
    """Presentations between the first showing and the second, at least."""


class PlanConfig(Config):
    """The analysis as it is registered before the first answer."""

    primary: Literal["auc", "balanced_accuracy", "called_real"] = "auc"
    """The figure the study is about; `called_real` (share of phony images called real) where there are no controls.
    In each of them an answer `unclear` counts one half, so that leaning and doubt alone do not move it from 0.5."""
    hypothesis: Literal["estimate", "difference", "equivalence"] = "estimate"
    """Report an interval; show that the figure differs from one half; or that it does not, within `margin`."""
    margin: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """What still counts as one half: 0.5 ± margin."""
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Confidence level of all intervals."""
    unclear: Literal["not phony", "phony", "left out"] = "not phony"
    """How `unclear` counts in sensitivity and specificity; the report shows the other two beside it."""
    checks_passed: Share = 0.75
    """A reader who passes a smaller share of the attention checks is left out of the main analysis."""
    answered: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A reader who answers a smaller share of the phony, or of the real, test cases does not count in the registered
    test."""

    @field_validator("primary", mode="before")
    @classmethod
    def _no_accuracy(cls, value: object) -> object:
        if value == "accuracy":
            reason = (
                "'accuracy' was withdrawn: a reader who guesses is right more often than half where there are more "
                "cases of one kind. Take 'balanced_accuracy' or 'auc'"
            )
            raise ValueError(reason)
        return value


class StudyConfig(Config):
    """How a reader study is laid out."""

    free_tables = ("synthetic", "real")

    name: Annotated[str, Field(min_length=1, max_length=100)] = "Real or phony?"
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """Secret start of all random choices; drawn, and kept in the study folder, if not given."""
    synthetic: dict[str, Number] = {"MR": 20, "CT": 20}
    """Synthetic test cases of each modality, from each synthetic set."""
    real: dict[str, Number] = {"MR": 20, "CT": 20}
    """Real controls of each modality."""
    split: Literal["train", "validation", "test", "any"] = "test"
    """The split of the real set that controls come from: patients no model has learnt from."""
    match: tuple[str, ...] = ("plane",)
    """Attributes in which the controls follow the synthetic cases, besides the modality."""
    readers: ReaderNames = ("reader 1", "reader 2")
    training: Number = 6
    """Cases shown first, with the truth after each answer; they are not test cases."""
    checks: Number = 4
    """Images no attentive reader calls real: a real image cut into tiles and shuffled."""
    repeats: RepeatConfig = RepeatConfig()
    fillers: Number | None = None
    """Cases of each modality that are not analysed, a random number of them phony for each reader, so that nobody can
    count what is left; if not given, as many as keep the best guess of the next truth within 2.5 points of chance."""
    block: Annotated[int, Field(ge=2)] | None = None
    """Longest block of the order in studies frozen before orders came without blocks; no setting of a new one."""
    same_history: tuple[str, ...] | None = None
    """Last steps that real and synthetic images both go through, such as `floor:8`; if not given, the weakest that
    close what tells them apart."""
    days_valid: Annotated[int, Field(ge=1)] = 60
    """How long an invitation can be used."""
    accept_unaudited: bool = False
    """Show synthetic sets that no audit for copies of training images passed; the protocol says so."""
    plan: PlanConfig = PlanConfig()

    @field_validator("same_history", mode="before")
    @classmethod
    def _none_is_no_step(cls, steps: object) -> object:
        return () if steps in (("none",), ["none"]) else steps


def preset(name: str) -> Path:
    """The file of a preset. Raises ConfigError listing the presets."""
    folder = Path(str(resources.files("phonybrains"))) / "readerstudy" / "presets"
    path = folder / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.toml")))
        raise ConfigError(f"preset '{name}' is not known. Known: {known}.")
    return path


def load_study_config(
    preset_name: str = "controlled", path: str | Path | None = None, /, **given: object
) -> StudyConfig:
    """A preset, a TOML file laid over it, and the given values on top."""
    return load_config(StudyConfig, preset(preset_name), path, **given)
