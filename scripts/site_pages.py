"""What the documentation site has beyond docs/: pages that are made from the code, the pictures and the README.

MkDocs calls the functions `on_...` while it builds (`hooks` in mkdocs.yml). A generated page is never written to
docs/, so that it cannot differ from what it was made from.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from site_reference import command_line_pages, python_pages

ROOT = Path(__file__).parents[1]
PICTURE = re.compile(r"!\[(?P<caption>[^\]]+)\]\((?P<path>[^)]*images/(?P<name>[^)]+))\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def on_config(config: MkDocsConfig) -> None:
    """Take what the package's metadata say, and write the pages of a folder into the navigation."""
    project = _project()
    config.site_description, config.site_url = project["description"], project["urls"]["Documentation"]
    # Not `repo_url`: with it, each page asks the server of the repository for its numbers of stars and forks.
    config.extra["social"] = [{"icon": "fontawesome/brands/github", "link": project["urls"]["Repository"]}]
    config.nav = _with_folders(config.nav)


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the generated pages."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))


def on_pre_page(page: Page, **_: object) -> None:
    """Give the pages of docs/ a link to edit them."""
    if page.file.generated_by is None:
        page.edit_url = f"{_project()['urls']['Repository']}/edit/main/docs/{page.file.src_uri}"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Make every picture a link to itself in full size, and load it when it is scrolled to."""
    return PICTURE.sub(r"[\g<0>{loading=lazy}](\g<path>)", markdown)


def on_post_page(output: str, page: Page, **_: object) -> None:
    """Refuse a page that loads something from another server, which would learn what is read."""
    for tag in re.findall(r"<(?:script|img|iframe|link)\b[^>]*", output):
        if re.search(r"\b(?:src|href)=[\"']?https?:", tag) and 'rel="canonical"' not in tag:
            raise PluginError(f"{page.file.src_uri} loads {tag}> from another server; put the file into docs/.")


@cache
def pages() -> dict[str, str]:
    """Return the text of every generated page by its path, in the order of the navigation."""
    pages = {"index.md": _of_the_repository("README.md"), "changelog.md": _of_the_repository("CHANGELOG.md")}
    pages["gallery.md"] = _gallery()
    pages |= {f"notebooks/{path.stem}.md": _notebook(path) for path in sorted(ROOT.glob("docs/notebooks/*.ipynb"))}
    return {**pages, **python_pages(), **command_line_pages()}


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def _of_the_repository(name: str) -> str:
    """Return a text that the repository and PyPI show too; its links become links to pages, or to the repository."""
    repository = _project()["urls"]["Repository"]
    text = (ROOT / name).read_text("utf-8").replace(f"]({repository}/blob/main/", "](")
    text = re.sub(r"\[docs/([\w-]+\.md)\]", lambda link: f"[{_title(link[1])}]", text)
    text = text.replace("](docs/", "](").replace("](CHANGELOG.md", "](changelog.md")
    return re.sub(r"\]\(((?:[A-Z]+\.\w+|LICENSE|benchmarks/[^)]*|src/[^)]*))\)", rf"]({repository}/blob/main/\1)", text)


def _title(page: str) -> str:
    """Return the heading of a page of docs/."""
    heading = HEADING.search((ROOT / "docs" / page).read_text("utf-8"))
    return heading[1] if heading else page


def _with_folders(nav: object) -> object:
    if isinstance(nav, list):
        return [_with_folders(entry) for entry in nav]
    if isinstance(nav, dict):
        return {title: _with_folders(entry) for title, entry in nav.items()}
    return [path for path in pages() if path.startswith(nav)] if str(nav).endswith("/") else nav


def _notebook(path: Path) -> str:
    """Return a notebook with its outputs as a page."""
    text = ""
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        text += f"```python\n{source}\n```\n\n" if cell["cell_type"] == "code" else f"{source}\n\n"
        text += "".join(_output(output) for output in cell.get("outputs", []))
    return text + f"[The notebook]({path.name}), as it was run.\n"


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "image/png" in data:
        return f'<img alt="The figure that this draws" src="data:image/png;base64,{data["image/png"].strip()}">\n\n'
    if "text/html" in data:
        table = re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.DOTALL)
        return re.sub(r' (?:border="1" )?class="dataframe"', "", " ".join(table.split())) + "\n\n"
    return f"```text\n{''.join(data['text/plain']).rstrip()}\n```\n\n"


@dataclass(frozen=True)
class Figure:
    """A picture of docs/images as a page shows it."""

    name: str
    caption: str
    page: str
    title: str  # Of the page
    script: str  # What makes it


def figures() -> Iterator[Figure]:
    """Yield each picture once, where a page first shows it, in the order of the pages."""
    scripts = {path.name: path.read_text("utf-8") for path in sorted(ROOT.glob("scripts/*.py"))}
    seen: set[str] = set()
    for page in (*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md"):
        text = page.read_text("utf-8")
        title = HEADING.search(text)
        for picture in PICTURE.finditer(text):
            name = picture["name"]
            if name not in seen:
                written = f'{name}"', re.sub(r"_\d+\.", "_{number}.", name)
                script = next((one for one, code in scripts.items() if any(text in code for text in written)), "")
                yield Figure(name, picture["caption"], page.name, title[1] if title else page.stem, script)
            seen.add(name)


def _gallery() -> str:
    text = """# Gallery

Every picture of these pages; click one to see it in full size. All smears and cohorts in them are synthetic. Scripts
make the pictures from real windows, reports and drawings: `make screenshots` makes them again.

<div class="grid cards" markdown>

"""
    for one in figures():
        page = "index.md" if one.page == "README.md" else one.page
        text += f"- ![{one.caption}](images/{one.name})\n\n"
        text += f"    {one.caption}. In [{one.title}]({page}), by `scripts/{one.script}`.\n\n"
    return text + "</div>\n"
