"""How large the two networks are, as configuration: nothing here needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from pydantic import Field

from ..config import Config
from ..errors import ConfigError

Count = Annotated[int, Field(ge=1)]


class AutoencoderShape(Config):
    """Widths at full, half, quarter and eighth resolution; no convolution runs at full resolution but the first."""

    latent_channels: Count = 8
    widths: tuple[Count, Count, Count, Count] = (16, 32, 64, 128)
    layers: Count = 2


class DenoiserShape(Config):
    """Widths of the U-Net at 32², 16², 8² (for 256² images), with attention at all but the first."""

    widths: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] = (64, 96, 128)
    layers: Count = 2
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


@contextmanager
def explained(network: str, shape: Config) -> Iterator[None]:
    """diffusers' complaints about a shape, as our error; the trial run inside is there to call them forth."""
    try:
        yield
    except (ArithmeticError, AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = f" ({error})" if str(error) else ""
        raise ConfigError(
            f"{network}.shape: no network can be built of {shape}{reason}. "
            "Widths that double, such as 16, 32, 64, 128, always work."
        ) from None
