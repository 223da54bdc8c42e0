"""A form made of a pydantic model takes and gives what the model allows, and nothing else."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QCheckBox,
    QComboBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QPushButton,
)
from tests.plugin.gui import click

from napari_caltomorph.cohort import CohortOptions, EncodeCohortOptions
from napari_caltomorph.diagnosis import PredictOptions
from napari_caltomorph.plugin.widgets.options_form import OptionRefused, OptionsForm
from napari_caltomorph.plugin.widgets.parts import in_window_words, title_of


class Recipe(BaseModel, frozen=True, extra="forbid"):
    is_quick: bool = Field(False, description="Skip the slow part.")
    folds: Annotated[int, Field(ge=2, lt=11)] = Field(5, description="How many.")
    seed: NonNegativeInt = 0
    rate: float = Field(5e-5, gt=0, description="Learning rate.")
    unit: Literal["g/dl", "g/l"] = "g/dl"
    level: Literal[1, 2] | None = None
    column: str | None = Field(None, description="Which column.")
    name: str = "plain"
    weights: Path | None = None
    most: PositiveInt | None = None
    share: float | None = None
    table: str | None = Field(None, json_schema_extra={"format": "path"})
    step: float | None = Field(None, description="Of what; otherwise the usual one.")
    where: tuple[str, ...] = ()


@pytest.fixture
def form(qtbot: QtBot) -> OptionsForm:
    form = OptionsForm(Recipe, list(Recipe.model_fields))
    qtbot.addWidget(form)
    return form


def rewrite(qtbot: QtBot, edit: QLineEdit, text: str) -> None:
    edit.selectAll()
    qtbot.keyClick(edit, Qt.Key.Key_Delete)
    qtbot.keyClicks(edit, text)


def test_it_starts_at_the_models_defaults(form: OptionsForm) -> None:
    assert Recipe(**form.values()) == Recipe()
    assert form.widget("rate").text() == "5e-05"
    assert form.widget("most").placeholderText() == form.widget("share").placeholderText() == "none"
    assert form.widget("step").placeholderText() == "the usual one"


@pytest.mark.parametrize("model", [CohortOptions, EncodeCohortOptions])
def test_our_own_options_have_a_row_each(qtbot: QtBot, model: type[BaseModel]) -> None:
    form = OptionsForm(model, list(model.model_fields))
    qtbot.addWidget(form)
    assert model(**form.values()) == model()


def test_each_type_has_its_input_its_label_and_its_help(form: OptionsForm) -> None:
    layout = form.layout()
    assert isinstance(layout, QFormLayout)
    labels = [layout.itemAt(row, QFormLayout.ItemRole.LabelRole).widget() for row in range(layout.rowCount())]
    assert [label.text() for label in labels][:3] == ["Is quick", "Folds", "Seed"]
    kinds = {"is_quick": QCheckBox, "folds": QAbstractSpinBox, "rate": QLineEdit, "unit": QComboBox, "level": QComboBox}
    for name, kind in kinds.items():
        assert isinstance(form.widget(name), kind)
    column = form.widget("column")
    label = layout.labelForField(column)
    assert isinstance(label, QLabel)
    assert label.buddy() is column
    browse = [form.widget(name).parentWidget().findChild(QPushButton) for name in ("weights", "table")]
    assert [button.text() for button in browse] == ["Browse", "Browse"]
    assert column.toolTip() == label.toolTip() == "Which column."
    assert (form.widget("folds").minimum(), form.widget("folds").maximum()) == (2, 10)
    assert form.widget("seed").minimum() == 0


text = st.text(st.characters(categories=["L", "N"], include_characters=" =,-\"'"), min_size=1).map(str.strip)
recipes = st.builds(
    Recipe,
    folds=st.integers(2, 10),
    seed=st.integers(0, 10**9),
    rate=st.floats(0, exclude_min=True, allow_infinity=False),
    column=st.none() | text.filter(bool),
    name=text,
    weights=st.none() | st.just(Path("/a/b.pth")),
    most=st.none() | st.integers(1, 99),
    share=st.none() | st.floats(allow_nan=False),
    where=st.lists(text.filter(bool), max_size=2).map(tuple),
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recipe=recipes)
def test_what_is_set_is_given_back(form: OptionsForm, recipe: Recipe) -> None:
    form.set(recipe.model_dump())
    assert Recipe(**form.values()) == recipe


def test_what_is_typed_is_taken(qtbot: QtBot, form: OptionsForm) -> None:
    for item in ("sex=female", "Final diagnosis=AML, NOS", "  "):
        click(qtbot, form.widget("where"))  # its "+"
        qtbot.keyClicks(form.focusWidget(), item)
    rewrite(qtbot, form.widget("rate"), "1e-3")
    rewrite(qtbot, form.widget("most"), "12")
    rewrite(qtbot, form.widget("column"), "   ")
    rewrite(qtbot, form.widget("weights"), " models/b.pth ")
    rewrite(qtbot, form.widget("table"), "patients.csv")
    values = form.values()
    assert (values["weights"], values["table"]) == (Path("models/b.pth"), "patients.csv")  # as typed
    assert values["where"] == ("sex=female", "Final diagnosis=AML, NOS")
    assert (values["rate"], values["most"], values["column"]) == (0.001, 12, None)


@pytest.mark.parametrize(
    ("name", "typed", "message"),
    [
        ("rate", "fast", "Rate: input should be a valid number"),
        ("rate", "", "Rate: input should be a valid number"),
        ("rate", "-1", "Rate: input should be greater than 0."),
        ("most", "0", "Most: input should be greater than 0."),
        ("most", "1.5", "Most: input should be a valid integer"),
    ],
)
def test_what_the_model_refuses_is_refused_by_name(
    qtbot: QtBot, form: OptionsForm, name: str, typed: str, message: str
) -> None:
    rewrite(qtbot, form.widget(name), typed)
    with pytest.raises(OptionRefused, match=message):
        form.values()


def test_each_change_is_notified(qtbot: QtBot, form: OptionsForm) -> None:
    for name, value in {"is_quick": True, "folds": 7, "unit": "g/l", "column": "x", "where": ("a=b",)}.items():
        with qtbot.waitSignal(form.changed, timeout=1000):
            form.set({name: value, "unknown": 1})
        assert form.values()[name] == value


def test_scrolling_over_an_option_does_not_turn_it(qtbot: QtBot, form: OptionsForm) -> None:
    with qtbot.waitExposed(form):
        form.show()
    form.widget("name").setFocus()
    for name in ("folds", "unit"):
        widget = form.widget(name)
        place = QPointF(widget.rect().center())
        wheel = QWheelEvent(
            place,
            QPointF(widget.mapToGlobal(widget.rect().center())),
            QPoint(),
            QPoint(0, -120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(widget, wheel)
    assert Recipe(**form.values()) == Recipe()


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("choose --split, or --out-of-fold.", 'choose "Split", or "Out of fold".'),
        ("name that file with --weights", 'name that file with "Encoder weights"'),
        ("with --field-of-view (in napari: Preferences).", 'with "Field of view" in Preferences.'),
        ("name each by --label (in napari: Labels): why", 'name each by "Labels": why'),
        ("give its size (--pixel-size)", 'give its size ("Pixel size (µm)")'),
        ("run `caltomorph encode --views`; a--b -- c", "run `caltomorph encode --views`; a--b -- c"),
        ("open it alone (in the terminal without --each).", "open it alone (in the terminal without --each)."),
    ],
)
def test_flags_of_the_terminal_are_called_as_the_window_calls_them(sentence: str, shown: str) -> None:
    assert in_window_words(sentence) == shown


def test_the_preferences_repeat_what_the_options_say() -> None:
    """Their JSON has no none, which is 0 or an empty text there; all else must be as in `PredictOptions`."""
    manifest = yaml.safe_load(resources.files("napari_caltomorph").joinpath("napari.yaml").read_text("utf-8"))
    pages = manifest["contributions"]["configurations"]["predict"]["properties"]
    assert pages.keys() - {"folder", "legend", "reviewer"} == PredictOptions.model_fields.keys()
    for name, schema in PredictOptions.model_json_schema()["properties"].items():
        page, option = pages[name], schema.get("anyOf", [schema])[0]
        assert page["title"] == title_of(name)
        assert page["type"] == option["type"], name
        assert (page["default"] or None) == (schema["default"] or None), name
        assert re.split("[:;]", page["description"])[0] == re.split("[:;]", schema["description"])[0]
        assert all(PredictOptions(**{name: value}) for value in page.get("enum", []))
        if option["type"] in ("integer", "number"):
            assert page["minimum"] == (0 if schema["default"] is None else option["exclusiveMinimum"] + 1), name
