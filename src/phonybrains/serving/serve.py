"""`phonybrains serve`: a model behind OpenAI's protocol, one process, started and stopped by hand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import FrameType
from urllib.parse import quote

import torch
import uvicorn

from ..model.finding import model_folder
from ..model.latent_diffusion import LatentDiffusion
from ..record import fingerprint, read_record
from ..web import listen as web
from .app import make_app
from .batcher import Painter
from .gallery import Gallery
from .guard import is_local
from .picture import Origin

STOP_SECONDS = 30


def show_at_once(line: str) -> None:
    """Print a line also where the output is a file or a pipe."""
    print(line, flush=True)


class Server(web.Server):
    """Tells the painter as soon as a signal comes, so that nobody waits for what will not be painted."""

    def __init__(self, config: uvicorn.Config, painter: Painter) -> None:
        super().__init__(config)
        self.painter = painter

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.painter.stop_soon()


def serve_model(
    model: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    token: str = "",
    queue: int = 400,
    budget: int = 100,
    show: Callable[[str], None] = show_at_once,
) -> None:
    """Serve a model folder, or a shipped model by its name, until Ctrl-C or SIGTERM; what is under way is finished.

    Shows   the addresses of the page and of the protocol, once the model is loaded and requests are answered
    Raises  ModelError for a folder that is no sound model, ConfigError if the host or the port cannot be used

    `token`, if there is one, must come with every request. The work of `queue` images at the model's own steps may
    wait, and a request may ask for that of `budget`; more is refused.
    """
    folder = model_folder(model)
    with web.listen(host, port) as listener:
        gallery = open_gallery(folder, token, queue, budget)
        base = f"http://{web.shown_host(host)}:{listener.getsockname()[1]}"
        app = make_app(gallery, local=is_local(host) and not token)
        config = web.settings(app, stop_seconds=STOP_SECONDS)
        for line in _lines(gallery, host, base):
            show(line)
        with suppress(KeyboardInterrupt):
            Server(config, gallery.painter).run(sockets=[listener])
        gallery.painter.close()


def open_gallery(folder: Path, token: str, queue: float = 400, budget: float = 100) -> Gallery:
    """Load a model for serving."""
    model = LatentDiffusion.load(folder, "cuda" if torch.cuda.is_available() else "cpu")
    made = read_record(folder).get("created")
    created = int(datetime.fromisoformat(made).timestamp()) if made else 0
    origin = Origin(folder.resolve().name, fingerprint(folder))
    return Gallery(folder, model, origin, created, Painter(model, queue, budget), token)


def _lines(gallery: Gallery, host: str, base: str) -> list[str]:
    lines = []
    if not is_local(host):
        guarded = "with the token" if gallery.token else "by anybody, for anything. Give a --token"
        lines.append(f"WARNING: {host} can be reached from other machines, without encryption, {guarded}.")
    page = f"{base}/#token={quote(gallery.token)}" if gallery.token else f"{base}/"
    return [
        *lines,
        f"Page to play with:  {page}",
        f"OpenAI's protocol:  {base}/v1 (model '{gallery.name}', key: {'the token' if gallery.token else 'any'})",
        f"Serving {gallery.name}. Its images are synthetic, and say so. Stop with Ctrl-C.",
    ]
