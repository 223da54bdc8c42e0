"""The page that says where to change what names files that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "napari_caltomorph"


def test_every_file_of_the_architecture_page_exists():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    paths = re.findall(r"`((?:\w+/)+\w+\.\w+)`", text)
    assert len(paths) > 50
    roots = (ROOT, SOURCE, SOURCE / "plugin")
    assert [path for path in paths if not any((root / path).exists() for root in roots)] == []
