"""The reference of the documentation site: the pages on Python and on the command line, made from the code."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from types import FunctionType

from cyclopts import App
from cyclopts.docs.base import iterate_commands
from cyclopts.docs.markdown import generate_markdown_docs

from napari_caltomorph.cli.app import VERBS, app

SOURCE = Path(__file__).parents[1] / "src"
PACKAGE = "napari_caltomorph"


def public_names() -> dict[str, list[str]]:
    """Return each public module and the names that its ``__init__.pyi`` lists; then the module of the errors."""
    names = {}
    for stub in sorted(SOURCE.rglob("__init__.pyi")):
        imports = [node for node in ast.parse(stub.read_text("utf-8")).body if isinstance(node, ast.ImportFrom)]
        module = ".".join(stub.parent.relative_to(SOURCE).parts)
        names[module] = [alias.name for node in imports for alias in node.names]
    errors = vars(importlib.import_module(f"{PACKAGE}.errors")).items()
    return {**names, f"{PACKAGE}.errors": [name for name, one in errors if _is_error(one)]}


def _is_error(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Exception)


def python_pages() -> dict[str, str]:
    """Return a page with what most programs need and the modules, and one page a module."""
    names = public_names()
    top = importlib.import_module(PACKAGE)
    most = [_row(f"[`{one}`][{PACKAGE}.{one}]", _summary(getattr(top, one))) for one in names.pop(PACKAGE)]
    modules, pages = [], {}
    for path, public in names.items():
        module, title = importlib.import_module(path), path.rpartition(".")[2]
        modules.append(_row(f"[`{path}`]({title}.md)", _summary(module)))
        entries = "\n".join(_entry(f"{path}.{one}", getattr(module, one)) for one in public)
        pages[f"reference/python/{title}.md"] = (
            f"---\ntitle: {title}\n---\n\n# {path}\n\n{_summary(module)}\n\n{entries}"
        )
    text = f"""# Python

What most programs need, from `{PACKAGE}` itself:

{_table(("name", ""), most)}
All public names, by module:

{_table(("module", ""), modules)}"""
    return {"reference/python/index.md": text, **pages}


def _entry(path: str, value: object) -> str:
    """Return the entry of one name; a class's fields are a table between its docstring and its methods."""
    if not inspect.isclass(value):
        return f"::: {path}\n"
    text = f"::: {path}\n    options:\n      members: false\n      inherited_members: false\n\n"
    if rows := [_row(*cells) for cells in fields(value)]:
        text += _table(("field", "type", "default", ""), rows) + "\n"
    return text + "".join(f"::: {path}.{name}\n    options:\n      heading_level: 3\n\n" for name in _methods(value))


def _table(titles: Iterable[str], rows: Iterable[str]) -> str:
    return _row(*titles) + _row(*("---" for _ in titles)) + "".join(rows)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def _summary(value: object) -> str:
    return _in_a_row((inspect.getdoc(value) or "").partition("\n\n")[0])


