"""``caltomorph doctor``: what this machine has, what is missing, and the command that fixes it.

A check never raises: what is broken is a finding.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import platform
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rich.text import Text

from napari_caltomorph.cli import window
from napari_caltomorph.cli.console import answer, console, fail, say, say_line, table
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.encoding.torch_loading import no_collecting
from napari_caltomorph.storage import home

_PACKAGE = "napari-caltomorph"
# Modules with another name than their package.
_MODULES = {"pillow": "PIL", "pyyaml": "yaml", "scikit-image": "skimage", "scikit-learn": "sklearn"}
_INSTALL_OPENGL = "sudo apt-get install libgl1 libegl1 libopengl0 libxkbcommon-x11-0 libxcb-cursor0 libdbus-1-3"
_QT_BINDINGS = ("PyQt6", "PySide6", "PyQt5")
_WANTED_GB = 4.0  # Memory for DinoBloom-B and an ensemble of the paper's size, on the CPU.


app = Verb(
    name="doctor",
    usage="Usage: caltomorph doctor",
    help_epilogue="""Run it first when something does not work, and send its output when you ask
for help:

    caltomorph doctor""",
)


@app.default
def doctor() -> int:
    """Report what this machine has, what is missing, and the command that fixes it."""
    with no_collecting():
        findings = _show("Python", check_python())
    broken = [f for f in findings if f.is_core]
    if not broken:
        findings += _show("Computing", check_computing())
        findings += _show("Window", check_window())
        findings += _show("Encoder weights", check_weights())
        findings += _show("Models", check_models())
        findings += _show("Folders", check_folders())
    missing = [f for f in findings if f.fix is not None]
    answer(findings=[asdict(f) for f in findings])
    if missing:
        say("\nWhat is missing, and how to fix it", style="bold")
        for one in missing:
            say_line(f"  {one.what}: {one.fix}")
    else:
        say("\nNothing is missing.", style="bold")
    if broken:
        return fail(f"packages that everything needs are broken: {', '.join(f.what for f in broken)}", code=1)
    return 0


def _show(section: str, checks: Iterator[Finding]) -> list[Finding]:
    say(f"\n{section}", style="bold")  # importing every package takes seconds
    findings = list(checks)
    rows = table("", "", "")
    rows.show_header = False
    for one in findings:
        rows.add_row(_mark(one), one.what, Text(one.found))
    console.print(rows)
    return findings


def _mark(finding: Finding) -> Text:
    if finding.is_optional:
        return Text("-", "dim")
    return Text("ok", "green") if finding.fix is None else Text("!", "bold yellow")


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    what: str
    found: str
    fix: str | None = None  # What to do about it; None when nothing is wrong
    is_core: bool = False  # Without it nothing works
    is_optional: bool = False  # Without it everything works


def check_python() -> Iterator[Finding]:
    """Python, this package, and every package that the core needs."""
    yield Finding("Python", f"{platform.python_version()}, {sys.executable}")
    yield Finding(_PACKAGE, importlib.metadata.version(_PACKAGE))
    yield Finding("System", platform.platform(terse=True))
    broken = []
    for requirement in importlib.metadata.requires(_PACKAGE) or []:
        if "extra ==" in requirement:
            continue
        package = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        if problem := _problem_with(package):
            broken.append(package)
            yield Finding(package, problem, f"pip install --force-reinstall '{requirement}'", is_core=True)
    if not broken:
        shown = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "timm", "numpy"))
        yield Finding("Packages", f"all there: {shown}")


def check_computing() -> Iterator[Finding]:
    """Devices, the precision that `auto` gives, memory and disk."""
    import psutil
    import torch

    from napari_caltomorph.encoding.device import find_device, find_precision

    device = find_device("auto")
    if device.type == "cuda":
        count = torch.cuda.device_count()
        yield Finding("Device", f"{device} ({', '.join(torch.cuda.get_device_name(i) for i in range(count))})")
    else:
        yield Finding("Device", f"{device} (threads: {torch.get_num_threads()})")
    precision = "bf16" if find_precision("auto", device) is torch.bfloat16 else "float32"
    yield Finding("Precision", f"{precision} (what --precision auto gives here)")
    free = psutil.virtual_memory().available / 1e9
    fix = None if free >= _WANTED_GB else "close other programs, or use --batch-size 8 and a smaller encoder"
    yield Finding("Memory", f"{free:.1f} GB free of {psutil.virtual_memory().total / 1e9:.1f} GB", fix)


def check_window() -> Iterator[Finding]:
    """Look at napari, the Qt binding, the display and OpenGL."""
    install = "pip install 'napari-caltomorph[all]'"
    if not window.napari_is_here():
        yield Finding("napari", "not installed; the terminal works without it", install)
        return
    yield Finding("napari", importlib.metadata.version("napari"))
    binding = next((name for name in _QT_BINDINGS if importlib.util.find_spec(name)), None)
    if binding is None:
        yield Finding("Qt", "no binding installed", install)
        return
    yield Finding("Qt", f"{binding} {importlib.metadata.version(binding)}")
    has_display, has_xvfb = window.has_display(), window.has_xvfb()
    if not has_display:
        fix = None if has_xvfb else "sudo apt-get install xvfb"
        yield Finding("Display", f"none; {'Xvfb is there to draw without one' if has_xvfb else 'no Xvfb either'}", fix)
        if not has_xvfb:
            return
    else:
        yield Finding("Display", "there is one")
    opengl = window.check_opengl(xvfb=not has_display)
    where = "" if has_display else " (under Xvfb)"
    if opengl.error is None:
        yield Finding("OpenGL", opengl.output + where)
    else:
        yield Finding("OpenGL", f"does not work{where}: {opengl.error}", _INSTALL_OPENGL)


def check_weights() -> Iterator[Finding]:
    """Report for each encoder whether its weights are here; those of the default and of the models' must be."""
    from napari_caltomorph.diagnosis import installed_models, read_description
    from napari_caltomorph.encoding import EncodeOptions, find_encoder, find_weights, known_encoders
    from napari_caltomorph.errors import ModelRefused, WeightsMissing

    needed, encoders = {EncodeOptions().encoder}, {encoder.name: encoder for encoder in known_encoders()}
    for folder in installed_models().values():
        with contextlib.suppress(ModelRefused, WeightsMissing):  # `check_models` reports it; no encoder of the Hub
            needed.add(name := read_description(folder).encoder.name or "")
            if name.startswith("hf-hub:"):
                encoders.setdefault(name, find_encoder(name))
    for encoder in encoders.values():
        try:
            path = find_weights(encoder)
        except WeightsMissing:
            command = _command(encoder.location.fix(encoder.name))
            if encoder.name in needed:
                yield Finding(encoder.name, "missing", command)
            else:
                yield Finding(encoder.name, f"optional: {command}", is_optional=True)
        else:
            yield Finding(encoder.name, f"found, {path.stat().st_size / 1e6:.0f} MB")


