"""The keys that a class reads from its options, found in its source: data sets and models take one dict, no signature.

Two questions are answered: which keys are read anywhere (a key of the file that is not among them has no effect), and
which keys are read for sure under the options at hand (one that is missing there would end the run, maybe hours later).
"""
import ast
import functools
import inspect
import linecache
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Place = tuple[str, ...]  # keys from the outermost block inwards; () is the dict that the class is built with
Methods = dict[str, ast.FunctionDef]

_UNKNOWN = object()
_READS = ('get', 'pop', 'setdefault')
_OTHER_CODE = ('torch', 'builtins', 'abc', 'typing', 'collections')  # whose classes read no options of ours
_ENTRIES = ('__init__', '__len__', '__getitem__', 'feed_data', 'test', 'validation')  # what a run calls
_OF_TRAINING = ('optimize_parameters', 'save')


class ReadKeys:
    """What a class reads.

    Args:
        cls: A data set or a model; it is built with one dict of options, which it keeps as ``self.opt``.

    Attributes:
        known: Every place that is read anywhere in the class or its bases.
        built: Place -> names of the functions that it is handed to, e.g. ``('train', 'pixel_opt'): {'build_loss'}``.
        is_closed: Every class among them has its source at hand, so that nothing else is read.
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
        """The places that are read for sure under these options, and are not there, in the order of reading."""
        found: dict[Place, None] = {}
        walk = _Walk(self, opt, found)
        for name in (*_ENTRIES, *(_OF_TRAINING if opt.get('is_train', True) else ())):
            walk.call(name, 0, certain=True)
        return list(found)

    def keys(self, block: Place) -> set[str]:
        """The keys that are read in one block."""
        return {place[-1] for place in self.known if place[:-1] == block}

    def place_of(self, node: ast.AST, names: Mapping[str, Place]) -> Place | None:
        """The place in the options that an expression stands for."""
        if isinstance(node, ast.Name):
            return names.get(node.id)
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id == 'self'
            return self.attributes.get(node.attr) if own else None
        if isinstance(node, ast.Subscript):
            outer, key = self.place_of(node.value, names), _text(node.slice)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _READS:
            outer, key = self.place_of(node.func.value, names), _text(node.args[0]) if node.args else None
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
                outer, key = self.place_of(node.comparators[0], names), _text(node.left)
                if outer is not None and key is not None:
                    self.known.add((*outer, key))
            if isinstance(node, ast.Call):
                self._note_call(node, names)

    def _note_assignment(self, target: ast.AST, value: ast.AST, names: dict[str, Place]) -> None:
        sides = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            sides = list(zip(target.elts, value.elts))
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
    """`ReadKeys` of a class, once."""
    return ReadKeys(cls)


def names_in(function: ast.FunctionDef) -> dict[str, Place]:
    """The parameters of a method that hold the options."""
    arguments = [argument.arg for argument in function.args.args]
    return {'opt': ()} if 'opt' in arguments else {arguments[1]: ()} if (
        function.name == '__init__' and len(arguments) == 2) else {}


def words_of(modules: Iterable[str]) -> set[str]:
    """Every text constant in the code of the packages that these modules belong to: keys that it may well read."""
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
    """Whether a class comes from where no options of ours are read: Python itself, torch."""
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
    """First line -> function; nothing where there is no source to read, as for what is typed in or compiled."""
    try:
        tree = ast.parse(''.join(linecache.getlines(file)))
    except SyntaxError:
        return {}
    return {min(part.lineno for part in (node, *node.decorator_list)): node for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)}


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


class _Walk:
    """Follows the code as far as the options say which way it takes, and notes what it reads on the way for sure."""

    def __init__(self, keys: ReadKeys, opt: Mapping[str, Any], found: dict[Place, None]):
        self.keys, self.opt, self.found = keys, opt, found
        self.called: set[tuple[str, int, bool]] = set()

    def call(self, name: str, start: int, certain: bool) -> None:
        """A method as the class at ``start`` in the order of resolution, or one after it, has it."""
        for level, (cls, methods) in enumerate(self.keys.classes[start:], start):
            if name in vars(cls):
                function = methods.get(name)
                if function is not None and (name, level, certain) not in self.called:
                    self.called.add((name, level, certain))
                    self._block(function.body, _Scope(names_in(function), level), certain)
                return

    def _block(self, statements: list[ast.stmt], scope: '_Scope', certain: bool) -> bool | None:
        """Whether what follows is reached for sure; None: it is not reached."""
        for statement in statements:
            outcome = self._statement(statement, scope, certain)
            if outcome is None:
                return None
            certain = outcome
        return certain

    def _statement(self, node: ast.stmt, scope: '_Scope', certain: bool) -> bool | None:
        if isinstance(node, ast.If):
            return self._if(node, scope, certain)
        if isinstance(node, (ast.Return, ast.Raise, ast.Continue, ast.Break)):
            self._read_children(node, scope, certain)
            return None
        if isinstance(node, (ast.For, ast.While)):
            self._read(node.iter if isinstance(node, ast.For) else node.test, scope, certain)
            self._block(node.body, scope, False)
            return certain
        if isinstance(node, ast.Try):
            self._block(node.body, scope, certain and not node.handlers)
            for handler in node.handlers:
                self._block(handler.body, scope, False)
            self._block(node.finalbody, scope, certain)
            return certain and not node.handlers
        if isinstance(node, ast.With):
            for item in node.items:
                self._read(item.context_expr, scope, certain)
            return self._block(node.body, scope, certain)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            return certain
        if isinstance(node, ast.Assign):
            self._read(node.value, scope, certain)
            place = self.keys.place_of(node.value, scope.names)
            for target in node.targets:
                if isinstance(target, ast.Name):
                    (scope.drawn.add if scope.is_random(node.value) else scope.drawn.discard)(target.id)
                    scope.names.pop(target.id, None)
                    if place is not None:
                        scope.names[target.id] = place
            return certain
        self._read_children(node, scope, certain)
        return certain

    def _if(self, node: ast.If, scope: '_Scope', certain: bool) -> bool | None:
        self._read(node.test, scope, certain)
        truth = self._value(node.test, scope)
        if truth is not _UNKNOWN:
            return self._block(node.body if truth else node.orelse, scope, certain)
        by_chance = certain and scope.is_random(node.test)  # sooner or later each way is taken
        ways = [self._block(branch, scope, by_chance) for branch in (node.body, node.orelse)]
        if ways == [None, None]:
            return None
        return certain and None not in ways

    def _read_children(self, node: ast.AST, scope: '_Scope', certain: bool) -> None:
        for child in ast.iter_child_nodes(node):
            self._read(child, scope, certain)

    def _read(self, node: ast.AST, scope: '_Scope', certain: bool) -> None:
        if isinstance(node, ast.BoolOp):
            for value in node.values:
                self._read(value, scope, certain)
                truth = self._value(value, scope)
                certain = certain and truth is not _UNKNOWN
                if certain and bool(truth) is isinstance(node.op, ast.Or):
                    return
            return
        if isinstance(node, ast.IfExp):
            self._read(node.test, scope, certain)
            truth = self._value(node.test, scope)
            for branch, taken in ((node.body, True), (node.orelse, False)):
                if truth is _UNKNOWN or bool(truth) is taken:
                    self._read(branch, scope, certain and truth is not _UNKNOWN)
            return
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            self._read(node.generators[0].iter, scope, certain)
            return
        if isinstance(node, ast.Lambda):
            return
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and certain:
            place = self.keys.place_of(node, scope.names)
            if place and place not in self.keys.assigned:
                outer = _at(self.opt, place[:-1])
                if isinstance(outer, Mapping) and place[-1] not in outer:
                    self.found[place] = None
        self._read_children(node, scope, certain)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id == 'self':
                self.call(node.func.attr, 0, certain)
            elif isinstance(owner, ast.Call) and getattr(owner.func, 'id', '') == 'super':
                self.call(node.func.attr, scope.level + 1, certain)

    def _value(self, node: ast.AST, scope: '_Scope') -> Any:
        """What an expression is under the options, as far as they say."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            value = self._value(node.operand, scope)
            return value if value is _UNKNOWN else not value
        if isinstance(node, ast.BoolOp):
            return self._value_of_all(node, scope)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return self._comparison(node, scope)
        place = self.keys.place_of(node, scope.names)
        if place is None or place in self.keys.assigned:
            return _UNKNOWN
        value = _at(self.opt, place)
        if value is _UNKNOWN and isinstance(node, ast.Call) and isinstance(_at(self.opt, place[:-1]), Mapping):
            return self._value(node.args[1], scope) if len(node.args) > 1 else None  # the default of get
        return value

    def _value_of_all(self, node: ast.BoolOp, scope: '_Scope') -> Any:
        decides = isinstance(node.op, ast.Or)
        values = [self._value(value, scope) for value in node.values]
        if any(value is not _UNKNOWN and bool(value) is decides for value in values):
            return decides
        return _UNKNOWN if any(value is _UNKNOWN for value in values) else not decides

    def _comparison(self, node: ast.Compare, scope: '_Scope') -> Any:
        op, right_node = node.ops[0], node.comparators[0]
        if isinstance(op, (ast.In, ast.NotIn)) and _text(node.left) is not None:
            block = self.keys.place_of(right_node, scope.names)
            content = _UNKNOWN if block is None else _at(self.opt, block)
            if not isinstance(content, Mapping) or (*block, _text(node.left)) in self.keys.assigned:
                return _UNKNOWN
            return (_text(node.left) in content) is isinstance(op, ast.In)
        left, right = self._value(node.left, scope), self._value(right_node, scope)
        if left is _UNKNOWN or right is _UNKNOWN:
            return _UNKNOWN
        if isinstance(op, (ast.Eq, ast.NotEq)):
            return (left == right) is isinstance(op, ast.Eq)
        if isinstance(op, (ast.Is, ast.IsNot)):
            return (left is right) is isinstance(op, ast.Is)
        return _UNKNOWN


class _Scope:
    """A method that is being followed: its names for places in the options and for random numbers, and its class."""

    def __init__(self, names: dict[str, Place], level: int):
        self.names, self.level = names, level
        self.drawn: set[str] = set()

    def is_random(self, node: ast.AST) -> bool:
        return any(isinstance(part, (ast.Attribute, ast.Name)) and (
            getattr(part, 'attr', '') == 'random' or getattr(part, 'id', '') in {'random', *self.drawn})
            for part in ast.walk(node))


def _at(opt: Mapping[str, Any], place: Place) -> Any:
    for key in place:
        if not isinstance(opt, Mapping) or key not in opt:
            return _UNKNOWN
        opt = opt[key]
    return opt
