"""Optimising a network on a task: the loop, its checkpoints, its processes and its log, as every training uses them."""
