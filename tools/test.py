"""Test a network as a BasicSR option file says: python tools/test.py -opt FILE [BasicSR's flags]"""
import sys
from pathlib import Path

from ra_plugin.engine.runs import run, test_pipeline

if __name__ == '__main__':
    sys.exit(run(test_pipeline, Path(__file__).resolve().parents[1]))
