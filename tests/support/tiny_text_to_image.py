"""Write a Stable Diffusion pipeline of a few random weights, for a text-to-image server to load: noise, but in seconds.

python tests/support/tiny_text_to_image.py FOLDER     needs diffusers and transformers, not phonybrains
"""

from __future__ import annotations

import sys
from pathlib import Path

from stable_diffusion_files import make_base  # beside this file

if __name__ == "__main__":
    print(make_base(Path(sys.argv[1])))
