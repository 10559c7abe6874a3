"""Find files that an option names indirectly: code of a module, base configs of a config, external data of ONNX."""
import ast
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_OWN = 'ra_plugin'  # known by its version


def module_files(name: str) -> list[Path]:
    """Return the source file of ``package.module.Name``, and those that it imports from beside it, at any depth.

    Packages that are installed, and this one, are known by their versions; none of their files is returned.
    """
    place = _source(name.rpartition('.')[0])
    if place is None:
        return []
    file, top = place
    found: dict[Path, None] = {}
    waiting = [file]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found[file] = None
            waiting += [other for other in _imported(file, top) if other not in found]
    return sorted(found)


def _source(module: str) -> tuple[Path, Path] | None:
    """Return the file of a module, and the folder of its top-level package."""
    if not module or module.split('.')[0] == _OWN:
        return None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None or not spec.origin or not spec.origin.endswith('.py'):
        return None
    file = Path(spec.origin).resolve()
    is_installed = {'site-packages', 'dist-packages'} & set(file.parts) or file.is_relative_to(
        Path(os.__file__).resolve().parent)
    depth = module.count('.') + (file.name == '__init__.py')
    return None if is_installed else (file, file.parents[depth])


def _imported(file: Path, top: Path) -> Iterator[Path]:
    """Yield the files of the same folder or package that a Python file imports."""
    for name in _names(file, top):
        parts = name.split('.')
        for count in range(1, len(parts) + 1):
            place = top.joinpath(*parts[:count])
            yield from (path for path in (place.with_suffix('.py'), place / '__init__.py') if path.is_file())


def _names(file: Path, top: Path) -> Iterator[str]:
    """Yield the dotted names that a Python file imports."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    package = file.parent.relative_to(top).parts if file.is_relative_to(top) else ()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[:len(package) - node.level + 1] if node.level else ()
            base = [*start, *(node.module or '').split('.')] if node.module else list(start)
            yield from ('.'.join([*base, alias.name]) for alias in node.names)


def config_files(config: str) -> list[Path]:
    """Return a config file of OpenMMLab and those that it is based on; nothing where it is the name of another's."""
    path = Path(os.path.expanduser(config))
    found: dict[Path, None] = {}
    waiting = [path.resolve()] if path.is_file() else []
    while waiting:
        file = waiting.pop()
        if file not in found and file.is_file():
            found[file] = None
            waiting += [(file.parent / base).resolve() for base in _bases(file)]
    return sorted(found)


def _bases(file: Path) -> list[str]:
    """Return the paths of the base configs of a config, relative to its folder."""
    try:
        if file.suffix != '.py':
            text = file.read_text(encoding='utf-8')
            content = json.loads(text) if file.suffix == '.json' else yaml.safe_load(text)
            return _listed(content.get('_base_') if isinstance(content, dict) else None)
        tree = ast.parse(file.read_bytes())
    except (ValueError, SyntaxError, yaml.YAMLError):
        return []
    bases = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(getattr(target, 'id', '') == '_base_' for target in node.targets):
            bases += [text.value for text in ast.walk(node.value)
                      if isinstance(text, ast.Constant) and isinstance(text.value, str)]
        elif isinstance(node, ast.ImportFrom) and node.level:  # with read_base(): from ..base import *
            bases.append('/'.join(['.', *['..'] * (node.level - 1), *(node.module or '').split('.')]) + '.py')
    return bases


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [item for item in value or () if isinstance(item, str)]


def onnx_files(path: str) -> list[Path]:
    """Return the files beside an ONNX file that hold its weights: those whose names are in it."""
    file = Path(path)
    if file.suffix.lower() != '.onnx':
        return []
    content = file.read_bytes()
    if b'location' not in content:  # the key of external data
        return []
    folder = file.parent
    return sorted(beside for beside in folder.rglob('*')
                  if beside.is_file() and beside != file
                  and beside.relative_to(folder).as_posix().encode() in content)
