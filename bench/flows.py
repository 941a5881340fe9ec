"""The README's flows (flows.sh), run from the command line with two checkouts, and what came out of them compared.

python -m bench flows BEFORE AFTER --data ../shared/data --out flows
python -m bench flows flows/before.json AFTER --out flows      # the manifest of an earlier run in place of a checkout

A manifest has the hash and the figures of every file. The folders it tells of lie beside it, in a folder of its name:
AFTER has to open those, too. Images, tables and weights are compared by their bytes; JSON, HTML, PDF and what commands
print by keys and lines, of which EXPLAINED lists what may differ, and why. Ends with 1 if anything else does. Commands
run under the Python that runs this script, with one thread, in a folder of their own. Needs bash and pypdf.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from .options import measurement

LEARNT = "(model|pu..ed|heads|samples|few-step|heun|dd.m|epidural|foreign|evaluation|audit|cascade|lora|imagined|old)"
CODE = "code bundled from the package: what counts are the images it makes"
EXPLAINED = (  # patterns of file, key and what BEFORE has there; and why AFTER may have something else
    (r".*/events\.out\.tfevents.*", "bytes", "", "TensorBoard's times; training/log.jsonl has its figures"),
    (r"[^/]+/log[.-].*", "bytes", "", "the secret of a study's log, and the last hash under it"),
    (r".*/(pipeline|condition_embedding)\.py", "line .*", "", CODE),
    (r".*/model\.json", "sha256/model.json", "", "hash over the hashes of that code"),
    (rf"{LEARNT}.*/record\.json", "(.*/)?identity", "[0-9a-f]{64}", "hash over that of a model"),
    (r".*/record\.json", r".*inputs/\d+/sha256", "<hash of (model|finetune)", "identity of a model without its code"),
    (r".*report/record\.json", r"identity|inputs/\d/sha256", "[0-9a-f]{64}", "hash over a study's folder and secrets"),
    (r"cascade/.*/record\.json", "inputs/0/sha256", "[0-9a-f]{64}", "hash of a model that is not kept"),
    (r"imagined\.originals/.*png", "bytes", "", "a served image names its model; imagined/images has the pixels"),
    (r"imagined.*", r"(row|inputs).*", "[0-9a-f]{16}|1 raster ", "a served model numbers its answers at random"),
)
UNCOMPARED = re.compile(r"(.*/)?(\.[^/]*|__pycache__)(/.*)?|.*\.lock")
TEXTS = (".md", ".html", ".txt", ".svg", ".py")
HASH = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{12,16})\b")
SHELL = 'phonybrains() { "$PYTHON" -m phonybrains "$@"; }\npython() { "$PYTHON" "$@"; }\n'


Flow = tuple[str, list[str]]  # the folder that it needs, $DATA/name or $OLD/name, and its steps of shell


def read_flows(path: Path) -> dict[str, Flow]:
    """The flows of a script: a heading, "## name, if FOLDER", and steps, of a line and the indented lines below it."""
    flows: dict[str, Flow] = {}
    for section in path.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        name, _, needs = heading.partition(", if ")
        steps = [re.sub(r"\n {4}", "\n", step) for step in re.split(r"\n(?! )", body) if step]
        flows[name] = needs, steps
    return flows


class Scrub:
    """Texts of a run without its times and places; the hash of one of its files is that file's name."""

    def __init__(self, folder: Path, checkout: Path, files: Mapping[str, str]) -> None:
        self.names = {sha256[:12]: Path(name).name for name, sha256 in sorted(files.items(), reverse=True)}
        for name in files:
            if Path(name).name == "protocol.json":
                protocol = json.loads((folder / name).read_text("utf-8"))
                self.names |= {protocol["hash"][:12]: "this protocol", protocol["code"][:12]: "the program"}
        today = datetime.now(UTC).strftime("%Y-%m-%d")
        self.patterns = [
            (re.escape(str(folder)), "<work>"),
            (re.escape(str(checkout)), "<checkout>"),
            (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?", "<time>"),
            (today, "<today>"),
            (r"[\d.]+ (images|scenes|rows)/s", r"<speed> \1/s"),
            (r": \d+ s +━", ": <duration> ━"),
            (r"\b\d+:\d\d:\d\d\b", "<duration>"),
            (r"(127\.0\.0\.1|localhost):\d+", "<address>"),
            (r'"created":\d{10}', '"created":<time>'),
            (r"(?:(?<=[\r\n])|\A)[^\r\n]*\[\d\d:\d\d<[^\r\n]*[\r\n]*", ""),  # progress of other packages
        ]

    def __call__(self, text: str) -> str:
        for pattern, name in self.patterns:
            text = re.sub(pattern, name, text)
        return HASH.sub(lambda found: self._named(found[0]), text)

    def _named(self, sha256: str) -> str:
        name = self.names.get(sha256[:12])
        return f"<hash of {name}>" if name else sha256


def figures(path: Path, scrub: Scrub) -> dict[str, Any]:
    """What a file says, key by key; empty where its bytes are all that can be compared."""
    suffix = path.suffix
    if suffix == ".json":
        return dict(_flat(json.loads(scrub(path.read_text("utf-8")))))
    if suffix == ".jsonl":
        return dict(_flat([json.loads(line) for line in scrub(path.read_text("utf-8")).splitlines()]))
    if suffix == ".csv":
        text = scrub(path.read_bytes().decode("utf-8"))
        rows = csv.DictReader(text.splitlines())
        cells = {f"row {i}/{column}": value for i, row in enumerate(rows, 1) for column, value in row.items()}
        return {"returns": text.count("\r"), "quotes": text.count('"'), "columns": rows.fieldnames, **cells}
    if suffix == ".pdf":
        from pypdf import PdfReader

        text = " ".join(page.extract_text() for page in PdfReader(path).pages)
        return _lines("\n".join(scrub(text).split()))  # word by word: where lines break depends on hashes
    if suffix == ".db":
        return dict(_tables(path))
    return _lines(scrub(path.read_text("utf-8"))) if suffix in TEXTS else {}


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list) and value:
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _flat(item, f"{key}/{name}" if key else str(name))
    else:
        yield key, value


