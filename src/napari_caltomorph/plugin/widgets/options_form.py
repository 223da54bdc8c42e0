"""A form with one row for each chosen field of a pydantic model: labelled by its name, explained by its description.

The field's type decides the kind of input, so that a new option needs no new widget.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QFormLayout, QLabel, QLineEdit, QSpinBox, QWidget

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.plugin.widgets.parts import narrow_combo

_LARGEST = 2**31 - 1


class OptionRefused(CaltomorphError):
    """What was typed is no value of the option; the message names the option."""


class OptionsForm(QWidget):
    """Inputs for some fields of a model; `changed` follows each change.

    Parameters
    ----------
    model : type of BaseModel
        Fields of type bool, int, float, str, Path, a Literal or a tuple of these, each perhaps optional.
    names : sequence of str
        Which fields, in which order.
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
        """Return what is chosen, by name.

        Raises
        ------
        OptionRefused
            A text is no value of its option.
        """
        return {name: self._value(name) for name in self._inputs}

    def set(self, values: Mapping[str, Any]) -> None:
        """Show these values; those of options that the form lacks are passed over."""
        for name in self._inputs.keys() & values.keys():
            self._inputs[name].put(values[name])

    def widget(self, name: str) -> QWidget:
        """Return the input of an option."""
        return self._inputs[name].widget

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    def _value(self, name: str) -> Any:
        field = self._fields[name]
        kind: Any = Annotated[field.annotation, field]
        try:
            return TypeAdapter(kind).validate_python(self._inputs[name].get())
        except ValidationError as error:
            raise OptionRefused(f"{title_of(name)}: {error.errors()[0]['msg'].lower()}.") from error


def title_of(name: str) -> str:
    """Return the label of an option: ``"hemoglobin_unit"`` is called ``"Hemoglobin unit"``."""
    return name.replace("_", " ").capitalize()


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
    """Take a list apart at its commas; one that stands in double quotes belongs to the item."""
    return [item.strip() for item in next(csv.reader([text], skipinitialspace=True), []) if item.strip()]


def _join(items: Sequence[Any]) -> str:
    return ", ".join(_quoted(str(item)) for item in items)


def _quoted(item: str) -> str:
    return '"{}"'.format(item.replace('"', '""')) if "," in item or '"' in item else item
