"""Many modules as one file: a class with all that it needs of this package, for where the package is not installed.

A definition comes along if one that comes along names it, so what only training needs stays behind. Imports from
outside the package are gathered at the top. A method that imports from the package when it is called is left out.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
Import = tuple[str, str, str]
"""Module, name in it (empty: the module itself), and what it is called."""


@dataclass
class Module:
    """A module: what it defines and where that ends, what it imports from the package and from outside it, the rest."""

    name: str
    title: str
    lines: list[str]
    defined: dict[str, list[Definition]] = field(default_factory=dict)
    ends: dict[ast.stmt, int] = field(default_factory=dict)
    inside: dict[str, tuple[str, str]] = field(default_factory=dict)
    outside: dict[str, Import] = field(default_factory=dict)
    other: list[ast.stmt] = field(default_factory=list)
    taken: list[Definition] = field(default_factory=list)


def bundle(root: Path, module: str, name: str, header: str) -> str:
    """The text of one file that defines `name` as a module, e.g. "model.pipeline", of the package under `root` does.

    Raises ValueError where two modules mean different things by one name, or where a module does more than define.
    """
    sources: dict[str, Module] = {}
    _read(root, module, sources)
    imports: set[Import] = set()
    _take(sources, sources[module], name, imports)
    _check_names(sources, imports)
    parts = ["\n\n\n".join([_title(root, source), *_texts(source)]) for source in sources.values() if source.taken]
    return f'"""{header}"""\n\n{_import_lines(imports)}\n\n' + "\n\n\n".join(parts) + "\n"


def _read(root: Path, name: str, sources: dict[str, Module]) -> None:
    """Read a module after those that it imports, so that `sources` are in an order in which they can run."""
    path = root.joinpath(*name.split("."))
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    tree = ast.parse(text)
    source = Module(name, (ast.get_docstring(tree) or "").partition("\n")[0], text.splitlines())
    body = [inner for node in tree.body for inner in (node.body if _is_for_types(node) else [node])]
    for before, node in zip([None, *body], body, strict=False):
        if isinstance(node, ast.ImportFrom) and node.level:
            home = ".".join([*name.split(".")[: -node.level], *filter(None, [node.module])])
            source.inside |= {alias.asname or alias.name: (home, alias.name) for alias in node.names}
            if home not in sources:
                _read(root, home, sources)
        elif isinstance(node, ast.ImportFrom):
            found = [(node.module or "", alias.name, alias.asname or alias.name) for alias in node.names]
            source.outside |= {given: (home, name, given) for home, name, given in found}
        elif isinstance(node, ast.Import):
            source.outside |= {alias.asname or alias.name: (alias.name, "", alias.asname or "") for alias in node.names}
        elif isinstance(node, Definition):
            source.ends[node] = node.end_lineno or 0
            for bound in _bound(node):
                source.defined.setdefault(bound, []).append(node)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            source.other.append(node)
        elif before in source.ends:
            source.ends[before] = node.end_lineno or 0
    sources[name] = source


def _is_for_types(node: ast.stmt) -> TypeGuard[ast.If]:
    """Whether a statement is `if TYPE_CHECKING:`, whose imports the one file may as well have."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _bound(node: Definition) -> set[str]:
    """The names that a statement defines or changes: `a[0] = a[1] = b` changes a."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}


def _take(sources: dict[str, Module], source: Module, name: str, imports: set[Import]) -> None:
    """Take what a name means in a module, and in turn what that needs."""
    if name in source.inside:
        home, own_name = source.inside[name]
        if own_name not in sources[home].defined:
            raise ValueError(f"{source.name}: {own_name} is not defined in {home}; import it from where it is")
        if name != own_name:
            raise ValueError(f"{source.name}: {name} is {own_name} in {home}; import it by its own name")
        _take(sources, sources[home], name, imports)
    elif name in source.outside:
        imports.add(source.outside[name])
    for node in source.defined.get(name, []):
        if node not in source.taken:
            source.taken.append(node)
            for used in _names(node):
                _take(sources, source, used, imports)
    if source.taken and source.other:
        raise ValueError(f"{source.name}, line {source.other[0].lineno}: a bundled module can only define")


def _names(node: Definition) -> set[str]:
    left_out = {id(inner) for method in _left_out(node) for inner in ast.walk(method)}
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and id(n) not in left_out}


def _left_out(node: Definition) -> list[ast.FunctionDef]:
    """The methods of a class that import from the package when they are called."""
    methods = [n for n in node.body if isinstance(n, ast.FunctionDef)] if isinstance(node, ast.ClassDef) else []
    return [m for m in methods if any(isinstance(n, ast.ImportFrom) and n.level for n in ast.walk(m))]


def _title(root: Path, source: Module) -> str:
    return f"# {root.name}/{source.name.replace('.', '/')}.py\n# {source.title}"


def _texts(source: Module) -> Iterator[str]:
    """The text of each statement taken, with the comment above and the docstring below it, in the module's order."""
    for node in sorted(source.taken, key=lambda node: node.lineno):
        first, last = _first_line(node), source.ends[node]
        while first > 1 and source.lines[first - 2].startswith("#"):
            first -= 1
        gone = {i for m in _left_out(node) for i in range(_first_line(m), (m.end_lineno or 0) + 2)}
        yield "\n".join(source.lines[i - 1] for i in range(first, last + 1) if i not in gone).rstrip()


def _first_line(node: ast.stmt) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])


def _check_names(sources: dict[str, Module], imports: set[Import]) -> None:
    """Raise ValueError where one name would mean two things."""
    meanings = [(given or home.partition(".")[0], f"{home} {name}") for home, name, given in imports]
    meanings += {(name, source.name) for source in sources.values() for node in source.taken for name in _bound(node)}
    seen: dict[str, str] = {}
    for name, meaning in meanings:
        if seen.setdefault(name, meaning) != meaning:
            raise ValueError(f"{name} means two things: {seen[name]} and {meaning}")


def _import_lines(imports: set[Import]) -> str:
    """The imports as ruff sorts them: the future, the standard library, the rest."""
    own = {i for i in imports if i[0].partition(".")[0] in sys.stdlib_module_names}
    blocks = ["from __future__ import annotations"]
    for group in (own, imports - own):
        lines = sorted(f"import {home}" + (f" as {given}" if given else "") for home, name, given in group if not name)
        for home in sorted({home for home, name, _ in group if name}, key=str.lower):
            found = [(name, given) for where, name, given in group if name and where == home]
            words = [name if given == name else f"{name} as {given}" for name, given in found]
            lines.append(f"from {home} import {', '.join(sorted(words, key=_isort))}")
        blocks.append("\n".join(lines))
    return "\n\n".join(filter(None, blocks))


def _isort(name: str) -> tuple[bool, bool, str]:
    """CONSTANTS, then Classes, then functions."""
    return not name.isupper(), name[0].islower(), name
