"""The options of an evaluation: whom to judge in sight, the rest folded away."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QVBoxLayout, QWidget

from napari_caltomorph.evaluation import EvaluateOptions
from napari_caltomorph.plugin.widgets.fold import Fold
from napari_caltomorph.plugin.widgets.options_form import OptionRefused, OptionsForm, title_of
from napari_caltomorph.plugin.widgets.settings import last_evaluation, preferences

_FIELDS = EvaluateOptions.model_fields
_IN_SIGHT = ("split", "out_of_fold")
# The device stands beside the model and in napari's Preferences, for encoding, predicting and judging alike.
_ELSEWHERE = ("device",)


class EvaluateOptionsForm(QWidget):
    """`changed` follows each change."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.often = [OptionsForm(EvaluateOptions, [name]) for name in _IN_SIGHT]
        self.audit = QCheckBox("Shortcut audit")
        self.audit.setToolTip(
            "Ask as well how much stain, image borders, image size and routine data alone tell; reads images, which "
            "takes minutes"
        )
        self.more = OptionsForm(EvaluateOptions, [n for n in _FIELDS if n not in (*_IN_SIGHT, *_ELSEWHERE)])
        self.fold = Fold("More options", self.more)
        self._build()
        self._restore()
        for form in (*self.often, self.more):
            form.changed.connect(self._on_changed)
        self.audit.toggled.connect(self._on_changed)
        self._on_changed()

    def options(self) -> EvaluateOptions:
        """Return what is chosen, here and in the Preferences.

        Raises
        ------
        OptionRefused
            A text is no value of its option.
        """
        chosen: dict[str, Any] = {}
        for form in (*self.often, self.more):
            chosen |= form.values()
        return EvaluateOptions(**chosen, device=preferences().device)

    def set(self, **values: Any) -> None:
        """Show these values of options."""
        for form in (*self.often, self.more):
            form.set(values)

    def remember(self) -> None:
        """Let the next session begin with these options."""
        last_evaluation().setValue("options", self.options().model_dump_json(exclude={"device"}))
        last_evaluation().setValue("audit", json.dumps(self.audit.isChecked()))

    def _restore(self) -> None:
        try:
            last = EvaluateOptions.model_validate_json(str(last_evaluation().value("options", "{}")))
        except ValidationError:  # options of another version: begin anew
            last = EvaluateOptions()
        self.set(**last.model_dump())
        self.audit.setChecked(last_evaluation().value("audit", "false") == "true")

    def _build(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.often[0], 1)
        row.addWidget(self.often[1])
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(row)
        column.addWidget(self.audit)
        column.addWidget(self.fold, 1)

    def _on_changed(self, *_: object) -> None:
        """Say beside the fold how many options in it are not as they were: they count although they are not seen."""
        self.changed.emit()
        try:
            chosen = self.more.values()
        except OptionRefused:
            return
        changed = sum(value != getattr(EvaluateOptions(), name) for name, value in chosen.items())
        self.fold.set_title(f"More options ({changed} changed)" if changed else "More options")


def in_panel_words(sentence: str) -> str:
    """Return a sentence with the terminal's flags called as the form calls them: ``--out-of-fold``, "Out of fold"."""
    return re.sub(
        r"--([a-z]+(?:-[a-z]+)*)",
        lambda flag: f'"{title_of(flag[1].replace("-", "_"))}"' if flag[1].replace("-", "_") in _FIELDS else flag[0],
        sentence,
    )
