"""The code that a run reaches, as digests of its statements: where it stands, and what is said of it, is left out.

A run names the definitions that compute it (``Code.roots``). From there every name is followed to the statement that
binds it, through imports, also those inside functions, and through packages that only pass a name on. Each statement
that is met counts once, together with the statements that its names stand for. So a definition that moves, an import
that is written otherwise, and code that nothing reaches change nothing; another operator or constant changes every run
that reaches it.

What a string chooses while the program runs cannot be followed: such a choice is a root of the run.
"""

import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ablate.identity.syntax import Module, Target

PACKAGE = Path(__file__).parents[1]
"""Folder of the package's sources."""


class IdentityError(ValueError):
    """The source of what a run computes with is not there."""


@dataclass(frozen=True)
class Code:
    """Where the code of a run begins, and where it ends.

    Attributes:
        roots: Definitions of the package as ``module:name``; modules of the user's as ``module``, which count whole.
        apart: Modules of the package that the code names and this run does not use, e.g. another backend's step.
    """

    roots: tuple[str, ...]
    apart: frozenset[str] = frozenset()


def statements(code: Code, package: Path = PACKAGE) -> frozenset[str]:
    """Digests, of 16 hexadecimal digits, of all statements that a run reaches.

    Args:
        code: Where the code of the run begins.
        package: Folder that holds the package's sources.

    Raises:
        IdentityError: A root, or the source of a module, is not there.
    """
    return frozenset(statement for _, statement in _reached(code, package, foreign_sources(code)))


def own_statements(code: Code, package: Path = PACKAGE) -> frozenset[str]:
    """The same without those of the user's modules."""
    reached = _reached(code, package, foreign_sources(code))
    return frozenset(statement for module, statement in reached if _is_ours(module))


def modules(code: Code, package: Path = PACKAGE) -> frozenset[str]:
    """Names of the modules in which the statements stand.

    Raises:
        IdentityError: As ``statements``.
    """
    return frozenset(module for module, _ in _reached(code, package, foreign_sources(code)))


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "ablate"


def foreign_sources(code: Code) -> tuple[tuple[str, bytes], ...]:
    """Content of the user's modules, which may change while the process lives; of none that has no file."""
    files = {root: _file_of(root) for root in code.roots if not _is_ours(root)}
    return tuple((name, file.read_bytes()) for name, file in files.items() if file is not None and file.is_file())


def _file_of(module: str) -> Path | None:
    loaded = sys.modules.get(module)
    spec = None if loaded else importlib.util.find_spec(module)
    origin = getattr(loaded, "__file__", None) or (spec.origin if spec else None)
    return Path(origin) if origin else None


@cache
def _reached(code: Code, package: Path, foreign: tuple[tuple[str, bytes], ...]) -> frozenset[tuple[str, str]]:
    """Module and digest of each statement."""
    return frozenset(_Walk(code, _package(package).beside(dict(foreign))).walk([name for name, _ in foreign]))


@cache
def _package(folder: Path) -> "_Sources":
    return _Sources(folder)


_Place = tuple[Module, int]