def check_models() -> Iterator[Finding]:
    """Report for each installed model whether it can be used."""
    from napari_caltomorph.diagnosis import installed_models, read_description
    from napari_caltomorph.errors import ModelRefused

    for name, folder in installed_models().items():
        try:
            model = read_description(folder)
        except ModelRefused as error:
            yield Finding(name, str(error), f"get it again, then: caltomorph models add FOLDER --name {name}")
        else:
            takes = model.encoder.name or "features only"
            yield Finding(name, f"{len(model.taxonomy.classes)} classes, {model.members_in_words}, {takes}")


def check_folders() -> Iterator[Finding]:
    """Where weights, models and the cache are kept, and how much space is left there."""
    for kind in ("weights", "models", "cache"):
        yield Finding(kind.capitalize(), str(home(kind)))
    existing = next(path for path in (home("cache").absolute(), *home("cache").absolute().parents) if path.is_dir())
    free = shutil.disk_usage(existing).free / 1e9
    yield Finding("Disk", f"{free:.1f} GB free", None if free >= 1 else f"free some space on the disk of {existing}")


def _problem_with(package: str) -> str | None:
    """Import a package; return what is wrong with it, if anything is."""
    module = _MODULES.get(package, package.replace("-", "_"))
    if importlib.util.find_spec(module) is None:
        return "not installed"
    try:
        with warnings.catch_warnings(action="ignore"):
            importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 (a broken package may raise anything, and that is the finding)
        return f"broken ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'})"
    return None


def _command(sentence: str) -> str:
    """Return the first command of a sentence that names one in backticks."""
    named = re.search(r"`([^`]+)`", sentence)
    return named.group(1) if named else sentence
