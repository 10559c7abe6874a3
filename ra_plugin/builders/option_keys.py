"""Find the keys that a class reads from its options in its source: data sets and models take one dict, no signature.

There are two results: the keys that any method reads (another key of the file has no effect), and the keys that are
certainly read under the options at hand (a missing one would end the run, maybe hours later).
"""
import ast
import functools
import inspect
import linecache
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ra_plugin.builders.option_flow import Place, Walk, names_in, text_of

Methods = dict[str, ast.FunctionDef]

_READS = ('get', 'pop', 'setdefault')
_OTHER_CODE = ('torch', 'builtins', 'abc', 'typing', 'collections')  # whose classes read no options of ours
_ENTRIES = ('__init__', '__len__', '__getitem__', 'feed_data', 'test', 'validation')  # what a run calls
_OF_TRAINING = ('optimize_parameters', 'save')


class ReadKeys:
    """Keys that a class reads.

    Args:
        cls: A data set or a model; it is built with one dict of options, which it keeps as ``self.opt``.

    Attributes:
        known: Every place that a method of the class or its bases reads.
        built: Place -> names of the functions that it is handed to, e.g. ``('train', 'pixel_opt'): {'build_loss'}``.
        is_closed: The source of all these classes is known, so that nothing else is read.
    """

    def __init__(self, cls: type):
        self.classes = [(base, _methods(base)) for base in cls.__mro__]
        self.attributes: dict[str, Place] = {'opt': ()}
        self.assigned: set[Place] = set()
        self.known: set[Place] = set()
        self.built: dict[Place, set[str]] = {}
        self.is_closed = all(len(methods) == len(list(_functions(base))) for base, methods in self.classes
                             if not is_foreign(base))
        functions = [function for _, methods in self.classes for function in methods.values()]
        for _ in range(2):  # an attribute may be used in a method that stands before the one that sets it
            for function in functions:
                self._collect(function)

    def missing(self, opt: Mapping[str, Any]) -> list[Place]:
        """Return the missing places that are certainly read under these options, in the order of reading."""
        found: dict[Place, None] = {}
        walk = Walk(self, opt, found)
        for name in (*_ENTRIES, *(_OF_TRAINING if opt.get('is_train', True) else ())):
            walk.call(name, 0, certain=True)
        return list(found)

    def keys(self, block: Place) -> set[str]:
        """Return the keys that are read in one block."""
        return {place[-1] for place in self.known if place[:-1] == block}

    def place_of(self, node: ast.AST, names: Mapping[str, Place]) -> Place | None:
        """Return the place in the options that an expression stands for, if it stands for one."""
        if isinstance(node, ast.Name):
            return names.get(node.id)
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id == 'self'
            return self.attributes.get(node.attr) if own else None
        if isinstance(node, ast.Subscript):
            outer, key = self.place_of(node.value, names), text_of(node.slice)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _READS:
            outer, key = self.place_of(node.func.value, names), text_of(node.args[0]) if node.args else None
        else:
            return None
        return None if outer is None or key is None else (*outer, key)

    def _collect(self, function: ast.FunctionDef) -> None:
        names = names_in(function)
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                self._note_assignment(node.targets[0], node.value, names)
            place = self.place_of(node, names)
            if place:
                self.known.add(place)
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
                outer, key = self.place_of(node.comparators[0], names), text_of(node.left)
                if outer is not None and key is not None:
                    self.known.add((*outer, key))
            if isinstance(node, ast.Call):
                self._note_call(node, names)

    def _note_assignment(self, target: ast.AST, value: ast.AST, names: dict[str, Place]) -> None:
        sides = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            sides = list(zip(target.elts, value.elts, strict=False))
        for left, right in sides:
            place = self.place_of(right, names)
            if place is not None and isinstance(left, ast.Name):
                names[left.id] = place
            elif place is not None and isinstance(left, ast.Attribute):
                self.attributes.setdefault(left.attr, place)
            written = self.place_of(left, names) if isinstance(left, ast.Subscript) else None
            if written:
                self.assigned.add(written)

    def _note_call(self, node: ast.Call, names: Mapping[str, Place]) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, 'id', '')
        for value in (*node.args, *(keyword.value for keyword in node.keywords)):
            place = self.place_of(value, names)
            if place:
                self.built.setdefault(place, set()).add(called)
        if isinstance(node.func, ast.Attribute) and node.func.attr == 'setdefault':
            place = self.place_of(node, names)
            if place:
                self.assigned.add(place)


@functools.cache
def read_keys(cls: type) -> ReadKeys:
    """Return the `ReadKeys` of a class, which are kept."""
    return ReadKeys(cls)


def words_of(modules: Iterable[str]) -> set[str]:
    """Return every text constant in the packages of these modules: keys that their code may read."""
    tops = {module.partition('.')[0] for module in modules}
    found: set[str] = set()
    for name, module in list(sys.modules.items()):
        if name.partition('.')[0] in tops and getattr(module, '__file__', None):
            found.update(_words(module.__file__))
    return found


@functools.cache
def _words(file: str) -> frozenset[str]:
    try:
        tree = ast.parse(''.join(linecache.getlines(file)))
    except SyntaxError:
        return frozenset()
    return frozenset(node.value for node in ast.walk(tree)
                     if isinstance(node, ast.Constant) and isinstance(node.value, str))


def is_foreign(cls: type) -> bool:
    """Return whether a class comes from where no options of ours are read: Python itself, torch."""
    return cls.__module__.partition('.')[0] in _OTHER_CODE


def _functions(cls: type) -> Iterator[tuple[str, types.CodeType]]:
    for name, value in vars(cls).items():
        value = inspect.unwrap(getattr(value, 'fget', None) or getattr(value, '__func__', value))
        if inspect.isfunction(value):
            yield name, value.__code__


def _methods(cls: type) -> Methods:
    if is_foreign(cls):
        return {}
    found = {name: _syntax(code.co_filename).get(code.co_firstlineno) for name, code in _functions(cls)}
    return {name: node for name, node in found.items() if node is not None}


@functools.cache
def _syntax(file: str) -> dict[int, ast.FunctionDef]:
    """Return the functions of a file by their first lines; none where there is no source, as for compiled code."""
    try:
        tree = ast.parse(''.join(linecache.getlines(file)))
    except SyntaxError:
        return {}
    return {min(part.lineno for part in (node, *node.decorator_list)): node for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)}
