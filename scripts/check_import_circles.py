"""Find import circles between files and between folders: `python scripts/check_import_circles.py`; 1 if there are any.

Every import counts, also inside functions and for type checking. A public name that a room's lazy `__init__` gives
counts as an import of the file that defines it, which the room's `.pyi` names; import-linter cannot see that.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"


def modules(source: Path) -> dict[str, Path]:
    """Return dotted name -> file; a folder has the name of its `__init__.py`."""
    found = {}
    for path in source.rglob("*.py"):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def public_names(init: Path) -> dict[str, str]:
    """Return name -> file (without suffix) of what a lazy `__init__` gives, from its `.pyi`."""
    stub = init.with_suffix(".pyi")
    if init.name != "__init__.py" or not stub.exists():
        return {}
    imports = [node for node in ast.parse(stub.read_text("utf-8")).body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: str(node.module) for node in imports for alias in node.names}


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yield the modules of ours that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            yield from (_definer(node.module, alias.name, known) for alias in node.names)


def _definer(module: str, name: str, known: dict[str, Path]) -> str:
    """Return the module that defines what `from module import name` gives."""
    if f"{module}.{name}" in known:
        return f"{module}.{name}"
    file = public_names(known[module]).get(name)
    return module if file is None else _definer(f"{module}.{file}", name, known)


def circles(source: Path) -> list[list[str]]:
    """Return for each folder a circle among its files and folders; without these, no two files anywhere form one."""
    known = modules(source)
    graphs: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for importer, path in known.items():
        for imported in imports(path, known):
            folder, one, other = _siblings(_in_folder(importer, known), _in_folder(imported, known))
            graphs[folder][one].add(other)
    found = []
    for graph in graphs.values():
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            found.append(error.args[1])
    return found


def _in_folder(module: str, known: dict[str, Path]) -> str:
    """Return a module's name; what a folder's `__init__.py` imports is imported by a file of this name in it."""
    return f"{module}.__init__" if known[module].name == "__init__.py" else module


def _siblings(importer: str, imported: str) -> tuple[str, str, str]:
    """Return the folder that two modules share, and the file or folder in it that each of them is in."""
    ones, others = importer.split("."), imported.split(".")
    depth = next(i for i, (one, other) in enumerate(zip(ones, others, strict=False)) if one != other)
    return ".".join(ones[:depth]), ".".join(ones[: depth + 1]), ".".join(others[: depth + 1])


if __name__ == "__main__":
    found = circles(SOURCE)
    for circle in found:
        print("import circle:", " <- ".join(circle))
    sys.exit(bool(found))
