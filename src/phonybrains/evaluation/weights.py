"""Weights of feature extractors: a file, or an address to download from once, known by its hash from then on.

squeezenet.safetensors                                    a file
https://example.org/inception.pth#sha256=6726825d…        an address with the SHA-256 of what it gives
hf://owner/name/folder/model.safetensors@revision         a file of a repository of the Hugging Face Hub
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from ..errors import ModelError
from ..model.hub_cache import fetched
from ..record import sha256_file

HUB = re.compile(r"hf://(?P<repository>[^/@#]+/[^/@#]+)/(?P<file>[^@#]+)(@(?P<revision>[^#]+))?$")
HASH = re.compile(r"[0-9a-f]{64}$")


def _as_written(value: object) -> object:
    """An address as text, anything else as the path of a file."""
    is_address = isinstance(value, str) and value.startswith(("https://", "http://", "hf://"))
    return value if is_address or not isinstance(value, str) else Path(value)


Weights = Annotated[Path | str, BeforeValidator(_as_written)]
"""A setting that names weights: the path of a file, or an address."""


def weights_file(weights: Path | str) -> Path:
    """The file itself; what an address names is downloaded into the cache, where the next call finds it.

    Raises ModelError, saying what to do, if it cannot be had or has another hash than the address says.
    """
    if isinstance(weights, Path):
        return weights
    address, _, given = weights.partition("#sha256=")
    if given and not HASH.match(given):
        raise ModelError(f"{weights}: '{given}' is not a SHA-256, which has 64 of the digits 0-9 and a-f.")
    if address.startswith("hf://"):
        path = _of_hub(address)
        if given and sha256_file(path) != given:
            raise ModelError(f"{weights}: the Hub's file has another SHA-256. Name the revision that you mean, with @.")
        return path
    if not given:
        raise ModelError(
            f"{address}: an address needs the SHA-256 of its file, #sha256=…, so that a score says what "
            "it was made with. Compute it once on a copy you trust."
        )
    return _of_server(address, given)


def _of_server(address: str, sha256: str) -> Path:
    import pooch
    from requests import RequestException, exceptions

    words = {
        exceptions.ChunkedEncodingError: "the transfer broke off",
        exceptions.Timeout: "no answer in time",
        exceptions.SSLError: "the server's certificate is not accepted",
        exceptions.ConnectionError: "there is no connection to its server",
    }  # those of requests are for programmers
    pooch.get_logger().setLevel("WARNING")
    folder, name = pooch.os_cache("phonybrains") / "weights", address.rsplit("/", 1)[-1] or "weights"
    try:
        return Path(pooch.retrieve(address, f"sha256:{sha256}", fname=f"{sha256[:12]}-{name}", path=folder))
    except ValueError:
        raise ModelError(f"{address}: what came has another SHA-256 than {sha256[:12]}…, so it was removed.") from None
    except (OSError, RequestException) as error:
        reason = next((said for kind, said in words.items() if isinstance(error, kind)), str(error))
        raise _not_downloaded(address, reason) from None


def _of_hub(address: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    found = HUB.match(address)
    if not found:
        raise ModelError(f"{address}: not an address of the Hub; it looks so: hf://owner/name/model.safetensors@main.")
    try:
        fetch = partial(hf_hub_download, found["repository"], found["file"], revision=found["revision"])
        return fetched(found["repository"], fetch)
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise _not_downloaded(address, str(error)) from None


def _not_downloaded(address: str, reason: str) -> ModelError:
    text = " ".join(reason.split())
    brief = text if len(text) <= 160 else f"{text[:159]}…"
    remedy = "Without a connection, copy the file here and name its path."
    return ModelError(f"{address} could not be downloaded ({brief}). {remedy}")
