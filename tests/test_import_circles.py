"""No file and no folder imports, in whatever way, what imports it."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts.check_import_circles import SOURCE, circles


def write_package(source: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / "__init__.py").touch()
    return source


def test_there_is_no_import_circle():
    assert circles(SOURCE) == []


LAZY = {"p/r/__init__.pyi": "from .c import C"}
CIRCLES = {
    "inside a function": {"p/a.py": "import p.b", "p/b.py": "def f():\n    from p.a import x"},
    "for type checking": {"p/a.py": "from p import b", "p/b.py": "if TYPE_CHECKING:\n    from p import a"},
    "through a lazy room": {**LAZY, "p/r/c.py": "import p.d", "p/d.py": "from p.r import C"},
    "through its own room": {**LAZY, "p/r/c.py": "import p.r.d", "p/r/d.py": "from p.r import C"},
    "of folders": {"p/r/a.py": "import p.s.a", "p/s/a.py": "", "p/s/b.py": "import p.r.b", "p/r/b.py": ""},
    "with __init__": {"p/r/__init__.py": "from p.r.a import x", "p/r/a.py": "from p.r import y"},
}


@pytest.mark.parametrize("files", CIRCLES.values(), ids=CIRCLES)
def test_circle_is_found(tmp_path, files):
    (circle,) = circles(write_package(tmp_path, files))
    assert circle[0] == circle[-1]


def test_one_way_through_a_lazy_room_is_no_circle(tmp_path):
    files = {**LAZY, "p/r/c.py": "", "p/r/d.py": "import p.e", "p/e.py": "", "p/f.py": "from p.r import C"}
    assert circles(write_package(tmp_path, files)) == []
