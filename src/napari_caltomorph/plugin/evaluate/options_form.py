"""The options of an evaluation: whom to judge in sight, the rest folded away."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_caltomorph.jobs import EvaluateModelOptions
from napari_caltomorph.plugin.widgets.options_form import OptionRefused, OptionsForm, title_of
from napari_caltomorph.plugin.widgets.parts import CollapsibleSection
from napari_caltomorph.plugin.widgets.settings import last_evaluation, preferences

_FIELDS = EvaluateModelOptions.model_fields
_IN_SIGHT = ("split", "out_of_fold", "audit")
# The device stands beside the model and in napari's Preferences, for encoding, predicting and judging alike.
_ELSEWHERE = ("device", "precision", "weights", "encode_missing")


class EvaluateOptionsForm(QWidget):
    """`changed` follows each change."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.often = [OptionsForm(EvaluateModelOptions, [name]) for name in _IN_SIGHT]
        self.more = OptionsForm(EvaluateModelOptions, [n for n in _FIELDS if n not in (*_IN_SIGHT, *_ELSEWHERE)])
        self.fold = CollapsibleSection("More options", self.more)
        self._build()
        self._restore()
        for form in (*self.often, self.more):
            form.changed.connect(self._on_changed)
        self._on_changed()

    def options(self) -> EvaluateModelOptions:
        """Return what is chosen, here and in the Preferences.

        Raises
        ------
        OptionRefused
            A text is no value of its option.
        """
        chosen: dict[str, Any] = {}
        for form in (*self.often, self.more):
            chosen |= form.values()
        stored = preferences()
        return EvaluateModelOptions(
            **chosen,
            device=stored.device,
            precision=stored.precision,
            weights=Path(stored.weights) if stored.weights else None,
            encode_missing=True,
        )

    def set(self, **values: Any) -> None:
        """Show these values of options."""
        for form in (*self.often, self.more):
            form.set(values)

    def remember(self) -> None:
        """Let the next session begin with these options."""
        last_evaluation().setValue("options", self.options().model_dump_json(exclude=set(_ELSEWHERE)))

    def _restore(self) -> None:
        try:
            last = EvaluateModelOptions.model_validate_json(str(last_evaluation().value("options", "{}")))
        except ValidationError:  # options of another version: begin anew
            last = EvaluateModelOptions()
        self.set(**last.model_dump())

    def _build(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.often[0], 1)
        row.addWidget(self.often[1])
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(row)
        column.addWidget(self.often[2])
        column.addWidget(self.fold, 1)

    def _on_changed(self, *_: object) -> None:
        """Say beside the fold how many options in it are not as they were: they count although they are not seen."""
        self.changed.emit()
        try:
            chosen = self.more.values()
        except OptionRefused:
            return
        changed = sum(value != getattr(EvaluateModelOptions(), name) for name, value in chosen.items())
        self.fold.set_title(f"More options ({changed} changed)" if changed else "More options")


def in_panel_words(sentence: str) -> str:
    """Return a sentence with the terminal's flags called as the form calls them: ``--out-of-fold``, "Out of fold"."""
    return re.sub(
        r"--([a-z]+(?:-[a-z]+)*)",
        lambda flag: f'"{title_of(flag[1].replace("-", "_"))}"' if flag[1].replace("-", "_") in _FIELDS else flag[0],
        sentence,
    )
