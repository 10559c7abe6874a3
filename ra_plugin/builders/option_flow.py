"""Follow the code of a class that reads options, to find the keys that it certainly reads under given options."""
import ast
from collections.abc import Mapping
from typing import Any

Place = tuple[str, ...]  # keys from the outermost block inwards; () is the dict that the class is built with

_UNKNOWN = object()


def names_in(function: ast.FunctionDef) -> dict[str, Place]:
    """Return the parameters of a method that hold the options."""
    arguments = [argument.arg for argument in function.args.args]
    return {'opt': ()} if 'opt' in arguments else {arguments[1]: ()} if (
        function.name == '__init__' and len(arguments) == 2) else {}


def text_of(node: ast.AST) -> str | None:
    """Return the text of a constant expression; None for any other expression."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


class Walk:
    """Walk through the methods of a class, which collects the keys that they read.

    Args:
        keys: Keys of the class, see `ra_plugin.builders.option_keys.ReadKeys`.
        opt: Options that the class is built with.
        found: Filled with the places that are certainly read and missing.
    """

    def __init__(self, keys: Any, opt: Mapping[str, Any], found: dict[Place, None]):
        self.keys, self.opt, self.found = keys, opt, found
        self.called: set[tuple[str, int, bool]] = set()

    def call(self, name: str, start: int, certain: bool) -> None:
        """Walk through a method: that of the first class from ``start`` on, in resolution order, that has it."""
        for level, (cls, methods) in enumerate(self.keys.classes[start:], start):
            if name in vars(cls):
                function = methods.get(name)
                if function is not None and (name, level, certain) not in self.called:
                    self.called.add((name, level, certain))
                    self._block(function.body, _Scope(names_in(function), level), certain)
                return

    def _block(self, statements: list[ast.stmt], scope: '_Scope', certain: bool) -> bool | None:
        """Return True if the code after the statements is certainly reached, None if it is not."""
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
        """Return the value of an expression under the options, if they determine it."""
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
        if isinstance(op, (ast.In, ast.NotIn)) and text_of(node.left) is not None:
            block = self.keys.place_of(right_node, scope.names)
            content = _UNKNOWN if block is None else _at(self.opt, block)
            if block is None or not isinstance(content, Mapping) or (
                    *block, text_of(node.left)) in self.keys.assigned:
                return _UNKNOWN
            return (text_of(node.left) in content) is isinstance(op, ast.In)
        left, right = self._value(node.left, scope), self._value(right_node, scope)
        if left is _UNKNOWN or right is _UNKNOWN:
            return _UNKNOWN
        if isinstance(op, (ast.Eq, ast.NotEq)):
            return (left == right) is isinstance(op, ast.Eq)
        if isinstance(op, (ast.Is, ast.IsNot)):
            return (left is right) is isinstance(op, ast.Is)
        return _UNKNOWN


class _Scope:
    """Scope of a method: its names for places in the options and for random numbers, and its class."""

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
