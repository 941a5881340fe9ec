"""The command `phonybrains serve`."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from ..startup import lean_diffusers
from .options import Port, Whole
from .working import working


@working("device")
def serve(
    model: str,
    /,
    *,
    host: str = "127.0.0.1",
    port: Port = 8080,
    token: Annotated[str, Parameter(env_var="PHONYBRAINS_TOKEN")] = "",
    queue: Whole = 400,
    budget: Whole = 100,
    engine: Literal["auto", "torch", "compiled"] = "auto",
) -> None:
    """Serve a model: OpenAI's protocol for images, and a page to play with it.

    Args:
        model: A model folder, or the name of a model that comes with the package.
        host: Address to listen at; others than this machine reach 0.0.0.0.
        port: Port to listen at; 0 for any that is free.
        token: What clients have to send as their API key; from PHONYBRAINS_TOKEN, no list of processes shows it.
        queue: How much work may wait, in images at the model's own steps; who asks for more is told to come back later.
        budget: How much of it one request may ask for.
        engine: What computes them: torch, compiled (see "phonybrains model compile"), or auto for the faster here.
    """
    from ..model.finding import model_folder

    model_folder(model)
    with lean_diffusers():
        from ..model import latent_diffusion as _  # noqa: F401  # its imports are quicker here
    from ..serving.serve import serve_model

    serve_model(model, host=host, port=port, token=token, queue=queue, budget=budget, engine=engine)
