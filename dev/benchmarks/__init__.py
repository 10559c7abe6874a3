"""Measurements of `dev/benchmark.py`, to be compared as ratios within one run."""