def _in_a_row(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _own(kind: type) -> list[type]:
    return [one for one in kind.__mro__ if one.__module__.startswith(PACKAGE)]


def _methods(kind: type) -> list[str]:
    kinds = (FunctionType, staticmethod, classmethod, property, cached_property)
    names = dict.fromkeys(name for one in _own(kind) for name in vars(one) if not name.startswith(("_", "model_")))
    return [name for name in names if isinstance(one := inspect.getattr_static(kind, name), kinds) and one.__doc__]


def fields(kind: type) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, type, default and meaning of each field, those of base classes first.

    The meaning is a pydantic field's description, or the comment or docstring in the code.
    """
    described = getattr(kind, "model_fields", {})
    for one in reversed(_own(kind)):
        lines = textwrap.dedent(inspect.getsource(one)).splitlines()
        (statement,) = ast.parse("\n".join(lines)).body
        body = statement.body if isinstance(statement, ast.ClassDef) else []
        for node, after in zip(body, [*body[1:], None], strict=True):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id[0] != "_":
                name, kind_of = node.target.id, f"`{_type(node)}`"
            elif isinstance(node, ast.Assign) and issubclass(one, Enum):
                name, kind_of = ast.unparse(node.targets[0]), ""
            else:
                continue
            meaning = described[name].description if name in described else None
            default = f"`{_default(node.value)}`" if node.value and _default(node.value) else ""
            yield f"`{name}`", kind_of, default, _in_a_row(meaning or _comment(node, lines) or _docstring(after))


def _type(node: ast.AnnAssign) -> str:
    """Return the type of a field without what only pydantic reads, and then its limits."""
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    words = [one for one in ast.walk(node) if isinstance(one, ast.keyword)]
    limits = [f"{signs[word.arg]} {ast.unparse(word.value)}" for word in words if word.arg in signs]
    return ", ".join([ast.unparse(_Bare().visit(node.annotation)), *limits])


class _Bare(ast.NodeTransformer):
    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if ast.unparse(node.value) == "Annotated" and isinstance(node.slice, ast.Tuple):
            return self.visit(node.slice.elts[0])
        return self.generic_visit(node)


def _default(value: ast.expr) -> str:
    if isinstance(value, ast.Call) and ast.unparse(value.func) in ("Field", "field"):
        words = {word.arg: word.value for word in value.keywords}
        value = value.args[0] if value.args else words.get("default") or words.get("default_factory")
    return "" if value is None or (isinstance(value, ast.Constant) and value.value is ...) else ast.unparse(value)


def _comment(node: ast.stmt, lines: list[str]) -> str:
    """Return the comment behind a statement, or the lines of comment above it."""
    behind = lines[node.end_lineno - 1][node.end_col_offset :].strip()
    if behind.startswith("#"):
        return behind.lstrip("# ")
    above = list(takewhile(lambda line: line.strip().startswith("#"), reversed(lines[: node.lineno - 1])))
    return " ".join(line.strip().lstrip("# ") for line in reversed(above))


def _docstring(node: ast.stmt | None) -> str:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return node.value.value if is_text else ""


def command_line_pages() -> dict[str, str]:
    """Return a page with the verbs, and one a verb: usage, options as they are grouped, and the examples."""
    verbs = "".join(_row(f"[`caltomorph {verb}`]({verb}.md)", _in_a_row(about)) for verb, about in VERBS.items())
    pages = {"index": ""} | dict.fromkeys(VERBS, "")
    of_title = dict(apps())
    _, *sections = re.split(r"^#+ (caltomorph.*)$", generate_markdown_docs(app, generate_toc=False), flags=re.MULTILINE)
    for title, section in zip(sections[::2], sections[1::2], strict=True):
        if title not in of_title:
            continue
        _, *words = title.split()
        # Cyclopts puts the command before a usage line of our own, which has it too.
        text = section.replace(" ".join([title, *words]), title)
        if examples := of_title[title].help_epilogue:
            text += f"**Examples**:\n\n{examples}\n\n"
        pages[words[0] if words else "index"] += f"{'#' * max(1, len(words))} {title}\n{text}"
    about = pages["index"].partition("**Commands**")[0].replace("# caltomorph\n", "# Command line\n", 1)
    # The options of every verb are those of the app that launches the verbs.
    launch = app.meta.default_command
    meanings = dict(re.findall(r"^    (\w+)\n        (.+)", launch.__doc__ or "", re.MULTILINE))
    common = [_row(f"`--{name.replace('_', '-')}`", meaning) for name, meaning in meanings.items()]
    options = _table(("every verb", ""), common)
    pages["index"] = f"{about}{_table(('verb', ''), [verbs])}\n{options}"
    return {f"reference/command-line/{name}.md": text for name, text in pages.items()}


def apps(one: App = app, title: str = "caltomorph") -> Iterator[tuple[str, App]]:
    """Yield every command, with what a person types for it."""
    yield title, one
    for name, sub in iterate_commands(one):
        if name.startswith("-"):  # such as --install-completion
            continue
        yield from apps(sub, f"{title} {name}")
