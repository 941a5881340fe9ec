"""Models passed on: through the Hugging Face Hub, or as a checked copy in a folder; without the log of training."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from huggingface_hub import CommitOperationAdd, HfApi, snapshot_download
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of the HTTP client that the Hub's library uses

from ..drafts import appear
from ..errors import ConfigError, ModelError, OutputError
from ..tensors import brief
from . import lora_description
from .description import ALL_FILES, CARD, model_files
from .finding import find_model, is_fine_tuned, model_card
from .hub_cache import fetched
from .opening import open_model
from .training_data import NO_SOURCES


def push_model(name: str | Path, repo: str, *, private: bool = False, revision: str | None = None) -> str:
    """Copy a model of either kind to a repository of the Hub, made if there is none, or into a folder; returns where.

    repo: "user/name", or a folder: a path that starts with / . or ~ or that exists, or a file:// URL.
    Raises ModelError for a damaged model or one whose card names no licence or no sources, OutputError where the Hub
    or the folder does not take it.
    """
    folder = find_model(name)
    found = _files(folder)
    _check_card(folder)
    if target := _local(repo, revision, private):
        return str(_copy(found, target))
    api, files = HfApi(), [CommitOperationAdd(name, content) for name, content in found.items()]
    with _explained(repo, OutputError):
        url = api.create_repo(repo, private=private or None, exist_ok=True)
        if private and not api.repo_info(repo).private:
            raise OutputError(f"{repo} exists and is public. Make it private first, or choose another name.")
        if revision:
            api.create_branch(repo, branch=revision, exist_ok=True)
        api.create_commit(repo, files, commit_message="A model of phonybrains", revision=revision)
    return str(url)


def pull_model(repo: str, out: str | Path, *, revision: str | None = None) -> Path:
    """Fetch a model that was pushed; it appears at `out` whole and checked, or not at all.

    repo: as in `push_model`. Raises ModelError if it is no sound model or cannot be had, OutputError if `out` exists.
    """
    out = Path(out)
    _check_free(out)
    source = _local(repo, revision)
    if source is None:
        with _explained(repo, ModelError):
            wanted = [*ALL_FILES, *lora_description.ALL_FILES]
            fetch = partial(snapshot_download, repo, revision=revision, allow_patterns=wanted)
            source = fetched(repo, fetch)
    return _copy(_files(find_model(source.resolve())), out)


def _files(folder: Path) -> dict[str, Path | bytes]:
    """What is passed on of a model of either kind, by name. Raises ModelError if it is damaged."""
    if is_fine_tuned(folder):
        return lora_description.shared_files(folder)
    open_model(folder)
    return {name: folder / name for name in model_files(folder)}


def _local(repo: str, revision: str | None, private: bool = False) -> Path | None:
    """The folder that is meant, or None for a repository of the Hub."""
    url, path = urlsplit(repo), Path(repo).expanduser()
    if url.scheme == "file":
        path = Path(url2pathname(url.path))
    elif not repo.startswith(("/", ".", "~")) and not path.exists():
        return None
    if revision or private:
        raise ConfigError(f"{repo} is a folder: it has no revisions and is not private.")
    return path


def _copy(files: Mapping[str, Path | bytes], out: Path) -> Path:
    """Copy the files of a model that has been checked, and check the copy."""
    _check_free(out)
    place = out.resolve()
    with appear(out, place.with_name(f".{place.name}.model.partial")) as draft:
        for name, content in files.items():
            (draft / name).parent.mkdir(exist_ok=True)
            if isinstance(content, bytes):
                (draft / name).write_bytes(content)
            else:
                shutil.copyfile(content, draft / name)
        open_model(draft)
    return out


def _check_free(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise OutputError(f"{out} already exists. Choose another place, or remove it first.")


def _check_card(folder: Path) -> None:
    """Raise ModelError for a card that does not say what the model may be used for and where it comes from."""
    text = model_card(folder)
    block = text.removeprefix("---\n").partition("\n---\n")[0] if text.startswith("---\n") else ""
    if not re.search(r"^license: *\S", block, re.MULTILINE):
        how = "add a line such as 'license: cc-by-4.0' to the block between --- at its top."
        raise ModelError(f"{folder / CARD} names no licence: {how}")
    if NO_SOURCES in text:
        raise ModelError(f"{folder / CARD} names no sources of the training data: add them in place of that sentence.")


@contextmanager
def _explained(repo: str, kind: type[ModelError | OutputError]) -> Iterator[None]:
    """What the Hub refuses, or the way to it, as an error of ours."""
    try:
        yield
    except (HTTPError, OSError, ValueError) as error:
        how = "Check the name, the connection and the login, 'hf auth login' or HF_TOKEN."
        raise kind(f"{repo}: {brief(error).rstrip('.')}. {how} A folder is written with ./ in front.") from None
