"""One file of source as its statements: what each does, which names it looks up, and what the file's names stand for.

What says something to people only is left out: docstrings and other bare strings, comments, positions, the annotations
of functions, ``__all__``, and what stands under ``if TYPE_CHECKING``. Annotations of a class's fields stay, since a
dataclass is made of them, and so do those of a function that a decorator like ``@rule.register`` may read.
"""

import ast
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_COMPOUND = (ast.If, ast.For, ast.While, ast.Try, ast.With, ast.Match)
_DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSION = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

_UNREAD = frozenset({"ctx", "kind", "type_comment", "type_params", "type_ignores"})
"""Fields of a syntax tree that change no value, or that some versions of Python have and others lack."""

_SAID = re.compile(r"(ablate(?:\.[A-Za-z_]\w*)+)(?::[A-Za-z_]\w*)?")
"""A module of ours in a string, or a name of it: something is imported by it. Which, a run says by its roots."""


@dataclass(frozen=True)
class Target:
    """What an import makes of a name.

    Attributes:
        module: Dotted name of a module.
        name: In that module; None is the module itself.
    """

    module: str
    name: str | None = None


@dataclass(frozen=True)
class Statement:
    """A statement on the top level of a file.

    Attributes:
        text: Digest of its syntax tree, of 16 hexadecimal digits.
        names: What it looks up outside itself, and what each stands for.
    """

    text: str
    names: Mapping[str, frozenset[Target]]


class Module:
    """A file of source.

    Args:
        name: The module's dotted name.
        source: Bytes of the file.
        package: Whether it is the ``__init__`` of a package.
        module_of: The module of ours that a target is; None for another.

    Attributes:
        definers: Name -> places in the file of the statements that bind it, imports apart.
        imports: Name -> what an import on the top level binds it to.
        stars: Modules of which ``from … import *`` takes every name.
        effects: Places of statements that do something wherever the file is imported.
        count: Number of statements.
    """

    def __init__(self, name: str, source: bytes, package: bool, module_of: Callable[[Target], str | None]) -> None:
        self.name, self._module_of = name, module_of
        self._home = name if package else name.rpartition(".")[0]
        tree = ast.parse(source)
        self.imports = {each: target for node in tree.body for each, target in self.imported(node)}
        self.stars = [target.module for node in tree.body for each, target in self.imported(node) if each == "*"]
        for node in filter(_is_for_types, tree.body):  # what a package's __getattr__ gives, as it says of itself
            for inner in ast.walk(node):
                for each, target in self.imported(inner):
                    self.imports.setdefault(each, target)
        self._nodes = _kept(tree.body, in_class=False)
        self.definers: dict[str, list[int]] = {}
        for place, node in enumerate(self._nodes):
            for each in _bound([node]):
                self.definers.setdefault(each, []).append(place)
        for place, node in enumerate(self._nodes):
            for each in _registering(node) & self.definers.keys():
                self.definers[each].append(place)
        self.effects = [n for n, node in enumerate(self._nodes) if isinstance(node, _COMPOUND) or not _bound([node])]
        self._read: dict[int, Statement] = {}

    @property
    def count(self) -> int:
        return len(self._nodes)

    def statement(self, place: int) -> Statement:
        """The statement at a place, read at its first use."""
        if place not in self._read:
            self._read[place] = _Reader(self).read(self._nodes[place])
        return self._read[place]

    def imported(self, node: ast.AST) -> Iterator[tuple[str, Target]]:
        """What an import binds."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole, first = alias.name, alias.name.partition(".")[0]
                yield (alias.asname, Target(whole)) if alias.asname else (first, Target(first))
        elif isinstance(node, ast.ImportFrom):
            above = self._home.split(".")[: len(self._home.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield alias.asname or alias.name, Target(module, alias.name)

    def module_of(self, target: Target) -> str | None:
        return self._module_of(target)


def _is_for_types(node: ast.AST) -> bool:
    if not isinstance(node, ast.If) or node.orelse:
        return False
    return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _never_runs(node: ast.AST) -> bool:
    """Whether a statement does nothing, or nothing in a module that is imported."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):
        return _is_for_types(node) or (ast.unparse(node.test) == "__name__ == '__main__'" and not node.orelse)
    return isinstance(node, ast.Import | ast.ImportFrom | ast.Pass)


