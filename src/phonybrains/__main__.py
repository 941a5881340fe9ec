"""`python -m phonybrains`: the command line, also for torchrun."""

from .cli import main

main()
