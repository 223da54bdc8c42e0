"""Forms made from pydantic models: magicgui chooses the input of each field by its type, and the model validates it.

Numbers with decimals are lines of text: magicgui's box shows no `3e-5`, and silently changes what is out of its range.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache, partial
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin

from magicgui.type_map import TypeMap
from magicgui.widgets import ComboBox, FileEdit, LineEdit, ListEdit, SpinBox
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QWidget

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.plugin.widgets.parts import BUTTON_WIDTH, NAMES_WIDTH, CollapsibleSection, narrow_combo, title_of
from napari_caltomorph.plugin.widgets.settings import choose_folder, when_chosen

Options = TypeVar("Options", bound=BaseModel)
_LARGEST = 2**31 - 1
# A map of our own: `magicgui.register_type` would change the forms of all plugins.
_INPUTS = TypeMap()
_INPUTS.register_type(float, widget_type=LineEdit)
_INPUTS.register_type(date, widget_type=LineEdit)  # Qt's calendar has no empty day


class OptionRefused(CaltomorphError):
    """A text is not a valid value of its option; the message names the option."""


class OptionsForm(QWidget):
    """Inputs for the fields `names` of a model, in this order; `changed` follows each change.

    A field is a bool, int, float, str, Path, a Literal or a tuple of these, each perhaps optional. A str that is the
    path of a file has the format "path" in its JSON schema.
    """

    changed = Signal()

    def __init__(self, model: type[BaseModel], names: Sequence[str]) -> None:
        super().__init__()
        self._fields = {name: model.model_fields[name] for name in names}
        self._inputs: dict[str, Any] = {}
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(4)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for name in names:
            one = input_of(model, name)
            label = QLabel(model.model_fields[name].title or title_of(name), toolTip=one.tooltip)
            form.addRow(label, one.native)
            # A file is kept as it is typed, which may be relative to a cohort; the whole input makes it absolute.
            self._inputs[name] = getattr(one, "line_edit", one)
            label.setBuddy(self.widget(name))
            # A wheel that scrolls the form must not turn the options it passes.
            self.widget(name).setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            self.widget(name).installEventFilter(self)
        self.set({name: field.get_default(call_default_factory=True) for name, field in self._fields.items()})
        for one in self._inputs.values():
            one.changed.connect(lambda *_: self.changed.emit())

    def align(self) -> None:
        """Begin the inputs where those of the choosers begin."""
        for label in self.findChildren(QLabel):
            label.setMinimumWidth(NAMES_WIDTH)

    def values(self) -> dict[str, Any]:
        """Return name -> value; raise `OptionRefused` for a text that is not a valid value of its option."""
        return {name: self.value(name) for name in self._inputs}

    def set(self, values: Mapping[str, Any]) -> None:
        """Show these values; those of options that the form lacks are ignored."""
        for name in self._inputs.keys() & values.keys():
            one, value = self._inputs[name], values[name]
            if isinstance(one, LineEdit) and isinstance(value, tuple | list):
                value = ", ".join(map(str, value))
            one.value = "" if value is None and isinstance(one, LineEdit) else value

    def widget(self, name: str) -> Any:
        """Return the Qt widget of an option that takes the keyboard."""
        one = self._inputs[name]
        return (one.btn_plus if isinstance(one, ListEdit) else one).native

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    def value(self, name: str) -> Any:
        """Return one value; raise as `values`."""
        field, value = self._fields[name], self._inputs[name].value
        if isinstance(value, str):
            is_many, text = get_origin(field.annotation) is tuple, value.strip()
            value = text.split(",") if is_many else text or (None if _is_optional(field) else "")
        elif isinstance(value, list):
            value = [item for item in map(str.strip, value) if item]
        kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        try:
            return TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            raise OptionRefused(f"{title_of(name)}: {error.errors()[0]['msg'].lower()}.") from error


def options_of(model: type[Options], **values: Any) -> Options:
    """Return options; raise `OptionRefused` where valid ones do not go together."""
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{title_of(str(first['loc'][0]))}: " if first["loc"] else ""
        raise OptionRefused(f"{where}{first['msg']}.") from error


class MoreOptions(CollapsibleSection):
    """The section *More options*. Its title counts the options that differ from `defaults`: they may be hidden."""

    def __init__(self, model: type[BaseModel], names: Sequence[str], title: str = "More options") -> None:
        self.form = OptionsForm(model, names)
        self._name = title
        default = model()
        self.defaults = {name: getattr(default, name) for name in names}
        super().__init__(title, self.form)
        self.form.changed.connect(self.count_changed)

    def count_changed(self) -> None:
        """Update the title; it stays while a text is not valid."""
        try:
            values = self.form.values()
        except OptionRefused:
            return
        changed = sum(value != self.defaults[name] for name, value in values.items())
        self.set_title(f"{self._name} ({changed} changed)" if changed else self._name)


class JobOptionsForm(QWidget):
    """The options of a job: those of `shown` in a form each, the others in *More options*.

    Those of `elsewhere` are chosen elsewhere, as the device in napari's Preferences. `changed` follows each change.
    """

    changed = Signal()

    def __init__(self, model: type[BaseModel], shown: Sequence[str], elsewhere: Sequence[str]) -> None:
        super().__init__()
        self.shown = {name: OptionsForm(model, [name]) for name in shown}
        self.section = MoreOptions(model, [n for n in model.model_fields if n not in (*shown, *elsewhere)])
        self.more = self.section.form
        self._forms = (*self.shown.values(), self.more)
        for form in self._forms:
            form.changed.connect(self._on_changed)

    def values(self) -> dict[str, Any]:
        return {name: value for form in self._forms for name, value in form.values().items()}

    def value(self, name: str) -> Any:
        return self.shown.get(name, self.more).value(name)

    def set(self, **values: Any) -> None:
        for form in self._forms:
            form.set(values)

    def widget(self, name: str) -> QWidget:
        return self.shown.get(name, self.more).widget(name)

    def _on_changed(self) -> None:
        self.changed.emit()


# As wide as a letter, magicgui's button that removes an item is hard to hit.
_LIST_BUTTONS = "QPushButton { min-width: 22px; min-height: 22px; padding: 0 }"


def input_of(model: type[BaseModel], name: str) -> Any:
    """Return magicgui's input of an option. Its `value` is to be validated; its `native` is Qt's widget."""
    field, schema = model.model_fields[name], _schemas_of(model)[name]
    about, kind = field.description or "", cast(Any, field.annotation)
    if get_origin(kind) is tuple:  # of numbers: a line, as "2, 4, 6"
        kind = list[str] if get_args(kind)[0] is str else str
    elif schema.get("format") == "path":
        kind = Path | None
    chosen, options = _INPUTS.get_widget_class(annotation=kind, options={"tooltip": about})
    if chosen is SpinBox and _is_optional(field):
        chosen = LineEdit
    if chosen is SpinBox:
        low, high = schema.get("exclusiveMinimum", -_LARGEST - 1) + 1, schema.get("exclusiveMaximum", _LARGEST + 1) - 1
        options |= {"min": schema.get("minimum", low), "max": schema.get("maximum", high)}
    if chosen is ListEdit:
        options |= {"annotation": kind, "layout": "vertical"}
    made: Any = chosen(**options)
    if isinstance(made, ComboBox):
        narrow_combo(made.native)
        made.null_string = "none"
        made.reset_choices()
    if isinstance(made, ListEdit):
        if schema.get("format") == "name=folder":
            made.btn_plus.changed.disconnect()
            made.btn_plus.changed.connect(when_chosen(partial(_add_folder, made), choose_folder, made.native, about))
        else:
            made.btn_plus.changed.connect(lambda: _begin_typing(made[-2]))
        made.native.setStyleSheet(_LIST_BUTTONS)
    if isinstance(made, FileEdit):
        made.choose_btn.text = "Browse"
        made.choose_btn.native.setFixedWidth(BUTTON_WIDTH)
    if isinstance(made, FileEdit | LineEdit) and _is_optional(field):
        is_number = schema.get("anyOf", [{}])[0].get("type") in ("number", "integer")
        otherwise = re.search(r"(?:otherwise|by default) ([^.;]+)", about)
        none = otherwise[1] if otherwise else "none" if is_number else ""
        getattr(made, "line_edit", made).native.setPlaceholderText(none)
    return made


def _add_folder(made: ListEdit, folder: Path) -> None:
    name = re.sub(r"[^\w.-]+", "-", folder.name, flags=re.ASCII).strip("-._")
    made.value = [*made.value, f"{name or 'other'}={folder}"]


def _begin_typing(item: Any) -> None:
    """Let the user type an item that was just added as a copy of the one before."""
    item.value_widget.native.setFocus()
    item.value_widget.native.selectAll()


@cache
def _schemas_of(model: type[BaseModel]) -> dict[str, Any]:
    """Field -> its JSON schema, which has limits and formats."""
    return dict(model.model_json_schema()["properties"])


def _is_optional(field: FieldInfo) -> bool:
    return NoneType in get_args(field.annotation)