def _kept(body: Sequence[ast.stmt], *, in_class: bool) -> list[ast.stmt]:
    """Statements that can change a value."""

    def is_bare(node: ast.stmt) -> bool:
        return isinstance(node, ast.AnnAssign) and node.value is None and not in_class

    return [node for node in body if not _never_runs(node) and not is_bare(node)]


def _bound(nodes: Sequence[ast.AST]) -> set[str]:
    """Names that are bound in a scope, without those of the functions, classes and comprehensions in it."""
    found: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, _DEFINITION):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            found.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            found.add(node.name)
        if not isinstance(node, (*_DEFINITION, *_FUNCTION, *_COMPREHENSION)):
            waiting += ast.iter_child_nodes(node)
    return found


def _registering(node: ast.AST) -> set[str]:
    """Names of which a decorator takes something: ``@rule.register`` adds to what ``rule`` is."""
    decorators = node.decorator_list if isinstance(node, _DEFINITION) else []
    called = [each.func if isinstance(each, ast.Call) else each for each in decorators]
    return {each.value.id for each in called if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name)}


class _Reader:
    """Writes a statement's syntax tree as text that is the same in every version of Python, and notes its names."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._imports: dict[str, set[Target]] = {}
        self._names: dict[str, frozenset[Target]] = {}
        self._scopes: list[set[str]] = []
        self._of_class, self._noting, self._shares = False, True, False

    def read(self, statement: ast.stmt) -> Statement:
        for node in ast.walk(statement):
            for name, target in self._module.imported(node):
                self._imports.setdefault(name, set()).add(target)
            self._shares |= isinstance(node, ast.Global | ast.Nonlocal)
        if isinstance(statement, _COMPOUND):  # an import under ``try`` binds a name of the file
            for name, targets in self._imports.items():
                self._note(name, frozenset(targets))
        text = self._text(statement)
        return Statement(hashlib.sha256(text.encode()).hexdigest()[:16], self._names)

    def _text(self, node: Any) -> str:
        if isinstance(node, list):
            return f"[{','.join(map(self._text, self._statements(node)))}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        write = getattr(self, f"_{type(node).__name__}", None)
        return write(node) if write else self._plain(node)

    def _statements(self, nodes: list[Any]) -> list[Any]:
        body = bool(nodes) and isinstance(nodes[0], ast.stmt)
        return _kept(nodes, in_class=self._of_class) if body else nodes

    def _plain(self, node: ast.AST, without: Sequence[str] = ()) -> str:
        """A node with those of its fields that hold something; which empty ones there are differs between versions."""
        fields = [(name, value) for name, value in ast.iter_fields(node) if name not in _UNREAD and name not in without]
        told = [f"{name}={self._text(value)}" for name, value in fields if value is not None and value != []]
        return f"{type(node).__name__}({','.join(told)})"

    def _note(self, name: str, targets: frozenset[Target]) -> str:
        """Takes a name down, and says how to write it: with a number where one name stands for several things."""
        if not self._noting:
            return name
        number = 0
        while self._names.setdefault(told := f"{name}#{number}" if number else name, targets) != targets:
            number += 1
        return told

    # ------------------------------------------------------------------------------------------------ names and modules

    def _is_local(self, name: str) -> bool:
        return name not in self._imports and any(name in scope for scope in self._scopes)

    def _targets(self, name: str) -> frozenset[Target]:
        return frozenset(self._imports.get(name) or {Target(self._module.name, name)})

    def _owner(self, node: ast.AST) -> str | None:
        """The module of ours that an expression names."""
        if isinstance(node, ast.Name) and not self._is_local(node.id):
            return next((found for each in self._targets(node.id) if (found := self._module.module_of(each))), None)
        if isinstance(node, ast.Attribute) and (owner := self._owner(node.value)):
            return self._module.module_of(Target(owner, node.attr))
        return None

    def _whole(self, module: str) -> str:
        return f"Module({self._note('', frozenset({Target(module)}))})"

    def _Name(self, node: ast.Name) -> str:
        if owner := self._owner(node):
            return self._whole(owner)
        return f"Name({node.id if self._is_local(node.id) else self._note(node.id, self._targets(node.id))})"

    def _Attribute(self, node: ast.Attribute) -> str:
        """``module.name`` reads as ``name`` does where that was imported."""
        if module := self._owner(node):
            return self._whole(module)
        if owner := self._owner(node.value):
            return f"Name({self._note(node.attr, frozenset({Target(owner, node.attr)}))})"
        return self._plain(node)

    # ------------------------------------------------------------------------------------------------------- constants

    def _said(self, node: ast.AST | None) -> bool:
        text = node.value if isinstance(node, ast.Constant) else None
        found = _SAID.fullmatch(text) if isinstance(text, str) else None
        return found is not None and self._module.module_of(Target(found[1])) is not None

    def _Constant(self, node: ast.Constant) -> str:
        return "Said()" if self._said(node) else f"{type(node.value).__name__}({node.value!r})"

    def _Dict(self, node: ast.Dict) -> str:
        """Without what is imported by a string: a table that grows changes nothing for what is in it already."""
        pairs = zip(node.keys, node.values, strict=True)
        told = [f"{self._text(key)}:{self._text(value)}" for key, value in pairs if not self._said(value)]
        return f"Dict({','.join(told)})"

    def _JoinedStr(self, node: ast.JoinedStr) -> str:
        """Text between the values in one piece, however it was cut."""
        parts: list[str] = []
        text = ""
        for each in node.values:
            if isinstance(each, ast.Constant):
                text += str(each.value)
                continue
            parts += [repr(text), self._text(each)]
            text = ""
        return f"JoinedStr({','.join([*parts, repr(text)])})"

    def _FormattedValue(self, node: ast.FormattedValue) -> str:
        return self._plain(node, () if getattr(node.format_spec, "values", []) else ("format_spec",))

    # ------------------------------------------------------------------------------------------------------ definitions

    def _FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
        outer = [f"{type(node).__name__}({node.name}", self._text(node.decorator_list), self._defaults(node.args)]
        called = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
        if any(isinstance(each, ast.Attribute) and each.attr == "register" for each in called):
            outer += [self._text(each.annotation) for each in ast.walk(node.args) if isinstance(each, ast.arg)]
        with self._scope(node.args, node.body, of_class=False):
            return ",".join([*outer, self._arguments(node.args), f"{self._text(node.body)})"])

    _AsyncFunctionDef = _FunctionDef

    def _Lambda(self, node: ast.Lambda) -> str:
        outer = self._defaults(node.args)
        with self._scope(node.args, [node.body], of_class=self._of_class):
            return f"Lambda({outer},{self._arguments(node.args)},{self._text(node.body)})"

    def _defaults(self, args: ast.arguments) -> str:
        return self._text([*args.defaults, "keywords", *args.kw_defaults])

    def _arguments(self, args: ast.arguments) -> str:
        groups = {name: getattr(args, name) for name in ("posonlyargs", "args", "vararg", "kwonlyargs", "kwarg")}
        return repr({name: [each.arg for each in _listed(group)] for name, group in groups.items()})

    @contextmanager
    def _scope(self, args: ast.arguments | None, body: Sequence[ast.AST], *, of_class: bool) -> Iterator[None]:
        outside = (
            {name for node in body for each in ast.walk(node) for name in _declared(each)} if self._shares else set()
        )
        named = {each.arg for each in ast.walk(args) if isinstance(each, ast.arg)} if args else set()
        before, self._of_class = self._of_class, of_class
        self._scopes.append((named | _bound(body)) - outside)
        try:
            yield
        finally:
            self._scopes.pop()
            self._of_class = before

    def _ClassDef(self, node: ast.ClassDef) -> str:
        before, self._of_class = self._of_class, True
        try:
            return self._plain(node)
        finally:
            self._of_class = before

    def _AnnAssign(self, node: ast.AnnAssign) -> str:
        if not self._of_class:
            return f"Assign([{self._text(node.target)}],{self._text(node.value)})"
        before, self._noting = self._noting, False
        annotation = self._text(node.annotation)
        self._noting = before
        return f"{self._plain(node, ('annotation',))}:{annotation}"

    def _Assign(self, node: ast.Assign) -> str:
        return f"Assign({self._text(node.targets)},{self._text(node.value)})"

    def _comprehension_of(self, node: ast.AST) -> str:
        targets = [each.target for each in node.generators]  # type: ignore[attr-defined]
        with self._scope(None, targets, of_class=self._of_class):
            return self._plain(node)

    _ListComp = _SetComp = _DictComp = _GeneratorExp = _comprehension_of


def _listed(group: Any) -> list[Any]:
    return group if isinstance(group, list) else [] if group is None else [group]


def _declared(node: ast.AST) -> list[str]:
    """Names that a function shares with what is around it."""
    return node.names if isinstance(node, ast.Global | ast.Nonlocal) else []
