"""`phonybrains serve`: a model behind OpenAI's protocol, one process, started and stopped by hand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

import uvicorn

from ..model.finding import model_folder
from ..model.opening import open_fastest
from ..model.sampling import Engine, Sampling
from ..record import fingerprint, read_record
from ..web import listen as web
from ..web.guard import is_local
from .app import make_app
from .batcher import Batcher
from .context import ModelContext
from .picture import Origin

STOP_SECONDS = 30


class ModelServer(web.Server):
    """Tells the batcher as soon as a signal comes, so that nobody waits for what will not be made."""

    def __init__(self, config: uvicorn.Config, batcher: Batcher) -> None:
        super().__init__(config)
        self.batcher = batcher

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.batcher.stop_soon()


def serve_model(
    model: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    token: str = "",
    queue: int = 400,
    budget: int = 100,
    engine: Engine = "auto",
    show: Callable[[str], None] = web.show_at_once,
) -> None:
    """Serve a model folder, or a shipped model by its name, until Ctrl-C or SIGTERM; what is under way is finished.

    Shows   the addresses of the page and of the protocol, once the model is loaded and requests are answered
    Raises  ModelError for a folder that is no sound model, ConfigError if the host or the port cannot be used

    `token`, if there is one, must come with every request. The work of `queue` images at the model's own steps may
    wait, and a request may ask for that of `budget`; more is refused.
    """
    folder = model_folder(model)
    with web.listen(host, port) as listener:
        context = open_context(folder, token, queue, budget, engine)
        base = f"http://{web.shown_host(host)}:{listener.getsockname()[1]}"
        app = make_app(context, local=is_local(host) and not token)
        config = web.settings(app, stop_seconds=STOP_SECONDS)
        for line in _lines(context, host, base):
            show(line)
        with suppress(KeyboardInterrupt):
            ModelServer(config, context.batcher).run(sockets=[listener])
        context.batcher.close()


def open_context(
    folder: Path, token: str, queue: float = 400, budget: float = 100, engine: Engine = "auto"
) -> ModelContext:
    """Load a model for serving; see `open_fastest`."""
    model: Any = open_fastest(folder, engine, Sampling())
    origin = Origin(folder.resolve().name, fingerprint(folder))
    return ModelContext(folder, model, origin, made_at(folder), Batcher(model, queue, budget), token)


def made_at(folder: Path) -> int:
    """When a model was made, in seconds since 1970; 0 where its record does not tell."""
    with suppress(KeyError, TypeError, ValueError, OverflowError):
        return int(datetime.fromisoformat(read_record(folder)["created"]).timestamp())
    return 0


def _lines(context: ModelContext, host: str, base: str) -> list[str]:
    lines = []
    if not is_local(host):
        guarded = "with the token" if context.token else "by anybody, for anything. Give a --token"
        lines.append(f"WARNING: {host} can be reached from other machines, without encryption, {guarded}.")
    page = f"{base}/#token={quote(context.token)}" if context.token else f"{base}/"
    return [
        *lines,
        f"Page to play with:  {page}",
        f"OpenAI's protocol:  {base}/v1 (model '{context.name}', key: {'the token' if context.token else 'any'})",
        f"Serving {context.name}. Its images are synthetic, and say so. Stop with Ctrl-C.",
    ]
