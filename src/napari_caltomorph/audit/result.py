"""The result of an audit: numbers by set of traits and by column, and what they mean in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from napari_caltomorph.statistics.interval import Interval, percent
from napari_caltomorph.statistics.metric import METRICS
from napari_caltomorph.statistics.permutation import ALPHA, Chance

_WARNINGS = {
    "borders": "a result on this cohort may come from stain, background or red cells",
    "colours": "that may be the cells' own colour, and it may be the stain",
    "sizes": "a result on this cohort may come from how images were chosen, cut or exported",
    "routine": "what images add has to be compared with that",
}


@dataclass(frozen=True)
class TraitRow:
    """How well one set of traits predicts the label, out of fold."""

    name: str  # borders, colours, sizes or routine
    sees: str  # The classifier's input, in words
    patients: int  # On which it was fitted and tested
    traits: int  # How many numbers of each patient
    metric: str  # "auroc" with two classes, otherwise "macro_auroc": what `p` is about
    estimates: dict[str, Interval]  # The metric and balanced_accuracy
    chance: dict[str, Chance]  # Of the same
    p: float  # Share of shufflings (and the true labels) that do as well or better
    p_corrected: float  # By Holm over the rows

    @property
    def is_found(self) -> bool:
        """Whether these traits predict the label better than chance explains."""
        return self.p_corrected < ALPHA

    @property
    def is_hint(self) -> bool:
        """Whether it would count as found, had nothing else been tested."""
        return self.p < ALPHA <= self.p_corrected

    @property
    def in_numbers(self) -> str:
        """E.g. ``"AUROC 0.72, 95 % 0.60 to 0.83; shuffled labels 0.37 to 0.63; p = 0.007"``."""
        chance = self.chance[self.metric]
        return (
            f"{estimate(self.metric, self.estimates)}; shuffled labels {chance.low:.2f} to {chance.high:.2f}; "
            f"p = {self.p:.2g}, corrected {self.p_corrected:.2g}"
        )


@dataclass(frozen=True)
class ColumnValue:
    """Patients with one value of a column; `accuracy` is None where no predictions were given."""

    value: str
    patients: int
    classes: dict[str, int]
    accuracy: Interval | None = None


@dataclass(frozen=True)
class ColumnRow:
    """How a column such as the site relates to the label and to accuracy."""

    column: str
    is_guessed: bool  # It was found by its name
    values: tuple[ColumnValue, ...]
    p_classes: float | None = None  # Whether the classes are spread unevenly over the values
    p_accuracy: float | None = None  # Whether accuracy differs; None without predictions
    # The same within classes: a site with many patients of a hard class is not worse for that.
    p_accuracy_within_classes: float | None = None
    p_accuracy_corrected: float | None = None  # The latter, by Holm over the columns
    note: str = ""  # How it was tested, and what was too small to test


@dataclass(frozen=True)
class Added:
    """What given predictions add to routine data, on the patients that have both.

    `gain` is the metric of both together less that of routine data alone; None where routine data are missing.
    """

    patients: int
    metric: str
    model: dict[str, Interval]
    routine: dict[str, Interval] | None = None
    both: dict[str, Interval] | None = None
    gain: Interval | None = None


@dataclass(frozen=True)
class Audit:
    """How well the labels of a cohort can be predicted without its cells."""

    cohort: str
    classes: dict[str, int]  # Audited classes by name, and their patients
    folds: str  # Where the folds come from, in words
    rows: tuple[TraitRow, ...] = ()
    columns: tuple[ColumnRow, ...] = ()
    added: Added | None = None
    notes: tuple[str, ...] = ()  # What was left out, and which columns were used, each a sentence

    @property
    def shortcuts(self) -> tuple[TraitRow, ...]:
        """Rows of image traits that predict the label."""
        return tuple(row for row in self.rows if row.is_found and row.name != "routine")

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings, each a plain sentence; the most serious first."""
        if not self.rows and not self.columns and self.added is None:
            return ("Nothing could be audited: " + (self.notes[-1] if self.notes else "there is nothing to test."),)
        found = [self._finding(row) for row in sorted(self.rows, key=lambda row: row.is_hint) if row.p < ALPHA]
        found += [sentence for column in self.columns for sentence in _about(column)]
        if self.added is not None:
            found += self._about_images(self.added)
        return (*found, *self._not_found())

    def to_json(self) -> dict[str, Any]:
        """Return what can be written as JSON; the findings are in it for readers; reading computes them again."""
        content: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return content | {"findings": list(self.findings)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Audit:
        """Read what `to_json` returned; pydantic's ValidationError, a ValueError, where it is something else."""
        return _ADAPTER.validate_python({name: value for name, value in content.items() if name != "findings"})

    def _finding(self, row: TraitRow) -> str:
        if row.is_hint:
            return (
                f"{_upper(row.sees)} alone may predict {self._what} ({row.in_numbers}): a hint, which with so many "
                f"tests can be chance; if it is not, {_WARNINGS[row.name]}."
            )
        return f"{_upper(row.sees)} alone predict {self._what} ({row.in_numbers}): {_WARNINGS[row.name]}."

    def _not_found(self) -> list[str]:
        tested = [row for row in self.rows if row.name != "routine"]
        sentences = []
        for row in (row for row in tested if row.p >= ALPHA):
            high = row.estimates[row.metric].high
            limit = "" if high is None else f"; up to {high:.2f} is not excluded"
            sentences.append(f"It is not shown that {row.sees} predict {self._what} ({row.in_numbers}){limit}.")
        if not tested:
            sentences.append("No image was measured, so there is no result on stain, background or size.")
        elif not any(row.p < ALPHA for row in tested):
            named = "; ".join(row.sees.rstrip(",") for row in tested)
            sentences.append(
                f"No shortcut was found. Tested: {named}. Other shortcuts, and weak ones that few patients "
                "cannot show, are not excluded."
            )
        return sentences

    def _about_images(self, added: Added) -> list[str]:
        model = estimate(added.metric, added.model)
        sentences = []
        shortcuts = [
            f"the {row.name} alone {row.estimates[added.metric].value:.2f} ({row.patients} patients)"
            for row in self.shortcuts
            if row.metric == added.metric
        ]
        if shortcuts:
            sentences.append(
                f"The given predictions reach {model} ({added.patients} patients), {', '.join(shortcuts)}: a model "
                "that reads cells should do better."
            )
        if added.gain is None or added.routine is None or added.both is None:
            return [*sentences, "There are no routine data that the images could add to."]
        is_shown = added.gain.low is not None and added.gain.low > 0
        verdict = "The" if is_shown else "It is not shown that the"
        return [
            *sentences,
            f"{verdict} images add to routine data: {METRICS[added.metric].name} "
            f"{added.routine[added.metric].value:.2f} with routine data alone, "
            f"{added.model[added.metric].value:.2f} with the predictions alone, {added.both[added.metric].value:.2f} "
            f"with both, a gain of {_number(added.gain, signed=True)} ({added.patients} patients).",
        ]

    @property
    def _what(self) -> str:
        names = list(self.classes)
        return f"{names[0]} or {names[1]}" if len(names) == 2 else f"the {len(names)} classes"


def estimate(metric: str, estimates: Mapping[str, Interval]) -> str:
    """Return e.g. ``"AUROC 0.72, 95 % 0.60 to 0.83"``."""
    return f"{METRICS[metric].name} {_number(estimates[metric])}"


def _number(interval: Interval, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    value = f"{interval.value:{sign}.2f}"
    if interval.low is None or interval.high is None:
        return value
    return f"{value}, 95 % {interval.low:{sign}.2f} to {interval.high:{sign}.2f}"


def _about(column: ColumnRow) -> list[str]:
    sentences = []
    if column.p_classes is not None and column.p_classes < ALPHA:
        sentences.append(
            f"The classes are spread unevenly over {column.column!r} (p = {column.p_classes:.2g}): what differs "
            "between its values can act as a proxy of the diagnosis."
        )
    if column.p_accuracy_corrected is not None and column.p_accuracy_corrected < ALPHA:
        known = [(one.value, one.accuracy.value, one.patients) for one in column.values if one.accuracy is not None]
        by_value = ", ".join(f"{value} {percent(accuracy, 0)} of {patients}" for value, accuracy, patients in known)
        sentences.append(
            f"Accuracy differs by {column.column!r} beyond what the classes explain ({by_value}; corrected "
            f"p = {column.p_accuracy_corrected:.2g})."
        )
    return sentences


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


_ADAPTER = TypeAdapter(Audit)
