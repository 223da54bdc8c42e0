"""A form made of a pydantic model takes and gives what the model allows, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QCheckBox, QComboBox, QFormLayout, QLabel, QLineEdit, QSpinBox

from napari_caltomorph.cohort import CohortOptions, EncodeCohortOptions
from napari_caltomorph.plugin.widgets.options_form import OptionRefused, OptionsForm


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
    kinds = {"is_quick": QCheckBox, "folds": QSpinBox, "rate": QLineEdit, "unit": QComboBox, "level": QComboBox}
    for name, kind in kinds.items():
        assert isinstance(form.widget(name), kind)
    column = form.widget("column")
    label = layout.labelForField(column)
    assert isinstance(label, QLabel)
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
    where=st.lists(text.filter(bool)).map(tuple),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recipe=recipes)
def test_what_is_set_is_given_back(form: OptionsForm, recipe: Recipe) -> None:
    form.set(recipe.model_dump())
    assert Recipe(**form.values()) == recipe


def test_what_is_typed_is_taken(qtbot: QtBot, form: OptionsForm) -> None:
    rewrite(qtbot, form.widget("where"), 'sex=female, "Final diagnosis=AML, NOS",')
    rewrite(qtbot, form.widget("rate"), "1e-3")
    rewrite(qtbot, form.widget("most"), "12")
    rewrite(qtbot, form.widget("column"), "   ")
    values = form.values()
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
