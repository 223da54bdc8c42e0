"""``caltomorph weights``: the encoders' weights on this machine, and how others come here."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from napari_caltomorph.cli.console import answer, console, fail, progress_bar, say, say_line, table
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.diagnosis.options import GENBLOOM
from napari_caltomorph.encoding import (
    Encoder,
    add_weights,
    download_weights,
    find_encoder,
    find_weights,
    known_encoders,
    verify_weights,
)
from napari_caltomorph.encoding.locations import PackageFile, ShippedFile
from napari_caltomorph.encoding.weights import WeightsReport
from napari_caltomorph.errors import WeightsMissing, WeightsRefused
from napari_caltomorph.storage import file_sha256

app = Verb(
    name="weights",
    help_epilogue="""What is here, and what is missing:

    caltomorph weights list

Get DinoBloom-B from its authors; or add the file you have:

    caltomorph weights download dinobloom-b
    caltomorph weights add DinoBloom-B.pth""",
)


@app.command(name="list")
def list_weights() -> None:
    """List the encoders, whether their weights are here, where, and their sums."""
    overview = table("Encoder", "Weights", "Size", "Sum")
    found = {}
    for encoder in known_encoders():
        try:
            path = find_weights(encoder)
        except WeightsMissing:
            overview.add_row(encoder.name, Text("missing", "yellow"))
            continue
        sha256, size = file_sha256(path), f"{path.stat().st_size / 1e6:.0f} MB"
        found[encoder.name] = path, sha256
        overview.add_row(encoder.name, Text("found", "green"), size, _standing(encoder, sha256))
    console.print(overview)
    answer(weights=[{"encoder": name, "path": path, "sha256": sha256} for name, (path, sha256) in found.items()])
    for name, (path, sha256) in found.items():
        say(f"\n{name}", style="bold")
        say_line(f"  {path}")
        say_line(f"  SHA-256 {sha256}")
    if len(found) < len(known_encoders()):
        say("\nTo get a missing one, from its authors or from a file that you have:")
        say_line("  caltomorph weights download NAME")
        say_line("  caltomorph weights add FILE")


@app.command
def add(file: Path, /, *, encoder: str | None = None) -> None:
    """Check a weights file, and copy it to where it is found from now on.

    Parameters
    ----------
    file
        DinoBloom's .pth or .bin, or timm's .safetensors.
    encoder
        Which encoder it is for; otherwise it is recognised by the shapes in it.
    """
    _show(add_weights(file, None if encoder is None else find_encoder(encoder)), "Added")


@app.command
def download(name: str, /) -> None:
    """Download an encoder's weights from its authors, check them, and keep them.

    Parameters
    ----------
    name
        Encoder, as `caltomorph weights list` names it, hf-hub:OWNER/NAME for a timm model of the Hugging Face Hub, or
        genbloom-v or genbloom-g for an aggregator's.
    """
    if name in GENBLOOM:
        from napari_caltomorph.diagnosis.genbloom import download_genbloom

        with progress_bar() as progress:
            path = download_genbloom(name, progress=progress)
        say(f"Downloaded: {name}", style="bold")
        say_line(f"  {path}")
        return
    with progress_bar() as progress:
        report = download_weights(find_encoder(name), progress=progress)
    _show(report, "Downloaded")


@app.command
def verify(name: str | None = None, /) -> int:
    """Load weights strictly, entry by entry, and sum them up.

    Parameters
    ----------
    name
        Encoder, or a folder with timm's config.json; otherwise all encoders with weights on this machine.
    """
    if name is not None:
        _show(verify_weights(find_encoder(name)), "Verified")
        return 0
    refused = []
    for encoder in known_encoders():
        try:
            _show(verify_weights(encoder), "Verified")
        except WeightsMissing:
            continue  # nothing to verify; `weights list` shows what is missing
        except WeightsRefused as error:
            fail(str(error), code=1)
            refused.append(encoder.name)
    return fail(f"these weights cannot be used: {', '.join(refused)}", code=1) if refused else 0


def _show(report: WeightsReport, done: str) -> None:
    answer(weights=[report])
    say(f"{done}: {report.encoder}", style="bold")
    say_line(f"  {report.path}")
    say_line(f"  SHA-256 {report.file_sha256}")
    say(f"  {_standing(find_encoder(report.encoder), report.file_sha256)}")
    say_line(f"  images: {report.preprocessing}")
    for note in report.notes:
        say(f"  {note}")


def _standing(encoder: Encoder, sha256: str) -> str:
    """Return whether the encoder's authors published this sum."""
    if isinstance(encoder.location, ShippedFile | PackageFile):
        return "part of an installed package"
    known = {source.sha256 for source in encoder.sources if source.sha256}
    if sha256 in known:
        return "as published by its authors"
    return "not among those published" if known else "not published, so not compared"
