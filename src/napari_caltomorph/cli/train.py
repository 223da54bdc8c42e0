"""``caltomorph train``: a cohort and its features -> an ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from napari_caltomorph.cli.console import (
    CohortPath,
    FeatureFolder,
    answer,
    console,
    progress_bar,
    say,
    say_cohort,
    say_files,
    table,
)
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.cohort import Cohort, CohortOptions, EncodeCohortOptions
from napari_caltomorph.encoding import EncodeOptions
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.jobs import TrainRequest, read_patients, train_model
from napari_caltomorph.progress import format_seconds
from napari_caltomorph.storage import refuse_unwritable
from napari_caltomorph.training import TrainOptions

if TYPE_CHECKING:
    from napari_caltomorph.diagnosis import ModelDescription

app = Verb(
    name="train",
    usage="Usage: caltomorph train COHORT --features DIR --out MODEL [OPTIONS]",
    help_epilogue="""A cohort that was encoded with `caltomorph encode`:

    caltomorph train cohort --features features --out my_model

First what would be trained, and how long it takes; nothing is written:

    caltomorph train cohort --features features --out my_model --dry-run

As in the paper, with hemoglobin, and one number of its recipe changed:

    caltomorph train cohort.json --features features --out my_model \\
        --recipe paper --hemoglobin --patients-per-batch 16

Options from a file (YAML or TOML); those on the command line win:

    caltomorph train cohort.json --features features --out my_model \\
        --config train.yaml --seed 1

After a stop or a crash, resume from the last finished epoch of each fold:

    caltomorph train cohort.json --features features --out my_model --resume""",
)


@app.default
def train(
    cohort: CohortPath,
    /,
    *,
    features: FeatureFolder = None,
    out: Path,
    resume: bool = False,
    dry_run: bool = False,
    encode_missing: bool = False,
    encoder: str | None = None,
    weights: Path | None = None,
    field_of_view: float | None = None,
    options: Annotated[TrainOptions, Parameter(name="*")] = TrainOptions(),  # noqa: B008 (frozen)
    patients: Annotated[CohortOptions, Parameter(name="*")] = CohortOptions(),  # noqa: B008 (frozen)
) -> None:
    """Train an ensemble on a cohort: one member a fold, each evaluated on its held-out fold.

    Parameters
    ----------
    out
        New folder for the model.
    resume
        Resume a training that was stopped.
    dry_run
        Show what would be trained, and its cost in time and memory; write nothing.
    encode_missing
        First encode the patients whose features are missing.
    encoder
        Encoder for that, otherwise dinobloom-b; `caltomorph models encoders` lists them.
    weights
        Encoder weights file for that; otherwise the one on this machine.
    field_of_view
        Width of a cell's image for that, in micrometres; otherwise what its files say.
    """
    if not encode_missing and (encoder or weights):
        raise TrainingRefused(
            "--encoder and --weights are for patients without features: add --encode-missing, or leave them out."
        )
    if not dry_run:
        refuse_unwritable(out.absolute().parent)
    with progress_bar() as progress:
        found = read_patients(cohort, patients, progress=progress)
    say_cohort(found)
    if dry_run:
        _show_plan(found, features, options)
        return
    encoding = EncodeCohortOptions(
        encoder=encoder or EncodeOptions().encoder,
        weights=weights,
        field_of_view=field_of_view,
        device=options.device,
        precision=options.precision,
    )
    request = TrainRequest(found, features, out, options, resume, encoding if encode_missing else None)
    with progress_bar() as progress:
        trained = train_model(request, progress=progress)
    _show(trained.description, out, said=found.notes)


def _show_plan(cohort: Cohort, features: Path | None, options: TrainOptions) -> None:
    from napari_caltomorph.training import plan_training

    with progress_bar() as progress:
        plan = plan_training(cohort, features, options, progress=progress)
    answer(
        training_patients=plan.patients,
        parameters=plan.parameters,
        memory_bytes=plan.memory,
        steps=plan.steps,
        seconds=plan.seconds,
        notes=plan.notes,
    )
    say(f"{cohort.source}: {sum(plan.patients.values())} training patients")
    classes = table("class", "training patients")
    for name, count in plan.patients.items():
        classes.add_row(name, str(count))
    console.print(classes)
    say()
    members = table("member", "trained on", "stopped by", "evaluated on", "epochs at most")
    for number, (split, epochs) in enumerate(zip(plan.splits, plan.epochs, strict=True), start=1):
        stopped_by = f"{len(split.validation)} patients" if len(split.validation) else "none"
        members.add_row(str(number), str(len(split.train)), stopped_by, str(len(split.own)), str(epochs))
    console.print(members)
    say(f"Aggregator {options.aggregator}, recipe {options.recipe}, learning rate {options.learning_rate:g}.")
    for note in plan.notes:
        say(f"- {note}")
    say(
        f"\n{plan.parameters / 1e6:.1f} million parameters a member; {plan.memory / 1e9:.1f} GB for features, weights "
        "and optimizer, and what the layers need on top."
    )
    say(f"At most {plan.steps} steps, {format_seconds(plan.seconds)} on this device, measured over a few of them.")
    say("Nothing was written.")


def _show(description: ModelDescription, out: Path, said: tuple[str, ...]) -> None:
    """Write how the training ended; notes that were `said` before it are not repeated."""
    training = description.training
    answer(model=description)
    folds = table("member", "patients", "epochs", "best", "stopped by", "train\nloss", "validation\nloss")
    for number, fold in enumerate(training.folds, start=1):
        validation = f"{fold.validation_loss[fold.best_epoch - 1]:.3f}" if fold.validation_loss else "-"
        train_loss = f"{fold.train_loss[fold.best_epoch - 1]:.3f}"
        counts = (number, fold.patients, fold.epochs, fold.best_epoch)
        folds.add_row(*map(str, counts), fold.stopped_by, train_loss, validation)
    console.print(folds)
    say()
    numbers = table("out-of-fold", "all folds (95 %)", "fold by fold")
    for row in training.out_of_fold.rows():
        numbers.add_row(*row)
    console.print(numbers)
    say(f"{training.out_of_fold_title}.")
    for sentence in training.elsewhere_in_brief:
        say(sentence)
    say(f"The features are of {description.encoder.name or 'an encoder that they do not name'}.")
    for note in training.remarks:
        if note not in said:
            say(f"- {note}")
    say(f"\nTrained in {format_seconds(training.seconds)}; use it with `--model {out}`.")
    say_files([out / "README.md", out / "model.json"])
