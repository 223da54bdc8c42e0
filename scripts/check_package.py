"""Build the sdist and the wheel from it, and check them as those meet them who install this package.

Checked are the page that PyPI makes of README.md, what is in the files, and whether the wheel alone, in a clean
environment, can predict. The last takes minutes and gigabytes; `--no-install` leaves it out.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

from readme_renderer import markdown

ROOT = Path(__file__).parents[1]
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]
PACKAGES = {"caltomorph_command", "napari_caltomorph"}
IN_WHEEL = {
    "caltomorph_command/__init__.py",
    "napari_caltomorph/__init__.pyi",
    "napari_caltomorph/diagnosis/demo/model.json",
    "napari_caltomorph/encoding/blood_lite.safetensors",
    "napari_caltomorph/napari.yaml",
    "napari_caltomorph/py.typed",
    "napari_caltomorph/report/patient.html.j2",
}
IN_SDIST = {"CHANGELOG.md", "CITATION.cff", "Makefile", "benchmarks/speed.py", "docs/napari.md", "tests/conftest.py"}


def build(out: Path, *options: str) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from it."""
    _run(sys.executable, "-m", "build", "--outdir", out, *options, ROOT)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def problems(sdist: Path, wheel: Path) -> list[str]:
    """Return what is wrong with the files, and with the page that PyPI makes of them."""
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = archive.namelist()
        about = next(name for name in in_wheel if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(about))
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    top = {name.partition("/")[0] for name in in_wheel}
    return [
        *(f"{name} is not in the wheel" for name in sorted(IN_WHEEL.difference(in_wheel))),
        *(f"{name} is in the wheel" for name in sorted(top - PACKAGES - {about.partition("/")[0]})),
        *(f"{name} is not in the sdist" for name in sorted(IN_SDIST - in_sdist)),
        *_problems_of_page(metadata.get_payload(), metadata["Version"]),
    ]


def _problems_of_page(text: str, version: str) -> list[str]:
    page = markdown.render(text)
    if page is None:
        return ["README.md cannot be rendered"]
    found = []
    raw = REPOSITORY.replace("//github.com/", "//raw.githubusercontent.com/")
    for link in re.findall(r'(?:href|src)="([^"]+)"', page):
        ours = re.match(f"(?:{REPOSITORY}/blob|{raw})/v{re.escape(version)}/([^#]+)", link)
        if not link.startswith(("https://", "#")):
            found.append(f"README.md: {link} is not absolute on PyPI")
        elif ours and not (ROOT / ours[1]).exists():
            found.append(f"README.md: {link} leads nowhere")
    return found


def use(wheel: Path) -> None:
    """Install the wheel without extras into a clean environment, and predict a synthetic smear there."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        venv.create(where / "venv", with_pip=True)
        commands = where / "venv" / ("Scripts" if os.name == "nt" else "bin")
        _run(commands / "python", "-m", "pip", "install", "--quiet", wheel)
        _run(commands / "caltomorph", "--help")
        _run(commands / "caltomorph", "synth", where / "cohort", "--patients", "19", "--cells", "8")
        _run(
            commands / "caltomorph",
            "predict",
            where / "cohort",
            "--each",
            "--model",
            "demo",
            "--out",
            where / "results",
        )


def _run(*command: str | Path) -> None:
    print("$", *command, flush=True)
    subprocess.run(command, check=True, cwd=tempfile.gettempdir())


def main() -> int:
    """Build and check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="new folder for the files")
    parser.add_argument("--no-install", action="store_true", help="do not try the wheel")
    options = parser.parse_args()
    sdist, wheel = build(options.out)
    _run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    if found := problems(sdist, wheel):
        print(*found, sep="\n", file=sys.stderr)
        return 1
    if not options.no_install:
        use(wheel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
