"""The arrows of the design point one way; read from the source, not from what happens to be imported."""
import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / 'ra_plugin'
# a room imports from itself, the ground floor and the rooms before it; modules beside the rooms are the ground floor
ROOMS = ['results', 'compat', 'degradations', 'archs', 'recognizers', 'data', 'losses', 'hosts', 'metrics', 'models',
         'basicsr', 'builders', 'training', 'report', 'evaluation', 'restoring', 'exporting', 'studies', 'tuning',
         'paper', 'demo', 'mm', 'cli']
GROUND = ['utils', 'type_hints', 'options', 'option_types', 'shipped', 'registry', 'checked_arguments', 'checkpoint',
          'state_dicts', 'library_errors', 'version']
WITHOUT_BASICSR = ['utils', 'degradations', 'recognizers', 'losses', 'hosts', 'metrics', 'results', 'report',
                   'evaluation/statistics']


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
        for target in [one for several in targets for one in getattr(several, 'elts', [several])]:
            if isinstance(target, ast.Attribute) and ast.unparse(target).startswith('torch.backends.'):
                continue
            while isinstance(target, ast.Attribute):
                target = target.value
                if isinstance(target, ast.Name) and target.id in foreign:
                    yield f'{path.name}:{node.lineno}'


def room(name):
    """The place in `ROOMS` of what a dotted name is in: -1 on the ground floor, None outside the package."""
    top, _, rest = name.partition('.')
    part = rest.partition('.')[0]
    return None if top != 'ra_plugin' else ROOMS.index(part) if part in ROOMS else -1


def imported_modules(path):
    """Dotted names of the modules of this package that a file imports: of ``from a.b import c`` a.b.c or a.b."""
    for name in imported(path):
        parts = name.split('.')
        while len(parts) > 1 and parts[0] == 'ra_plugin':
            file = ROOT.parent.joinpath(*parts)
            if file.with_suffix('.py').exists() or (file / '__init__.py').exists():
                yield '.'.join(parts)
                break
            parts.pop()


def dotted(path):
    parts = path.relative_to(ROOT.parent).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def test_every_file_is_in_a_room_or_on_the_ground_floor():
    known = {*ROOMS, *GROUND, '__init__', '__main__', 'weights'}
    assert {path.stem for path in ROOT.iterdir() if path.suffix == '.py' or (path / '__init__.py').exists()} <= known


@pytest.mark.slow
def test_rooms_import_from_the_rooms_before_them():
    top = {ROOT / '__init__.py', ROOT / '__main__.py'}
    found = [f'{dotted(path)} imports {name}' for path in modules(ROOT) if path not in top
             for name in imported_modules(path) if room(name) > room(dotted(path))]
    assert not found


@pytest.mark.slow
def test_imports_are_absolute():
    found = [f'{dotted(path)}:{node.lineno}' for path in modules(ROOT) for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.ImportFrom) and node.level]
    assert not found  # the other tests read the names of modules


@pytest.mark.slow
def test_no_module_imports_itself_by_way_of_others():
    graph = {dotted(path): set(imported_modules(path)) - {dotted(path)} for path in modules(ROOT)}
    left = dict(graph)
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        left = {name: needs for name, needs in left.items() if name not in free}
    assert not left, {name: sorted(needs & left.keys()) for name, needs in left.items()}


@pytest.mark.slow
@pytest.mark.parametrize('folder', [folder for folder in WITHOUT_BASICSR if (ROOT / folder).exists()])
def test_works_without_basicsr(folder):
    allowed = [name for name in ROOMS[:ROOMS.index('models')] + ['results', 'report', 'evaluation']]
    found = [f'{path.name}: {name}' for path in modules(ROOT / folder) for name in imported(path)
             if name.split('.')[0] == 'basicsr' or room(name) not in (None, -1, *map(ROOMS.index, allowed))]
    assert not found


@pytest.mark.parametrize('path', [*modules(ROOT / 'recognizers'), ROOT / 'registry.py', ROOT / 'options.py'],
                         ids=lambda path: path.name)
def test_recognizers_know_nothing_of_the_losses(path):
    assert not [name for name in imported(path) if name.startswith('ra_plugin.losses')]


@pytest.mark.slow
def test_basicsr_is_imported_where_it_is_mended_before():
    mended = [ROOT / room for room in ('compat', 'models', 'builders', 'training', 'basicsr.py')]
    found = [path.name for path in modules(ROOT) if not any(path.is_relative_to(room) for room in mended)
             for node in ast.parse(path.read_text()).body if isinstance(node, (ast.Import, ast.ImportFrom))
             for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
             if name.partition('.')[0] == 'basicsr']
    assert not found


@pytest.mark.slow
def test_only_compat_changes_other_packages():
    found = [line for path in modules(ROOT) if 'compat' not in path.parts for line in assigned_elsewhere(path)]
    assert not found


@pytest.mark.slow
def test_the_check_for_changed_packages_sees_one(tmp_path):
    (tmp_path / 'patch.py').write_text(
        'import torch.nn as nn\nnn.Linear.forward = None\nsetattr(nn, "x", 1)\nnn.a, b = 1, 2\n')
    assert sorted(assigned_elsewhere(tmp_path / 'patch.py')) == ['patch.py:2', 'patch.py:3', 'patch.py:4']


@pytest.mark.slow
def test_import_is_light_and_names_what_is_missing():
    code = (
        'import sys\n'
        'for name in ("timm", "safetensors", "addict", "matplotlib"):\n'
        '    sys.modules[name] = None\n'
        'import ra_plugin\n'
        'assert "torch" not in sys.modules\n'
        'try:\n'
        '    ra_plugin.build_recognizer({"type": "TimmRecognizer", "model_name": "resnet18", "pretrained": True})\n'
        'except ImportError as error:\n'
        '    print(error)\n'
        'assert "basicsr" not in sys.modules\n'
        'import ra_plugin.basicsr\n'
        'from basicsr.utils.registry import LOSS_REGISTRY, MODEL_REGISTRY\n'
        'assert "RecogLoss" in LOSS_REGISTRY and "RecogAwareModel" in MODEL_REGISTRY\n')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=300, cwd=ROOT.parent)
    assert done.returncode == 0, done.stderr
    assert 'pip install "timm>=1.0"' in done.stdout


@pytest.mark.parametrize('folder, allowed', [('results', ('ra_plugin.results', 'ra_plugin.utils')),
                                             ('report', ('ra_plugin.report', 'ra_plugin.results', 'ra_plugin.utils'))])
def test_results_and_report_know_nothing_of_how_numbers_are_made(folder, allowed):
    found = [f'{path.name}: {name}' for path in modules(ROOT / folder) for name in imported(path)
             if name.startswith('ra_plugin.') and not name.startswith(allowed)]
    assert not found
