"""Train a network as a BasicSR option file says: python tools/train.py -opt FILE [BasicSR's flags]"""
import sys
from pathlib import Path

from ra_plugin.engine.runs import run, train_pipeline

if __name__ == '__main__':
    sys.exit(run(train_pipeline, Path(__file__).resolve().parents[1]))