class _Sources:
    """The package's modules, each read at its first use, and beside them the user's."""

    def __init__(self, folder: Path, inner: "_Sources | None" = None) -> None:
        self._folder, self._inner = folder, inner
        self._files: dict[str, Path] = inner._files if inner else dict(_files(folder))
        self._modules: dict[str, Module] = {}
        self._found: dict[Target, tuple[_Place | str, ...]] = {}

    def beside(self, foreign: Mapping[str, bytes]) -> "_Sources":
        """These, and modules of the user's; one that is no Python, an extension, is its bytes."""
        if not foreign:
            return self
        both = _Sources(self._folder, self)
        for name, source in foreign.items():
            try:
                both._modules[name] = Module(name, source, False, both.module_of)
            except (SyntaxError, ValueError):
                both._modules[name] = Module(name, f"content = {source!r}".encode(), False, both.module_of)
        return both

    def module(self, name: str) -> Module:
        if name in self._modules:
            return self._modules[name]
        if self._inner is not None:
            return self._inner.module(name)
        if name not in self._files:
            raise IdentityError(
                f"the source of {name} must lie in {self._folder}, since a run's identity is taken over it, but is not "
                "there; install ablate with its .py files."
            )
        file = self._files[name]
        self._modules[name] = Module(name, file.read_bytes(), file.name == "__init__.py", self.module_of)
        return self._modules[name]

    def module_of(self, target: Target) -> str | None:
        """The module of ours that a target is."""
        if target.name is None:
            return target.module if target.module in self._files else None
        if target.module not in self._files and target.module not in self._modules:
            return None
        module = self.module(target.module)
        if target.name in module.definers:
            return None
        if (passed := module.imports.get(target.name)) not in (None, target):
            return self.module_of(passed)
        inner = f"{target.module}.{target.name}"
        return inner if inner in self._files else None

    def find(self, target: Target) -> tuple[_Place | str, ...]:
        """The statements that a target is bound by; what is neither ours nor the user's is its name."""
        if target not in self._found:
            self._found[target] = tuple(self._looked_up(target))
        return self._found[target]

    def _looked_up(self, target: Target) -> Iterator[_Place | str]:
        if not _is_ours(target.module) and target.module not in self._modules:
            yield ".".join(filter(None, (target.module, target.name)))
        elif target.name is None:
            whole = self.module(target.module)
            yield from ((whole, place) for place in range(whole.count))
        elif inner := self.module_of(target):
            yield from self.find(Target(inner))
        else:
            yield from self._bound(self.module(target.module), target.name)

    def _bound(self, module: Module, name: str) -> Iterator[_Place | str]:
        if name in module.definers:
            yield from ((module, place) for place in module.definers[name])
        elif (passed := module.imports.get(name)) not in (None, Target(module.name, name)):
            yield from self.find(passed)
        else:
            for star in module.stars:
                yield from self.find(Target(star, name))

    def packages_above(self, module: Module) -> Iterator[Module]:
        """The packages of ours that are imported before a module of theirs is."""
        names = module.name.split(".")[:-1]
        yield from (self.module(each) for n in range(len(names)) if (each := ".".join(names[: n + 1])) in self._files)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        yield ".".join(("ablate", *parts)).removesuffix(".__init__"), path


class _Walk:
    """One run's way through the sources."""

    def __init__(self, code: Code, sources: _Sources) -> None:
        self._code, self._sources = code, sources
        self._waiting: list[_Place] = []
        self._met: set[_Place] = set()

    def walk(self, whole: list[str]) -> Iterator[tuple[str, str]]:
        targets = [Target(name) for name in whole]
        targets += [Target(*root.split(":")) for root in self._code.roots if _is_ours(root)]
        for target in targets:
            if not self._follow(target):
                raise IdentityError(
                    f"{target.module} must define {target.name}, where a run's code begins; it does not."
                )
        while self._waiting:
            module, place = self._waiting.pop()
            yield module.name, self._element(module, place)

    def _element(self, module: Module, place: int) -> str:
        statement = module.statement(place)
        names = {name: sorted({each for t in targets for each in self._follow(t)})
                 for name, targets in statement.names.items()}  # fmt: skip
        told = [statement.text, {name: texts for name, texts in names.items() if texts}]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def _follow(self, target: Target) -> list[str]:
        """What a target is, as text; its statements wait for their turn."""
        found = [each for each in self._sources.find(target) if not self._is_apart(each)]
        for each in found:
            if not isinstance(each, str):
                self._meet(each)
        return [each if isinstance(each, str) else each[0].statement(each[1]).text for each in found]

    def _is_apart(self, found: _Place | str) -> bool:
        return not isinstance(found, str) and found[0].name in self._code.apart

    def _meet(self, place: _Place) -> None:
        imported = (*self._sources.packages_above(place[0]), place[0])
        for each in (place, *((module, effect) for module in imported for effect in module.effects)):
            if each not in self._met:
                self._met.add(each)
                self._waiting.append(each)
