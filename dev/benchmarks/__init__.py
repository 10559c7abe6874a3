"""Measurements of `python -m dev.benchmark`, to be compared as ratios within one run."""
