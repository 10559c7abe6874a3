"""What things cost: figures of `dev/benchmark.py`, always as ratios within one run."""