def _lines(text: str) -> dict[str, str]:
    """Lines by number; of a long one, its beginning and its hash."""
    short = (line if len(line) < 300 else f"{line[:100]}… {_sha256(line.encode())}" for line in text.splitlines())
    return {f"line {number}": line for number, line in enumerate(short, 1)}


def _tables(path: Path) -> Iterator[tuple[str, Any]]:
    """A database's tables with the number of their rows: what is in them are secrets and times."""
    connection = sqlite3.connect(path)
    for name, sql in connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall():
        yield name, sql
        if sql and sql.startswith("CREATE TABLE"):
            yield f"{name}/rows", connection.execute(f'SELECT COUNT(*) FROM "{name}"').fetchone()[0]
    connection.close()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def run_flows(flows: Mapping[str, Flow], checkout: Path, folder: Path, data: Path, old: Path) -> dict[str, Any]:
    """Run flows with a checkout in a new folder; returns, for each, its time and what it printed and wrote."""
    folder.mkdir(parents=True)
    places = {"CHECKOUT": checkout, "DATA": data, "OLD": old, "HOME": folder / ".home", "PYTHON": sys.executable}
    environment = {name: str(place) for name, place in places.items()}
    environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    environment |= {"COLUMNS": "100", "TERM": "dumb", "LANG": "C.UTF-8", "HF_HUB_OFFLINE": "1"}
    found, seen = {}, _stamps(folder)
    for name, (needs, steps) in flows.items():
        root, _, below = needs.partition("/")
        if root and not (places[root] / below).exists():
            found[name] = {"skipped": f"there is no {below} in {root}"}
            continue
        print(f"{name} …", file=sys.stderr, flush=True)
        begin = time.monotonic()
        printed = {step.partition("\n")[0]: _run(step, folder, environment) for step in steps}
        stamps = _stamps(folder)
        written = [path for path, stamp in stamps.items() if seen.get(path) != stamp]
        found[name] = {"seconds": round(time.monotonic() - begin), "printed": printed, "written": written}
        seen = stamps
    return found


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    stamps = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not UNCOMPARED.fullmatch(name):
            stamps[name] = path.stat().st_mtime_ns, path.stat().st_size
    return stamps


def _run(step: str, folder: Path, environment: Mapping[str, str]) -> str:
    """What a line of shell prints, to either side, and its exit status."""
    done = subprocess.run(["bash", "-c", SHELL + step], cwd=folder, env=environment, capture_output=True, text=True)
    return f"exit {done.returncode}\n{done.stdout}\n--- standard error ---\n{done.stderr}"


