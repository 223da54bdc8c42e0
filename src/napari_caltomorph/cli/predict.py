"""``caltomorph predict``: smears -> diagnoses, in the terminal and as files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from napari_caltomorph import cohort, diagnosis, differential, jobs
from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.cli.console import (
    ResultFolder,
    Smears,
    answer,
    console,
    fail,
    progress_bar,
    say,
    say_files,
    say_if_joined,
    say_line,
    useless_option,
)
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.diagnosis import PredictOptions, SmearOptions
from napari_caltomorph.encoding.torch_loading import import_torch
from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.fields import CutOptions
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.storage import refuse_unwritable

if TYPE_CHECKING:
    from napari_caltomorph.cohort import FoundPatient
    from napari_caltomorph.diagnosis import Prediction
    from napari_caltomorph.jobs import PatientResult

_BAR_WIDTH = 32

app = Verb(
    name="predict",
    usage="Usage: caltomorph predict SMEAR... | --features DIR --model MODEL --out DIR [OPTIONS]",
    help_epilogue=f"""One patient:

    caltomorph predict smear_a --model demo --out results

Every patient folder in a folder, with a model of your own:

    caltomorph predict cohort --each --model my_model --out results

Cells that were encoded before, without their images: one patient, or all of
a folder of feature files:

    caltomorph predict P1.h5 --model my_model --out results
    caltomorph predict --features features --model my_model --out results

Microscope fields, whose white cells are cut out first (also with --each):

    caltomorph predict fields --cut --model demo --out results

The folder "results" then contains predictions.csv (one row a patient),
cells.csv (one row a cell, most attended first) and prediction.json
(everything; napari opens it), in a folder a patient where there are several.
Run it again to resume: a prediction that is there is kept, if the same model
made it of the same images. With --report, report.html is next to each
prediction.json: one page of results, one of their basis, to be printed.

{RESEARCH_USE}""",
)


@app.default
def predict(
    smears: Smears = (),
    /,
    *,
    features: Path | None = None,
    model: Annotated[str, Parameter(help=PredictOptions.model_fields["model"].description)],
    out: ResultFolder,
    each: bool = False,
    slides: bool = False,
    report: bool = False,
    probe: Path | None = None,
    cut: bool = False,
    cutting: Annotated[CutOptions, Parameter(name="*")] = CutOptions(),  # noqa: B008 (frozen)
    chosen: Annotated[SmearOptions, Parameter(name="*")] = SmearOptions(),  # noqa: B008 (frozen)
) -> int:
    """Diagnose smears, and rank the cells that made the diagnosis.

    Parameters
    ----------
    features
        A folder of feature files, each a patient; instead of SMEAR. Cells then have no images.
    each
        SMEAR holds many patients: every folder in it is one, also below folders of diagnoses; or it is a zip archive of
        such a folder, or a table or a cohort.json that names them.
    slides
        Folders in a patient's folder are slides of that patient, whatever they are called.
    report
        Write a report.html next to each prediction.json; it prints on two pages.
    probe
        blood-cells, or a probe of `caltomorph differential`: the report then holds a differential.
    cut
        Each SMEAR is a folder of microscope fields, or one: their cells are cut out first, into OUT.
    """
    if cut and features is not None:
        return fail("--cut takes images of fields, not --features.", code=2)
    if useless := useless_option(cut=cut, cutting=cutting, probe=probe, report=report):
        return fail(useless, code=2)
    if bool(smears) == (features is not None):
        return fail(
            "caltomorph predict needs SMEAR or --features, and not both. See `caltomorph predict --help`.", code=2
        )
    options = PredictOptions(model=model, **chosen.model_dump())
    refuse_unwritable(out)
    diagnosis.read_description(diagnosis.find_model(model)).prevalence_at(options.prevalence)
    if options.policy is not None:
        diagnosis.read_policy(options.policy)
    cell_types = None if probe is None else differential.load_probe(probe)
    if each or features is not None:
        places = smears if features is None else [features]
        found = [patient for path in places for patient in cohort.find_patients(path, slides=slides).items()]
    else:
        found = list(cohort.named_patients(smears, slides=slides).items())
        say_if_joined(smears, [name for name, _ in found])
    from napari_caltomorph.diagnosis.prediction_files import refuse_repeated_ids

    refuse_repeated_ids([name for name, _ in found])
    lost: list[str] = []
    if cut:
        found, lost = _cut(found, out, cutting)
    results: list[PatientResult] = []
    try:
        with _shown_one_by_one(results) as show:
            import_torch()  # when the cheap checks have passed
            predictor = diagnosis.Predictor(options)
            jobs.predict_patients(dict(found), out, predictor, report=report, probe=cell_types, progress=show)
    except BaseException as error:
        if done := [one for one in results if one.prediction is not None]:
            say(f"\nStopped; {len(done)} of {len(found)} smears were predicted.")
            if not isinstance(error, OutputRefused):
                _say_written(done, out, patients=len(found))
        raise
    done = [one for one in results if one.prediction is not None]
    failed = [one for one in results if one.problem]
    if done:
        one_line = [one.prediction for one in done if one.is_cached and one.prediction is not None]
        if options.prevalence is not None and one_line and one_line[0].prevalence is not None:
            say(f"\n{one_line[0].prevalence.in_words}.")
        _say_written(done, out, patients=len(found))
        say(RESEARCH_USE)
    if failed and len(found) > 1:
        fail(f"{len(failed)} of {len(found)} smears failed: {', '.join(one.patient_id for one in failed)}", code=1)
    return 1 if done and (failed or lost) else max(map(_exit_code, failed), default=0)


def _cut(
    found: list[tuple[str, FoundPatient]], out: Path, options: CutOptions
) -> tuple[list[tuple[str, FoundPatient]], list[str]]:
    """Cut the cells out of the fields of patients; return the patients and why some of the fields were not searched."""
    with progress_bar() as progress:
        patients = jobs.cut_patients(dict(found), out, options, progress=progress)
    cuts = {patient: one.cut for patient, one in patients.items() if one.cut is not None}
    for patient, cut in cuts.items():
        say(f"{patient}: {cut.in_words}. Scale: {cut.scale_in_words}.")
    lost = [problem for cut in cuts.values() for problem in cut.problems]
    for problem in lost:
        fail(problem, code=1)
    return [(patient, one.found) for patient, one in patients.items()], lost


@contextmanager
def _shown_one_by_one(results: list[PatientResult]) -> Iterator[OnProgress]:
    """Yield a progress callback that collects and shows each result; the bar leaves the screen while one is shown."""
    with ExitStack() as stack:
        bar = stack.enter_context(progress_bar())

        def show(progress: Progress) -> None:
            nonlocal bar
            if not isinstance(progress, jobs.PatientProgress) or progress.result is None:
                bar(progress)
                return
            stack.close()
            results.append(progress.result)
            _show_result(progress.result)
            bar = stack.enter_context(progress_bar())

        yield show


def _show_result(result: PatientResult) -> None:
    if result.prediction is not None:
        from napari_caltomorph.diagnosis.prediction_files import patient_row

        answer(predictions=[patient_row(result.prediction)])
        if result.is_cached:
            show_known(result.prediction, result.file)
        else:
            show_prediction(result.prediction)
    if result.report is not None:
        say_line(f"Report: {result.report}")
    if result.problem:
        fail(result.problem, code=_exit_code(result))


def _exit_code(result: PatientResult) -> int:
    return 1 if result.ran_out_of_memory else 2


def _say_written(done: list[PatientResult], out: Path, *, patients: int) -> None:
    from napari_caltomorph.diagnosis.prediction_files import CELL_TABLE, PATIENT_TABLE

    say()
    tables = [out / name for name in (PATIENT_TABLE, CELL_TABLE)]
    say_files([file for one in done if (file := one.file) is not None] + tables if patients == 1 else tables)


def show_prediction(prediction: Prediction) -> None:
    """Write one patient's result: the bag, a bar for each class, and what follows from them."""
    say()
    say(_bag(prediction), style="bold")
    if not prediction.withheld:
        console.print(_bars(prediction))
    rows = Table.grid(padding=(0, 2, 0, 0))
    for name, value in _sentences(prediction):
        rows.add_row(Text(name, "dim"), Text(value))
    rows.add_row(Text("Model", "dim"), _model(prediction))
    for warning in prediction.warnings:
        rows.add_row(Text("Warning", "yellow"), Text(f"{warning}.", "yellow"))
    console.print(rows)


