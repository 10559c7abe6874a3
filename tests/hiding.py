"""Code in a fresh interpreter that cannot find some modules, as where they are not installed."""
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HIDE = """
import sys
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
    done = subprocess.run([sys.executable, '-c', f'HIDDEN = {set(hidden)!r}{HIDE}{code}', *args], cwd=cwd, text=True,
                          env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}, timeout=300,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout
