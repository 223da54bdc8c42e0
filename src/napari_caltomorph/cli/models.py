"""``caltomorph models``: the models on this machine, and the encoders that they need."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.markdown import Markdown
from rich.text import Text

from napari_caltomorph.cli.console import answer, console, progress_bar, say, say_line, table
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.diagnosis import (
    add_model,
    download_model,
    export_model,
    find_model,
    installed_models,
    read_description,
)
from napari_caltomorph.diagnosis.model_card import model_card
from napari_caltomorph.encoding import find_weights, known_encoders
from napari_caltomorph.errors import ModelRefused, WeightsMissing
from napari_caltomorph.hub import Repository, is_address, upload
from napari_caltomorph.statistics.interval import percent

app = Verb(
    name="models",
    help_epilogue="""What is here, and what one of them is:

    caltomorph models list
    caltomorph models show demo

Install a model that you received; export one without its private part:

    caltomorph models add downloads/aml_model --name aml
    caltomorph models export aml aml_for_friends

The same through the Hugging Face Hub; first a folder to look at, then the upload:

    caltomorph models add hf://OWNER/NAME
    caltomorph models push aml aml_for_the_hub --license cc-by-4.0
    caltomorph models push aml hf://OWNER/NAME --license cc-by-4.0""",
)


@app.command(name="list")
def list_models() -> None:
    """List the models that `--model` takes by name."""
    overview = table("Model", "Classes", "Ensemble", "Encoder", "Trained on", "Malignant")
    models, broken = [], []
    for name, folder in installed_models().items():
        try:
            model = read_description(folder)
        except ModelRefused as error:
            broken.append(f"{name}: {error}")
            continue
        counts = str(len(model.taxonomy.classes)), model.members_in_words
        trained_on = Text("synthetic cells", "yellow") if model.synthetic else "patients"
        holds_at = "unknown" if model.prevalence is None else percent(model.prevalence.trained)
        overview.add_row(name, *counts, model.encoder.name or "unknown", trained_on, holds_at)
        classes, encoder = [one.slug for one in model.taxonomy.classes], model.encoder.name
        about = {"classes": classes, "encoder": encoder, "synthetic": model.synthetic, "prevalence": model.prevalence}
        models.append({"name": name, "folder": folder, **about})
    answer(models=models, problems=broken)
    console.print(overview)
    say("Malignant: the share of malignant patients at which the probabilities hold; state yours with --prevalence.")
    say("\nFolders", style="bold")
    for name, folder in installed_models().items():
        say_line(f"  {name}: {folder}")
    for text in broken:
        say(f"\nCannot be used: {text}", style="yellow")


@app.command
def show(name: str, /) -> None:
    """Show a model's card: what it takes and gives, how it was made, its limits.

    Parameters
    ----------
    name
        Installed model, or a model folder.
    """
    folder = find_model(name)
    description = read_description(folder)
    answer(folder=folder, model=description)
    console.print(Markdown(model_card(description)))
    say_line(f"\nFolder: {folder}")


@app.command
def add(folder: str, /, *, name: str | None = None) -> None:
    """Check a model, and copy it to where it is found by name.

    Parameters
    ----------
    folder
        Model folder, with model.json and its members; or hf://OWNER/NAME[@REVISION] on the Hugging Face Hub.
    name
        What to call it; otherwise as the folder or the repository is called.
    """
    if is_address(folder):
        with progress_bar() as progress:
            target = download_model(folder, name, progress=progress)
    else:
        target = add_model(folder, name)
    answer(files=[target])
    say(f"Added {target.name}; use it with `--model {target.name}`.")
    say_line(f"  {target}")


@app.command
def push(name: str, target: str, /, *, license: str, private: bool = False) -> None:
    """Make a folder that is ready for the Hugging Face Hub, or upload it, without what could identify patients.

    Parameters
    ----------
    name
        Installed model, or a model folder.
    target
        New folder; or hf://OWNER/NAME, to upload with the token of `hf auth login` or HF_TOKEN.
    license
        The model's licence as the Hub abbreviates it, e.g. cc-by-4.0.
    private
        A new repository is visible to you only.
    """
    if not is_address(target):
        say("Ready for the Hub, without the private part:")
        say_line(f"  {export_model(name, target, hub_licence=license)}")
        return
    repository = Repository.at(target)
    with tempfile.TemporaryDirectory() as scratch, progress_bar() as progress:
        folder = export_model(name, Path(scratch) / "model", hub_licence=license)
        page = upload(folder, repository, private=private, progress=progress)
    say("Uploaded, without the private part:")
    say_line(f"  {page}")


@app.command
def export(name: str, target: Path, /) -> None:
    """Copy a model without what could identify its training patients.

    Parameters
    ----------
    name
        Installed model, or a model folder.
    target
        New folder.
    """
    exported = export_model(name, target)
    say("Exported, without the private part:")
    say_line(f"  {exported}")


@app.command
def encoders() -> None:
    """List the encoders, and whether their weights are here."""
    overview = table("Encoder", "Width", "Weights", "What it is")
    for encoder in known_encoders():
        try:
            find_weights(encoder)
            state = Text("found", "green")
        except WeightsMissing:
            state = Text("missing", "yellow")
        answer(encoders=[{"name": encoder.name, "width": encoder.width, "weights": state.plain}])
        overview.add_row(encoder.name, str(encoder.width or ""), state, encoder.about)
    overview.add_row("timm:ARCHITECTURE", "", "--weights", "Any timm model, with a weights file or a folder of them")
    overview.add_row("FOLDER", "", "in it", "Any timm model: a folder with its config.json")
    overview.add_row("hf-hub:OWNER/NAME", "", "download", "Any timm model of the Hugging Face Hub")
    console.print(overview)
