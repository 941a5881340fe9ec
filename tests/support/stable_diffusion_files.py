"""Tiny Stable Diffusion checkpoints of every family, randomly initialised, as folders in diffusers' format."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

KINDS = {
    "sd": "StableDiffusionPipeline",
    "sd2": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "sd3": "StableDiffusion3Pipeline",
    "sd3-t5": "StableDiffusion3Pipeline",
}
SIDE = 64
WIDTH = 32


def make_base(folder: Path, family: str = "sd") -> Path:
    """Write a checkpoint: sd (noise prediction), sd2 (velocity prediction), sdxl, sd3 (without T5) or sd3-t5."""
    import diffusers

    torch.manual_seed(0)
    parts: dict[str, Any] = {"tokenizer": _clip_tokenizer(), "scheduler": _scheduler(family)}
    if family in ("sd", "sd2"):
        parts |= {
            "text_encoder": _text_encoder(),
            "unet": _unet(WIDTH),
            "vae": _vae(),
            "safety_checker": None,
            "feature_extractor": None,
            "requires_safety_checker": False,
        }
    elif family == "sdxl":
        unet = _unet(
            2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + WIDTH,
        )
        parts |= {
            "text_encoder": _text_encoder(),
            "text_encoder_2": _text_encoder(projected=True),
            "tokenizer_2": _clip_tokenizer(),
            "unet": unet,
            "vae": _vae(),
        }
    else:
        t5 = family == "sd3-t5"
        parts |= {
            "text_encoder": _text_encoder(projected=True),
            "text_encoder_2": _text_encoder(projected=True),
            "tokenizer_2": _clip_tokenizer(),
            "text_encoder_3": _t5() if t5 else None,
            "tokenizer_3": _t5_tokenizer() if t5 else None,
            "transformer": _transformer(),
            "vae": _vae(16, shift_factor=0.06),
        }
    getattr(diffusers, KINDS[family])(**parts).save_pretrained(folder)
    return folder


def _scheduler(family: str) -> Any:
    import diffusers

    if family.startswith("sd3"):
        return diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)  # type: ignore[attr-defined]
    betas: Any = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    if family == "sdxl":
        return diffusers.EulerDiscreteScheduler(**betas)  # type: ignore[attr-defined]
    return diffusers.DDIMScheduler(  # type: ignore[attr-defined]
        **betas, clip_sample=False, prediction_type="v_prediction" if family == "sd2" else "epsilon"
    )


def _unet(cross: int, **more: Any) -> Any:
    import diffusers

    return diffusers.UNet2DConditionModel(  # type: ignore[attr-defined]
        sample_size=SIDE // 2,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=4,
        cross_attention_dim=cross,
        use_linear_projection=True,
        **more,
    )


def _transformer() -> Any:
    import diffusers

    return diffusers.SD3Transformer2DModel(  # type: ignore[attr-defined]
        sample_size=SIDE // 2,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_projection_dim=16,
        joint_attention_dim=2 * WIDTH,
        pooled_projection_dim=2 * WIDTH,
        pos_embed_max_size=96,
    )


def _vae(channels: int = 4, **more: Any) -> Any:
    import diffusers

    return diffusers.AutoencoderKL(  # type: ignore[attr-defined]
        block_out_channels=(8, 16),
        in_channels=3,
        out_channels=3,
        latent_channels=channels,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        sample_size=SIDE,
        use_quant_conv=channels == 4,
        use_post_quant_conv=channels == 4,
        **more,
    )


def _text_encoder(projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=300,
        hidden_size=WIDTH,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=WIDTH,
        bos_token_id=298,
        eos_token_id=299,
        pad_token_id=299,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def _t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(vocab_size=100, d_model=2 * WIDTH, d_kv=8, d_ff=37, num_layers=1, num_heads=2)
    ).eval()


def _clip_tokenizer() -> Any:
    """CLIP's tokenizer with single letters for words: every character is a token."""
    from transformers import CLIPTokenizer

    letters = [chr(i) for i in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {word: i for i, word in enumerate(words)} | {"<|startoftext|>": 298, "<|endoftext|>": 299}
    with TemporaryDirectory() as place:
        (Path(place) / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        (Path(place) / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
        return CLIPTokenizer.from_pretrained(place, model_max_length=77)


def _t5_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", *(chr(i) for i in range(32, 127))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
