"""Run the commands of ``ra-plugin`` and the maintainers' programs of ``dev`` within the process of a test."""
import runpy
import sys
from pathlib import Path

from ra_plugin.cli.main import COMMANDS, run_command

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / 'tools'


def run_tool(monkeypatch, name, *arguments):
    """Run ``tools/NAME.py`` or ``dev/NAME.py`` and return its exit status."""
    words = [f'{name}.py', *map(str, arguments)]
    monkeypatch.setattr(sys, 'argv', words)  # put back after the test
    command = name.replace('_', '-')
    if command in COMMANDS:
        return run_command(command, words[0], words[1:])
    monkeypatch.syspath_prepend(ROOT / 'dev')  # as Python does for a program
    return runpy.run_path(str(ROOT / 'dev' / f'{name}.py'))['main']()
