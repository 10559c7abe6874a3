"""Code in a process of its own that cannot find some modules, as where they are not installed."""
import os
from collections.abc import Iterable
from pathlib import Path

import warm_start

ROOT = Path(__file__).resolve().parents[1]
HIDE = """
import sys
assert not HIDDEN & sys.modules.keys(), 'imported already'
class Hiding:  # a finder that cannot see the hidden modules
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *args, **kwargs):
        hidden = name.partition('.')[0] in HIDDEN or name in HIDDEN
        return None if hidden else self.finder.find_spec(name, *args, **kwargs)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = map(Hiding, sys.meta_path)
"""


def run_without(hidden: Iterable[str], code: str, *args: str, cwd: Path) -> str:
    """Return what ``code`` prints where the modules are hidden; it has to succeed."""
    done = warm_start.run(['-c', f'HIDDEN = {set(hidden)!r}{HIDE}{code}', *args], cwd, {
        **os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