def show_known(prediction: Prediction, file: Path | None) -> None:
    """Write in one line that a patient was done before, and what to do to have it computed again."""
    stated = not prediction.withheld and prediction.prevalence is not None and prediction.prevalence.stated is not None
    where = f" {prediction.prevalence}" if stated else ""
    say_line(
        f"{prediction.patient_id}: {prediction.diagnosis_in_words}{where}, as predicted on {prediction.created[:10]}; "
        f"to predict it again, remove {file}"
    )


def _bag(prediction: Prediction) -> str:
    text = f"{prediction.patient_id}: {len(prediction.cells)} cells"
    text += " of a feature file, without images" if prediction.feature_files else ""
    if prediction.left_out:
        counts = Counter(cell.reason for cell in prediction.left_out).most_common()
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts)
        text += f"; {len(prediction.left_out)} left out ({reasons})"
    if prediction.passed_over:
        text += f"; {prediction.passed_over} other file{'s' * (prediction.passed_over > 1)} passed over"
    return text


def _bars(prediction: Prediction) -> Table:
    bars = Table.grid(padding=(0, 2, 0, 0))
    for one, probability in zip(prediction.taxonomy.classes, prediction.probabilities, strict=True):
        is_first = one.name == prediction.predicted_class and prediction.stands_out
        style = "bold" if is_first else ""
        bars.add_row(
            Text(one.name, style),
            Text(f"{probability:.2f}", style),
            ProgressBar(1.0, probability, width=_BAR_WIDTH, complete_style=one.color, finished_style=one.color),
        )
    return bars


def _sentences(prediction: Prediction) -> list[tuple[str, str]]:
    found = [
        ("Diagnosis", prediction.call_in_words),
        *([("Not excluded", words)] if (words := prediction.prediction_set_in_words) else []),
    ]
    if not prediction.withheld:
        found.append(("Malignant", f"{prediction.malignancy_in_words} ({prediction.shown_threshold.in_words})"))
    if prediction.hemoglobin_in_words is not None:
        found.append(("Hemoglobin", prediction.hemoglobin_in_words))
    if prediction.policy is not None:
        found.append(("Policy", str(prediction.policy)))
    if not prediction.has_attention:
        found.append(("Attention", diagnosis.NO_ATTENTION))
    return found


def _model(prediction: Prediction) -> Text:
    name = prediction.model_name
    text = Text(name if "synthetic" in name or not prediction.synthetic else f"{name} (synthetic)")
    text.append(f"; {prediction.probabilities_in_words[0].lower()}{prediction.probabilities_in_words[1:]}")
    if prediction.synthetic:
        text.append("\nSynthetic: trained on synthetic cells, it knows nothing about real blood.", "yellow")
    return text
