"""`python -m phonybrains`: the command line, also for torchrun."""

from .cli.app import main

main()
