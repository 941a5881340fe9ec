"""`phonybrains join`: the shards of a run in; the set that the run would have written without shards out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import load_config
from ..errors import ConfigError, ImageSetError
from ..files import link_or_copy, whole
from ..imageset import METADATA_NAME, ImageSet, check_whole
from ..progress import progress_bars
from ..record import Record, fingerprint, is_published, publish, read_record, sha256_file
from ..spreadsheet import read_sheet, sheet_text
from .config import GenerateConfig
from .processes import Share
from .stage import file_name

OTHER_BATCHES = (
    "the shards were computed in different batches, by another batch size or number of threads: their images may be a "
    "gray level apart from those of one run."
)


@dataclass(frozen=True)
class Shard:
    """A finished shard: its folder, what its record holds, and how it was made."""

    folder: Path
    record: dict[str, Any]
    config: GenerateConfig

    @classmethod
    def open(cls, folder: Path) -> Shard:
        """Read the record of a shard. Raises ConfigError for any other folder, and for a shard that is not finished."""
        record = read_record(folder)
        how = record.get("config", {})
        if record.get("stage") != "generate" or "shard" not in how or not record.get("inputs"):
            raise ConfigError(
                f"{folder} is no finished shard. Make it with 'phonybrains generate --shard', or give the command of a "
                "stopped one again."
            )
        return cls(folder, record, load_config(GenerateConfig, None, **{k: how[k] for k in how if k != "mask_split"}))

    @property
    def share(self) -> Share:
        return Share.read(self.config.shard)

    @property
    def facts(self) -> dict[str, Any]:
        """What the shards of one run have in common, by the name that a person knows it by."""
        inputs = [f"{one['name']} ({one['sha256'][:12]})" for one in self.record["inputs"]]
        said = {"model": inputs[0], "masks": inputs[1:], "n": self.config.n, "number of shards": self.share.world}
        return said | {name: value for name, value in self.record["config"].items() if name != "shard"}

    def images(self) -> ImageSet:
        """The images, checked. Raises ImageSetError for what is damaged, and where they are not those of the shard."""
        images = ImageSet.open(self.folder)
        if [row.file_name for row in images.rows] != [file_name(i) for i in self.config.indices]:
            raise ImageSetError(f"{self.folder} does not hold the images that were made. Make the shard again.")
        return images


def join(parts: Sequence[str | Path], out: str | Path, *, show: bool = True) -> Path:
    """Join the shards of one run of `generate` into the set that it would have written without shards.

    Writes  out (an image set): images, masks and metadata.csv byte for byte, as links to the files of the shards where
            the disk can; the record of the run, with the shards in results.shards
    Raises  ConfigError for what is no finished shard, for a shard twice or missing, and for shards of different runs:
            before anything is written; ImageSetError for a damaged shard; OutputError if `out` is something else.

    One shard is in memory at a time. The same call takes up a stopped one.
    """
    out, shards = Path(out), _in_order([Shard.open(Path(part)) for part in parts])
    record = _record(shards)
    if is_published(out, record, check_whole):
        return out
    with publish(out, record, resume=True) as draft, progress_bars(show) as bar:
        line = bar.add_task("joining", total=shards[0].config.n, unit="images")
        with whole(draft / METADATA_NAME, sync=False) as table, table.open("wb") as file:
            columns: tuple[str, ...] = ()
            for shard in shards:
                images, sheet = shard.images(), read_sheet(shard.folder / METADATA_NAME, "file_name")
                if not columns:
                    file.write(sheet_text([columns := sheet.columns]))
                if sheet.columns != columns:
                    raise ImageSetError(f"{shard.folder / METADATA_NAME} has other columns than {shards[0].folder}.")
                for row in images.rows:
                    for name, sha256 in ((row.file_name, row.sha256), (row.mask_file_name, row.mask_sha256)):
                        _take(shard.folder / name, draft / name, sha256) if name else None
                    bar.advance(line)
                file.write(sheet_text(row.values() for row in sheet.rows.values()))
    return out


def _take(source: Path, path: Path, sha256: str) -> None:
    """Have a file in the draft; what a power cut left there damaged, or another run, gives way."""
    if path.exists() and sha256_file(path) != sha256:
        path.unlink()
    link_or_copy(source.resolve(), path)


def _in_order(shards: Sequence[Shard]) -> list[Shard]:
    """The shards from the first to the last. Raises ConfigError where they are not all those of one run, each once."""
    if not shards:
        raise ConfigError("join takes the shards of a run: none is given.")
    first, found = shards[0], dict[int, Shard]()
    for shard in shards:
        for name in first.facts | shard.facts:
            here, there = shard.facts.get(name), first.facts.get(name)
            if here != there:
                what = f"{name} is {here} here and {there} there"
                raise ConfigError(f"{shard.folder} is of another run than {first.folder}: {what}.")
        if shard.share.rank in found:
            other = found[shard.share.rank].folder
            raise ConfigError(f"{other} and {shard.folder} are both the shard {shard.share}. Give each once.")
        found[shard.share.rank] = shard
    world = first.share.world
    if missing := [str(Share(rank, world)) for rank in range(world) if rank not in found]:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise ConfigError(
            f"of {world} shards these are missing: {', '.join(missing[:5])}{more}. Make and name them too."
        )
    return [found[rank] for rank in range(world)]


def _record(shards: Sequence[Shard]) -> Record:
    """The record of the run, as it would be without shards; results.shards says of which it was joined."""
    record, n = shards[0].record, shards[0].config.n
    config = {name: value for name, value in record["config"].items() if name != "shard"}
    results = {**record["results"], "images": n}
    if len({shard.record["results"].get("batches") for shard in shards}) > 1:
        print(f"WARNING: {OTHER_BATCHES}", file=sys.stderr)
        results["warnings"] = [*results.get("warnings", ()), OTHER_BATCHES]
    results.pop("batches", None)
    results["shards"] = [
        {
            "shard": str(shard.share),
            "images": len(shard.config.indices),
            "sha256": fingerprint(shard.folder),
            "created": shard.record.get("created"),
        }
        for shard in shards
    ]
    return Record("generate", config, record.get("seed"), record["inputs"], record.get("sources") or (), results)
