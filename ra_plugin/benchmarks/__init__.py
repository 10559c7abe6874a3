"""What things cost: figures of `tools/benchmark.py`, always as ratios within one run."""
