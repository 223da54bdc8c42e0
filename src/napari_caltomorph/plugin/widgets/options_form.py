"""Forms made from pydantic models: one row for each field, labelled by its name, explained by its description.

The field's type decides the kind of input, so that a new option needs no new widget.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QFormLayout, QLabel, QLineEdit, QSpinBox, QWidget

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.plugin.widgets.parts import CollapsibleSection, narrow_combo

_LARGEST = 2**31 - 1


class OptionRefused(CaltomorphError):
    """A text is not a valid value of its option; the message names the option."""


class OptionsForm(QWidget):
    """Inputs for the fields `names` of a model, in this order; `changed` follows each change.

    A field is a bool, int, float, str, Path, a Literal or a tuple of these, each perhaps optional.
    """

    changed = Signal()

    def __init__(self, model: type[BaseModel], names: Sequence[str]) -> None:
        super().__init__()
        self._fields = {name: model.model_fields[name] for name in names}
        self._inputs = {name: _input_of(field) for name, field in self._fields.items()}
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(4)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for name, one in self._inputs.items():
            label = QLabel(title_of(name))
            for widget in (label, one.widget):
                widget.setToolTip(self._fields[name].description or "")
            # A wheel that scrolls the form must not turn the options it passes.
            one.widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            one.widget.installEventFilter(self)
            label.setBuddy(one.widget)
            form.addRow(label, one.widget)
        self.set({name: field.get_default(call_default_factory=True) for name, field in self._fields.items()})
        for one in self._inputs.values():
            one.changed.connect(lambda *_: self.changed.emit())

    def values(self) -> dict[str, Any]:
        """Return name -> value; raise `OptionRefused` for a text that is not a valid value of its option."""
        return {name: self.value(name) for name in self._inputs}

    def set(self, values: Mapping[str, Any]) -> None:
        """Show these values; those of options that the form lacks are ignored."""
        for name in self._inputs.keys() & values.keys():
            self._inputs[name].put(values[name])

    def widget(self, name: str) -> QWidget:
        return self._inputs[name].widget

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    def value(self, name: str) -> Any:
        """Return one value; raise as `values`."""
        field = self._fields[name]
        kind: Any = Annotated[field.annotation, field]
        try:
            return TypeAdapter(kind).validate_python(self._inputs[name].get())
        except ValidationError as error:
            raise OptionRefused(f"{title_of(name)}: {error.errors()[0]['msg'].lower()}.") from error


class MoreOptions(CollapsibleSection):
    """The section *More options*. Its title counts the options that differ from `defaults`: they may be hidden."""

    def __init__(self, model: type[BaseModel], names: Sequence[str]) -> None:
        self.form = OptionsForm(model, names)
        default = model()
        self.defaults = {name: getattr(default, name) for name in names}
        super().__init__("More options", self.form)
        self.form.changed.connect(self.count_changed)

    def count_changed(self) -> None:
        """Update the title; it stays while a text is not valid."""
        try:
            values = self.form.values()
        except OptionRefused:
            return
        changed = sum(value != self.defaults[name] for name, value in values.items())
        self.set_title(f"More options ({changed} changed)" if changed else "More options")


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


def title_of(name: str) -> str:
    """Return the label of an option: ``"hemoglobin_unit"`` is called ``"Hemoglobin unit"``."""
    return name.replace("_", " ").capitalize()


def in_form_words(sentence: str, names: Collection[str]) -> str:
    """Return a sentence with flags such as ``--out-of-fold`` replaced by labels such as ``"Out of fold"``."""

    def label(flag: re.Match[str]) -> str:
        name = flag[1].replace("-", "_")
        return f'"{title_of(name)}"' if name in names else flag[0]

    return re.sub(r"--([a-z]+(?:-[a-z]+)*)", label, sentence)


@dataclass(frozen=True)
class _Input:
    widget: QWidget
    get: Callable[[], Any]
    put: Callable[[Any], None]
    changed: Any  # a Qt signal


def _input_of(field: FieldInfo) -> _Input:
    kind, is_optional = _without_none(field.annotation)
    if kind is bool and not is_optional:
        box = QCheckBox()
        return _Input(box, box.isChecked, box.setChecked, box.toggled)
    if get_origin(kind) is Literal:
        choices = [*([None] if is_optional else []), *get_args(kind)]
        combo = narrow_combo()
        combo.addItems(["none" if choice is None else str(choice) for choice in choices])
        return _Input(
            combo,
            lambda: choices[combo.currentIndex()],
            lambda value: combo.setCurrentIndex(choices.index(value)),
            combo.currentIndexChanged,
        )
    if kind is int and not is_optional:
        spin = QSpinBox()
        spin.setRange(*_bounds(field))
        return _Input(spin, spin.value, spin.setValue, spin.valueChanged)
    edit = QLineEdit(placeholderText="none" if is_optional and kind in (int, float) else "")
    if get_origin(kind) is tuple:
        return _Input(edit, lambda: _split(edit.text()), lambda value: edit.setText(_join(value)), edit.textChanged)
    return _Input(
        edit,
        lambda: edit.text().strip() or (None if is_optional else ""),
        lambda value: edit.setText("" if value is None else str(value)),
        edit.textChanged,
    )


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """Return a type without its Annotated and its None, and whether it had a None."""
    if get_origin(annotation) is Annotated:
        return _without_none(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType) and NoneType in get_args(annotation):
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        return (_without_none(kinds[0])[0] if len(kinds) == 1 else object), True
    return annotation, False


def _bounds(field: FieldInfo) -> tuple[int, int]:
    low, high = -_LARGEST, _LARGEST
    for limit in field.metadata:
        low = max(low, getattr(limit, "ge", low), getattr(limit, "gt", low - 1) + 1)
        high = min(high, getattr(limit, "le", high), getattr(limit, "lt", high + 1) - 1)
    return low, high


def _split(text: str) -> list[str]:
    """Split a list at its commas; a comma in double quotes belongs to the item."""
    return [item.strip() for item in next(csv.reader([text], skipinitialspace=True), []) if item.strip()]


def _join(items: Sequence[Any]) -> str:
    """Return a list as `_split` reads it."""
    quoted = ('"{}"'.format(item.replace('"', '""')) if set(item) & set(',"') else item for item in map(str, items))
    return ", ".join(quoted)
