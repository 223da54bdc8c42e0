"""What the documentation site has beyond docs/: pages that are made from the code, the pictures and the README.

MkDocs calls `on_config` and `on_files` while it builds (`hooks` in mkdocs.yml). A generated page is never written to
docs/, so that it cannot differ from what it was made from.
"""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"


def on_config(config: MkDocsConfig) -> None:
    """Take what the package's metadata say, and write the pages of a folder into the navigation."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    config.site_description = project["description"]
    if repository := project.get("urls", {}).get("Repository"):
        config.repo_url, config.edit_uri = repository, "edit/main/docs/"
    config.nav = _with_folders(config.nav)


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the generated pages."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))


def _with_folders(nav: object) -> object:
    if isinstance(nav, list):
        return [_with_folders(entry) for entry in nav]
    if isinstance(nav, dict):
        return {title: _with_folders(entry) for title, entry in nav.items()}
    return [path for path in pages() if path.startswith(nav)] if str(nav).endswith("/") else nav


@cache
def pages() -> dict[str, str]:
    """Return the text of every generated page by its path, in the order of the navigation."""
    return {
        "index.md": (ROOT / "README.md").read_text("utf-8").replace("](docs/", "]("),
        **_python(),
        "reference/command-line.md": "# Command line\n\n::: cyclopts\n    module: napari_caltomorph.cli.app:app\n",
        "gallery.md": "# Gallery\n\n" + "\n".join(f"![{caption}](images/{name})\n" for name, caption in pictures()),
    }


def _python() -> dict[str, str]:
    texts, table = {}, "# Python\n\n| module | |\n|---|---|\n"
    for room, names in rooms():
        title = "The names that most need" if room == SOURCE.name else room.rpartition(".")[2]
        summary = " ".join((importlib.import_module(room).__doc__ or "").partition("\n\n")[0].split())
        table += f"| [`{room}`]({room}.md) | {summary} |\n"
        entries = "\n".join(f"::: {room}.{name}\n" for name in names)
        texts[f"reference/python/{room}.md"] = f"# {title}\n\n{summary}\n\n{entries}"
    return {"reference/python/index.md": table, **texts}


def rooms() -> Iterator[tuple[str, list[str]]]:
    """Yield each public module, and the names that its ``__init__.pyi`` lists."""
    for stub in sorted(SOURCE.rglob("__init__.pyi")):
        imports = [node for node in ast.parse(stub.read_text("utf-8")).body if isinstance(node, ast.ImportFrom)]
        yield ".".join(stub.parent.relative_to(SOURCE).parts), [alias.name for node in imports for alias in node.names]


def pictures() -> Iterator[tuple[str, str]]:
    """Yield each picture of docs/images and the first caption that a page gives it."""
    text = "\n".join(page.read_text("utf-8") for page in [*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md"])
    captions = {name: alt for alt, name in reversed(re.findall(r"!\[([^\]]+)\]\((?:docs/)?images/([^)]+)\)", text))}
    for path in sorted((ROOT / "docs/images").iterdir()):
        yield path.name, captions.get(path.name, "")
