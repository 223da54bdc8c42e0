"""What is said of hemoglobin's error: of which patients it is, and how often each band of values is within it."""

from __future__ import annotations

from dataclasses import replace

from napari_caltomorph.diagnosis.hemoglobin_error import ErrorBand, ErrorInterval
from napari_caltomorph.diagnosis.model_card import model_card
from napari_caltomorph.diagnosis.model_file import HemoglobinTarget


def test_patients_that_stopped_the_training_are_not_called_held_out(make_ensemble, make_features):
    ensemble = make_ensemble()
    paper = ensemble.description.training.model_copy(update={"recipe": "paper"})
    ensemble = replace(ensemble, description=ensemble.description.model_copy(update={"training": paper}))
    card, prediction = model_card(ensemble.description), ensemble.predict(make_features())
    for text in (card, prediction.hemoglobin_in_words):
        assert "40 patients that stopped the training" in text
        assert "optimistic" in text
        assert "held-out" not in text
    old = prediction.model_copy(update={"hemoglobin_error": ErrorInterval(level=0.9, low=-3, high=3.5, patients=40)})
    assert "held-out" not in old.hemoglobin_in_words
    assert old.hemoglobin_range == prediction.hemoglobin_range


def test_the_card_has_the_coverage_of_hemoglobin_by_measured_value(make_ensemble):
    bands = (
        ErrorBand(start=None, end=10, low=-5, high=-1, patients=20, covered=17),
        ErrorBand(start=10, end=None, low=-2, high=2, patients=20),
    )
    error = ErrorInterval(level=0.9, low=-3, high=3.5, patients=40, bands=bands)
    card = model_card(make_ensemble(hemoglobin=HemoglobinTarget(error=error)).description)
    assert "| below 10 | 20 | -5.0 to -1.0 | 0.85 (0.64 to 0.95) |" in card
    assert "| 10 and more | 20 | -2.0 to +2.0 | - |" in card


def test_bands_of_too_few_patients_are_named_instead_of_claimed(make_ensemble):
    def error(below, above):
        bands = (
            ErrorBand(start=None, end=8, low=-3, high=3, patients=below),
            ErrorBand(start=8, end=None, low=-3, high=3, patients=above),
        )
        return ErrorInterval(level=0.9, low=-3, high=3, patients=below + above, bands=bands)

    few, enough = error(18, 60), error(19, 60)
    card = model_card(make_ensemble(hemoglobin=HemoglobinTarget(error=few)).description)
    for text in (few.in_words(11), card):
        assert "too few" in text.lower()
        assert "measured below 8" in text
        assert "alike" not in text
    assert "too few" not in enough.in_words(11)
    assert "alike" in enough.in_words(11)


def test_a_constant_error_is_sealed_and_saved_as_before(make_ensemble, make_features):
    description = make_ensemble().description
    error = description.hemoglobin.error
    assert error.model_dump() == {"level": 0.9, "low": -3.0, "high": 3.5, "patients": 40}
    banded = error.model_copy(update={"bands": (ErrorBand(start=None, end=None, low=-3, high=3.5, patients=40),)})
    other = description.model_copy(update={"hemoglobin": HemoglobinTarget(error=banded)})
    assert other.seal != description.seal
    assert ErrorInterval.model_validate_json(banded.model_dump_json()) == banded
