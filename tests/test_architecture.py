"""The arrows of the design point one way; read from the source, not from what happens to be imported."""
import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / 'ra_plugin'
WITHOUT_BASICSR = ['recognizers', 'degradations', 'evaluation/statistics', 'report', 'losses', 'metrics', 'utils',
                   'cli']


def modules(folder):
    return sorted(folder.rglob('*.py'))


def imported(path):
    """Dotted names of all that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


def assigned_elsewhere(path):
    """Lines of a file that assign an attribute of something imported from another package, torch's switches aside."""
    tree = ast.parse(path.read_text())
    foreign = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, 'module', '').startswith('ra_plugin'):
            foreign |= {(alias.asname or alias.name).split('.')[0] for alias in node.names}
    for node in ast.walk(tree):
        targets = getattr(node, 'targets', None) or [getattr(node, 'target', None)]
        if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'setattr':
            targets = [ast.Attribute(value=node.args[0], attr='')]
        for target in targets:
            if isinstance(target, ast.Attribute) and ast.unparse(target).startswith('torch.backends.'):
                continue
            while isinstance(target, ast.Attribute):
                target = target.value
                if isinstance(target, ast.Name) and target.id in foreign:
                    yield f'{path.name}:{node.lineno}'


@pytest.mark.parametrize('folder', WITHOUT_BASICSR)
def test_never_imports_basicsr(folder):
    found = [f'{path.name}: {name}' for path in modules(ROOT / folder) for name in imported(path)
             if name.split('.')[0] == 'basicsr']
    assert not found


@pytest.mark.parametrize('folder', WITHOUT_BASICSR)
def test_never_imports_a_part_that_needs_basicsr(folder):
    needs = ('ra_plugin.models', 'ra_plugin.builders', 'ra_plugin.training', 'ra_plugin.basicsr.')
    found = [f'{path.name}: {name}' for path in modules(ROOT / folder) for name in imported(path)
             if f'{name}.'.startswith(needs)]
    assert not found


@pytest.mark.parametrize('path', [*modules(ROOT / 'recognizers'), ROOT / 'registry.py', ROOT / 'options.py'],
                         ids=lambda path: path.name)
def test_recognizers_know_nothing_of_the_losses(path):
    assert not [name for name in imported(path) if name.startswith('ra_plugin.losses')]


def test_only_compat_changes_other_packages():
    found = [line for path in modules(ROOT) if 'compat' not in path.parts for line in assigned_elsewhere(path)]
    assert not found


def test_the_check_for_changed_packages_sees_one(tmp_path):
    (tmp_path / 'patch.py').write_text('import torch.nn as nn\nnn.Linear.forward = None\nsetattr(nn, "x", 1)\n')
    assert list(assigned_elsewhere(tmp_path / 'patch.py')) == ['patch.py:2', 'patch.py:3']


def test_import_needs_no_more_than_torch_and_basicsr():
    code = (
        'import sys\n'
        'for name in ("timm", "safetensors", "addict", "matplotlib"):\n'
        '    sys.modules[name] = None\n'
        'import ra_plugin\n'
        'from basicsr.utils.registry import LOSS_REGISTRY, MODEL_REGISTRY\n'
        'assert "RecogLoss" in LOSS_REGISTRY and "RecogAwareModel" in MODEL_REGISTRY\n'
        'try:\n'
        '    ra_plugin.build_recognizer({"type": "TimmRecognizer", "model_name": "resnet18", "pretrained": True})\n'
        'except ImportError as error:\n'
        '    print(error)\n')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=300, cwd=ROOT.parent)
    assert done.returncode == 0, done.stderr
    assert 'pip install "timm>=1.0"' in done.stdout
