"""`phonybrains mcp`: the tools import, generate, evaluate and verify, typed as the command line's options are.

Source: Model Context Protocol, https://modelcontextprotocol.io/specification, "Tools" and "Progress".
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from pydantic import Field
from typing_extensions import TypedDict

from ..documents import read_json
from ..errors import ConfigError
from ..imageset import read_metadata
from ..record import TABLE_NAME, versions
from ..release_gate import AUDIT_NAME
from .command import Finished, run_command
from .root import Root

INSTRUCTIONS = (
    "Synthetic brain MRI and CT: scans become an image set (import), a model makes another (generate), which is "
    "measured against the scans (evaluate) and traced back (verify). Paths are taken from one root folder and stay in "
    "it. Synthetic images show no patient and are not for diagnosis: never call them real. A call that was broken off "
    "goes on when it is made again."
)
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Part = Literal["quality", "texture", "memorisation", "bias", "utility"]


class SetAnswer(TypedDict):
    """An image set that a tool made: its folder, how many images, what the command said."""

    out: str
    images: int
    said: list[str]


class EvaluateAnswer(TypedDict):
    """An evaluation: its folder and report, its four lines, its warnings, and the word of the audit; "" without one."""

    out: str
    report: str
    glance: list[str]
    warnings: list[str]
    audit: str


class VerifyAnswer(TypedDict):
    """Where something comes from: intact, changed or unknown, and each link with its reason."""

    path: str
    verdict: str
    links: list[dict[str, str]]


def make_server(folder: str | Path) -> MCPServer:
    """The tools over one folder. Raises ConfigError where there is none."""
    root = Root(Path(folder).resolve())
    if not root.folder.is_dir():
        raise ConfigError(f"--root {folder}: there is no such folder.")
    server = MCPServer("phonybrains", instructions=INSTRUCTIONS, version=versions()["phonybrains"], log_level="WARNING")
    tools = Tools(root)
    for tool in (tools.import_, tools.generate, tools.evaluate, tools.verify):
        server.add_tool(tool, tool.__name__.rstrip("_"), description=inspect.getdoc(tool))
    return server


@dataclass(frozen=True)
class Tools:
    """What agents may ask for; each tool runs the command of its name."""

    root: Root

    async def _run(self, context: Context[Any, Any], *words: str, **options: object) -> Finished:
        return await run_command([*words, *_as_words(options)], self.root.folder, context.report_progress)

    def _made(self, out: str, finished: Finished) -> SetAnswer:
        images = len(read_metadata(self.root.folder / out / TABLE_NAME))
        return SetAnswer(out=out, images=images, said=finished.lines)

    async def import_(
        self,
        context: Context[Any, Any],
        sources: Annotated[list[str], Field(min_length=1)],
        out: str,
        size: Count | None = None,
        modality: Literal["MR", "CT"] | None = None,
        window: tuple[float, float] | None = None,
        plane: Literal["native", "axial", "coronal", "sagittal"] | None = None,
        seed: Seed | None = None,
        synthetic: bool = False,
        generator: str | None = None,
    ) -> SetAnswer:
        """Turn scans (folders or files: DICOM, NIfTI, PNG, …) into an image set in the folder `out`, split by patient.

        size: side in pixels (256); modality: of files that do not say theirs; window: of CT, centre and width in HU;
        synthetic: the pictures were generated, by `generator`. What was left out, and why, is in OUT.import.csv.
        """
        given, place = [self.root.inside(source) for source in sources], self.root.inside(out)
        options = {"size": size, "modality": modality, "window": window, "plane": plane, "seed": seed}
        options |= {"synthetic": synthetic, "generator": generator}
        return self._made(place, await self._run(context, "import", *given, out=place, **options))

    async def generate(
        self,
        context: Context[Any, Any],
        model: str,
        n: Count,
        out: str,
        where: dict[str, str | int | float] | None = None,
        seed: Seed = 0,
        steps: Count | None = None,
        guidance: float | None = None,
    ) -> SetAnswer:
        """Generate n synthetic images with a model (a folder, or "heads") as an image set in the folder `out`.

        where: what they show, as {"modality": "CT"}; an unknown name is refused with those that the model knows.
        Image i depends on (seed, i) alone. guidance: 1 is the plain model.
        """
        words = [f"{name}={value}" for name, value in (where or {}).items()]
        options = {"n": n, "where": words, "seed": seed, "steps": steps, "guidance": guidance}
        place = self.root.inside(out)
        return self._made(place, await self._run(context, "generate", self.root.model(model), out=place, **options))

    async def evaluate(
        self,
        context: Context[Any, Any],
        samples: str,
        against: str,
        out: str,
        only: list[Part] | None = None,
        features: str | None = None,
        model: str | None = None,
        held_out: Literal["test", "validation"] | None = None,
        seed: Seed | None = None,
    ) -> EvaluateAnswer:
        """Measure synthetic images against the corpus that their model learnt from: as real, new, fair, useful?

        only: the parts to measure, all if not given; features: a file of SqueezeNet weights; model: the folder of the
        model. audit: passed, look or undecided, where memorisation is measured; one that failed is an error.
        """
        place, how = self.root.inside(out), {"only": only, "held_out": held_out, "seed": seed}
        how |= {"features": features and self.root.inside(features), "model": model and self.root.inside(model)}
        given = self.root.inside(samples)
        await self._run(context, "evaluate", given, against=self.root.inside(against), out=place, **how)
        folder, again = self.root.folder / place, "Evaluate again."
        found = read_json(folder / "scores.json", dict[str, Any], again)
        audit = folder / AUDIT_NAME
        word = read_json(audit, dict[str, Any], again)["verdict"] if audit.is_file() else ""
        lines = [f"{one['question']} {one['answer']}: {one['text']}" for one in found["glance"]]
        told = {"glance": lines, "warnings": found["warnings"], "audit": word}
        return EvaluateAnswer(out=place, report=f"{place}/report.html", **told)

    async def verify(self, context: Context[Any, Any], path: str, near: list[str] | None = None) -> VerifyAnswer:
        """Say where a picture, an image set, a model or an evaluation comes from: intact, changed or unknown.

        near: more folders in which what it was made from is looked for.
        """
        places = [self.root.inside(place) for place in near or ()]
        finished = await self._run(context, "verify", self.root.inside(path), near=places, within=".", json=True)
        return VerifyAnswer(**json.loads(finished.out))


def _as_words(options: Mapping[str, object]) -> Sequence[str]:
    """Options as the command line takes them; None and False are not given, a list is its option again and again."""
    words: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, tuple):
            words += [option, *map(str, value)]
        elif value not in (None, False):
            words += [f"{option}={one}" for one in (value if isinstance(value, list) else [value])]
    return words
