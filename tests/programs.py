"""Run the programs of ``tools`` within the process of a test."""
import runpy
import sys
from pathlib import Path

TOOLS = Path(__file__).parents[1] / 'tools'


def run_tool(monkeypatch, name, *arguments):
    """Run ``tools/NAME.py`` and return its exit status."""
    monkeypatch.setattr(sys, 'argv', [f'{name}.py', *map(str, arguments)])
    monkeypatch.syspath_prepend(TOOLS)  # as Python does for a program
    return runpy.run_path(str(TOOLS / f'{name}.py'))['main']()
