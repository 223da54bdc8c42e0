"""What holds for every public function: a path may be a `str` or a `Path`, and errors are documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cohort.factories import cohort_from
from tests.diagnosis.factories import make_ensemble, make_features
from tests.differential.factories import features, labelled
from tests.evaluation.factories import evaluation_of, simulated

from napari_caltomorph import Cohort, Ensemble, Evaluation, Features, Prediction, errors, save_predictions
from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.diagnosis import PredictOptions, Predictor, read_description
from napari_caltomorph.differential import Probe, read_labels, save_labels, train_probe

__all__ = ["make_ensemble", "make_features"]

SOURCE = Path(__file__).parents[1] / "src"


def public_functions() -> Iterator[tuple[str, Callable[..., object]]]:
    """Every function that an ``__init__.pyi`` lists, and every public method of the classes in them."""
    for stub in sorted(SOURCE.rglob("__init__.pyi")):
        module = importlib.import_module(".".join(stub.parent.relative_to(SOURCE).parts))
        for statement in ast.parse(stub.read_text("utf-8")).body:
            for name in [alias.name for alias in statement.names] if isinstance(statement, ast.ImportFrom) else []:
                value = getattr(module, name)
                if inspect.isfunction(value):
                    yield f"{module.__name__}.{name}", value
                elif inspect.isclass(value):
                    for attribute, member in vars(value).items():
                        method = getattr(member, "__func__", member)
                        if inspect.isfunction(method) and not attribute.startswith("_"):
                            yield f"{module.__name__}.{name}.{attribute}", method


def test_no_public_function_takes_a_path_object_alone():
    checked, wrong = 0, []
    for name, function in public_functions():
        for parameter in inspect.signature(function).parameters.values():
            kinds = re.findall(r"\w+", str(parameter.annotation))
            checked += "StrPath" in kinds
            if "Path" in kinds:
                wrong.append(f"{name}({parameter.name}: {parameter.annotation})")
    assert wrong == []
    assert checked > 40


def test_a_public_function_that_names_its_errors_has_sections_for_parameters_and_errors():
    kinds = {name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}
    without = []
    for name, function in public_functions():
        text, parameters = inspect.getdoc(function) or "", inspect.signature(function).parameters
        is_sentence = kinds & {*re.findall(r"\w+", text)} and len(parameters.keys() - {"self", "cls"}) > 1
        if is_sentence and not ("\nParameters\n-" in text and "\nRaises\n-" in text):
            without.append(name)
    assert without == []


@pytest.mark.parametrize("kind", [str, Path])
def test_what_is_saved_is_loaded_from_the_same_path(tmp_path, make_ensemble, make_features, kind):
    def place(name: str) -> str | Path:
        return kind(tmp_path / name)

    ensemble, bag = make_ensemble(members=1), make_features(cells=5)
    ensemble.save(place("model"))
    prediction = Ensemble.load(place("model")).predict(bag)
    assert Predictor(PredictOptions(model=place("model"), device="cpu")).description == read_description(place("model"))
    prediction.save(place("prediction.json"))
    assert Prediction.load(place("prediction.json")) == prediction
    save_predictions([prediction], place("results"))
    assert Prediction.load(place("results")) == prediction
    bag.save(place("patient.h5"))
    assert Features.load(place("patient.h5")).cells == bag.cells
    cohort = cohort_from({"patient_id": ["a", "b"], "path": ["/a", "/b"]})
    cohort.save(place("cohort.json"))
    assert len(Cohort.load(place("cohort.json"))) == 2
    assert CohortOptions(table=place("t.csv"), taxonomy=place("own.json")).taxonomy == str(place("own.json"))
    evaluation = evaluation_of(*simulated((3, 3, 3, 3)))
    evaluation.save(place("evaluation"))
    assert Evaluation.load(place("evaluation")).statements == evaluation.statements
    smear = features()
    labels = labelled(smear)
    save_labels(labels, place("labels.csv"))
    assert read_labels(place("labels.csv")) == read_labels([place("labels.csv")]) == labels
    probe = train_probe([smear], labels)
    probe.save(place("probe.safetensors"))
    assert Probe.load(place("probe.safetensors")).fingerprint == probe.fingerprint
