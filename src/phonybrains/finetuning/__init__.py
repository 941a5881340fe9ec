"""Fine-tuning a Stable Diffusion checkpoint on an image set, as a LoRA."""