def manifest(checkout: Path, folder: Path, flows: dict[str, Any]) -> dict[str, Any]:
    """The hash and the figures of every file, and of what each step printed as if it were one."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    hashes = {name: _sha256(path.read_bytes()) for name, path in paths.items()}
    scrub = Scrub(folder, checkout, hashes)
    made: dict[str, Any] = {}
    for flow, what in flows.items():
        made[flow] = {key: what[key] for key in ("seconds", "skipped") if key in what}
        files = made[flow]["files"] = {}
        for step, text in what.get("printed", {}).items():
            text = scrub(text)
            files[f"$ {step}"] = {"sha256": _sha256(text.encode()), "figures": _lines(text)}
        for name in what.get("written", ()):
            plain = re.sub(r"log-[0-9a-f]{16}", "log-…", name)
            files[plain] = {"sha256": hashes[name], "figures": figures(folder / name, scrub)}
    return made


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[tuple[str, str]] | None]:
    """By file, None where bytes are equal; else the keys that differ, each with its reason or ""."""
    found: dict[str, list[tuple[str, str]] | None] = {}
    for name in sorted(before.keys() | after.keys()):
        if name not in before or name not in after:
            found[name] = [("", f"only {'after' if name in after else 'before'}")]
            continue
        (one, of_one), (two, of_two) = ((side[name]["sha256"], side[name]["figures"]) for side in (before, after))
        if not of_one | of_two:
            of_one, of_two = {"bytes": one[:12]}, {"bytes": two[:12]}
        pairs = [(key, of_one.get(key), of_two.get(key)) for key in of_one | of_two]
        apart = [(_reason(name, key, was), f"{key}: {was!r} → {now!r}") for key, was, now in pairs if was != now]
        found[name] = apart if one != two else None
    return found


def _reason(name: str, key: str, value: Any) -> str:
    for file, pattern, was, why in EXPLAINED:
        if re.fullmatch(file, name) and re.fullmatch(pattern, key) and re.match(was, str(value)):
            return why
    return ""


def report(before: Mapping[str, Any], after: Mapping[str, Any], names: list[str], shown: int) -> bool:
    """Print a row for each flow, each reason and each difference without one; returns whether there is none."""
    table = Table("flow", "files", "equal bytes", "equal figures", "differs", "s before", "s after")
    reasons: Counter[str] = Counter()
    lines: list[str] = []
    for flow in names:
        one, two = before.get(flow, {"skipped": "not run"}), after.get(flow, {"skipped": "not run"})
        if "skipped" in one or "skipped" in two:
            table.add_row(flow, one.get("skipped") or two.get("skipped"))
            if one.get("skipped") != two.get("skipped"):
                lines.append(f"{flow}: run on one side alone")
            continue
        found = compare(one["files"], two["files"])
        bad = {name: [text for why, text in apart or () if not why] for name, apart in found.items()}
        reasons.update(why for apart in found.values() for why, _ in apart or () if why)
        equal, differ = list(found.values()).count(None), sum(map(bool, bad.values()))
        numbers = len(found), equal, len(found) - equal - differ, differ, one["seconds"], two["seconds"]
        table.add_row(flow, *map(str, numbers))
        for name, apart in bad.items():
            lines += [f"{flow}: {name}: {text}"[:300] for text in apart[:shown]]
            lines += [f"{flow}: {name}: … {len(apart) - shown} more"] if len(apart) > shown else []
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(table)
    for line in [f"explained, {count} times: {why}" for why, count in reasons.items()] + lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return not lines


app = measurement(__name__, __doc__)


@app.default
def main(
    *sides: Annotated[Path, Parameter(name="CHECKOUT|MANIFEST")],
    data: Path = Path("../shared/data"),
    out: Path = Path("out/flows"),
    only: tuple[str, ...] = (),
    slow: bool = False,
    shown: int = 5,
) -> None:
    """Run the flows.

    Args:
        sides: One is run, two are compared.
        data: Folder of real scans.
        out: Folder of what is made.
        only: These flows, and what they build on.
        slow: Run demo as well: 95 images, two minutes.
        shown: Differences printed for each file.
    """
    flows = read_flows(Path(__file__).with_suffix(".sh"))
    if not sides or not flows.keys() >= set(only):
        sys.exit(f"Give a checkout or a manifest, and of the flows some of {', '.join(flows)}.")
    wanted = only or [name for name in flows if slow or name != "demo"]
    names = [name for name in flows if name in ("inputs", *wanted)]
    out, old, manifests = out.resolve(), None, []
    for side, label in zip(sides, ("before", "after"), strict=False):
        if side.is_file():
            manifests.append(json.loads(side.read_text("utf-8")))
            old = side.resolve().with_suffix("") / "work"
            continue
        folder = out / label / "work"  # of one name for both, as some messages have it
        shutil.rmtree(folder, ignore_errors=True)
        found = run_flows({name: flows[name] for name in names}, side.resolve(), folder, data.resolve(), old or folder)
        manifests.append(manifest(side.resolve(), folder, found))
        old = folder
        (out / f"{label}.json").write_text(json.dumps(manifests[-1], indent=1), encoding="utf-8")
    if len(manifests) == 2:
        sys.exit(not report(manifests[0], manifests[1], names, shown))
