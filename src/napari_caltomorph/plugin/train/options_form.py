"""The options of a training: recipe, epochs and hemoglobin in sight, the rest folded away."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_caltomorph.plugin.widgets.options_form import OptionRefused, OptionsForm
from napari_caltomorph.plugin.widgets.parts import CollapsibleSection
from napari_caltomorph.plugin.widgets.settings import last_training, preferences
from napari_caltomorph.training import RECIPES, TrainOptions

_FIELDS = TrainOptions.model_fields
_IN_SIGHT = ("recipe", "epochs")
# Device and precision stand in napari's Preferences, for encoding, training and predicting alike.
_ELSEWHERE = ("hemoglobin", "device", "precision")


class TrainOptionsForm(QWidget):
    """`changed` follows each change. A recipe brings its numbers with it; those that the user has changed stay."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.hemoglobin = QCheckBox("hemoglobin")
        self.hemoglobin.setToolTip(_FIELDS["hemoglobin"].description or "")
        self.often = [OptionsForm(TrainOptions, [name]) for name in _IN_SIGHT]
        self.more = OptionsForm(TrainOptions, [n for n in _FIELDS if n not in (*_IN_SIGHT, *_ELSEWHERE)])
        self.fold = CollapsibleSection("More options", self.more)
        self._recipe = TrainOptions().recipe
        self._build()
        self._restore()
        for form in (*self.often, self.more):
            form.changed.connect(self._on_changed)
        self.hemoglobin.toggled.connect(self._on_changed)
        self._on_changed()

    def options(self) -> TrainOptions:
        """Return what is chosen, here and in the Preferences.

        Raises
        ------
        OptionRefused
            A text is no value of its option, or two options do not go together.
        """
        chosen: dict[str, Any] = {"hemoglobin": self.hemoglobin.isChecked()}
        for form in (*self.often, self.more):
            chosen |= form.values()
        try:
            return TrainOptions(**chosen, device=preferences().device, precision=preferences().precision)
        except ValidationError as error:
            first = error.errors()[0]
            where = f"{first['loc'][0]}: " if first["loc"] else ""
            raise OptionRefused(f"{where}{first['msg']}.") from error

    def set(self, options: TrainOptions) -> None:
        """Show these options."""
        self._recipe = options.recipe
        self.hemoglobin.setChecked(options.hemoglobin)
        for form in (*self.often, self.more):
            form.set(options.model_dump())

    def widget(self, name: str) -> QWidget:
        """Return the input of an option."""
        form = self.often[_IN_SIGHT.index(name)] if name in _IN_SIGHT else self.more
        return form.widget(name)

    def remember(self) -> None:
        """Let the next session begin with these options."""
        changed = self.options().model_dump(mode="json", include=set(self.options().changed) - {"device", "precision"})
        last_training().setValue("options", json.dumps(changed))

    def _restore(self) -> None:
        try:
            self.set(TrainOptions(**json.loads(str(last_training().value("options", "{}")))))
        except (ValueError, TypeError):  # options of another version: begin anew
            self.set(TrainOptions())

    def _build(self) -> None:
        recipe = self.widget("recipe")
        recipe.setMinimumContentsLength(6)  # two options side by side in a dock of 360 px
        row = QHBoxLayout()
        row.addWidget(self.often[0], 1)
        row.addWidget(self.often[1], 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        target = QHBoxLayout()
        target.addWidget(QLabel("Target: diagnosis, and"))
        target.addWidget(self.hemoglobin)
        target.addStretch()
        column.addLayout(target)
        column.addLayout(row)
        column.addWidget(self.fold, 1)

    def _on_changed(self, *_: object) -> None:
        recipe = self.often[0].values()["recipe"]
        if recipe != self._recipe:
            before, self._recipe = RECIPES[self._recipe], recipe
            self.more.set({n: v for n, v in RECIPES[recipe].items() if _still(self.more, n, before[n])})
        self._count_changed()
        self.changed.emit()

    def _count_changed(self) -> None:
        """Say beside the fold how many options in it differ from the recipe: they count although they are not seen."""
        try:
            changed = len(set(self.options().changed) - {*_IN_SIGHT, *_ELSEWHERE})
        except OptionRefused:
            return
        self.fold.set_title(f"More options ({changed} changed)" if changed else "More options")


def _still(form: OptionsForm, name: str, value: object) -> bool:
    """Whether an option still has a value."""
    try:
        return bool(form.values()[name] == value)
    except OptionRefused:
        return False
