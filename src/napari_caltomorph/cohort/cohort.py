"""Many labelled patients: a table of those that are in, and one of those that are left out and why.

A `Cohort` never changes; each step of reading, cleaning and splitting returns another one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel

from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.encoding.features import load_bag
from napari_caltomorph.errors import CohortUnreadable, FeaturesRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.reading import explained, read_as, table_of, typed
from napari_caltomorph.storage import StrPath, replacing
from napari_caltomorph.taxonomy import Taxonomy

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_caltomorph.diagnosis import Prediction

COLUMNS = {
    "patient_id": "string",
    "path": "string",  # folder, archive or stack of the cells; missing when only features are available
    "features": "string",  # .h5 file; missing when there is none
    "raw_label": "string",
    "detailed": "string",  # slug; missing for 'other'
    "coarse": "string",  # slug; missing for 'other' and for a set of classes
    "coarse_set": "string",  # slugs joined with '|' where more than one class is right; missing otherwise
    "hemoglobin_g_dl": "Float64",
    "age": "Float64",
    "sex": "string",
    "group": "string",
    "slide_of": "string",  # the patient, where the row is one of several slides that are a bag each
    "split": "string",  # 'train' or 'test'
    "fold": "Int64",  # 0 ... k - 1 for training patients, missing for the test split
    "n_images": "Int64",
    "n_cells": "Int64",  # usable ones
    "fingerprint": "string",
    "label_kind": "string",  # from the label map: matched, double, follow_up, unclear, rare, unknown, unlabelled
    "problem": "string",  # why the files cannot be used; missing where they can
    "shared_images": "string",  # numbers of images that others have too; patients with a common number share an image
    "twin": "string",  # the patient above in the table that this one shares most images with; missing where none does
    "twin_share": "Float64",  # share of this patient's images that the twin has too
}
"""Columns of `Cohort.table` and their types; a table's other columns follow under their own names."""

LEFT_OUT_COLUMNS = ("patient_id", "raw_label", "rule", "reason")


@dataclass(frozen=True)
class Cohort:
    """Labelled patients: those that are in, and those that were left out."""

    name: str
    source: Path  # The directory or table that was read
    layout: str  # How the patients are arranged on disk
    taxonomy: Taxonomy
    table: pd.DataFrame  # One row a patient, with `COLUMNS` and the table's own
    # One row a patient that is left out: the rule and why, and what `table` has, where cleaning left the patient out
    left_out: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(LEFT_OUT_COLUMNS)))
    notes: tuple[str, ...] = ()  # What was assumed or is worth knowing, each a sentence
    options: CohortOptions = field(default_factory=CohortOptions)

    def __len__(self) -> int:
        return len(self.table)

    def without(self, patients: pd.Series[bool], rule: str, reason: str | pd.Series[str]) -> Cohort:
        """Return the cohort without the patients where a mask is true, counted under a rule."""
        if not patients.any():
            return self
        out = self.table.loc[patients].assign(rule=rule, reason=reason)
        left_out = with_reasons(pd.concat([self.left_out, out]) if len(self.left_out) else out)
        return replace(self, table=self.table.loc[~patients].reset_index(drop=True), left_out=left_out)

    def noting(self, *notes: str) -> Cohort:
        """Return the cohort with more notes."""
        return replace(self, notes=self.notes + notes)

    def counts(self, by: Sequence[str] = ("coarse", "split")) -> pd.DataFrame:
        """How many patients there are of each combination."""
        return self.table.groupby(list(by), dropna=False, observed=True).size().rename("patients").reset_index()

    def left_out_counts(self) -> dict[str, int]:
        """How many patients each rule left out, in the order of the rules."""
        return dict(Counter(self.left_out["rule"]))

    @property
    def summary(self) -> str:
        """How many patients were found and are in, and why others are not: what is said first about a cohort."""
        total = len(self) + len(self.left_out)
        text = f"{total} {'patient' if total == 1 else 'patients'} found, {len(self)} in"
        return text if self.left_out.empty else f"{text}; left out: {self.why_left_out}"

    @property
    def why_left_out(self) -> str:
        """The rules that left patients out, with counts; of the one that left out most, an example."""
        # As text: a file of an earlier version, or edited by hand, may have empty fields.
        rows = [list(map(str, row)) for row in self.left_out[["rule", "patient_id", "reason"]].to_numpy()]
        (most, count), *others = Counter(rule for rule, *_ in rows).most_common()
        _, patient, reason = next(row for row in rows if row[0] == most)
        example = f"{count} {most} (first: {patient}, {reason.rstrip('.')})"
        return ", ".join([example, *(f"{count} {rule}" for rule, count in others)])

    def to_anndata(
        self,
        files: Mapping[str, Sequence[StrPath]],
        predictions: Iterable[Prediction] = (),
        *,
        progress: OnProgress = ignore,
    ) -> AnnData:
        """Return the cells of all patients that have feature files, x features.

        Parameters
        ----------
        files : mapping of str to sequence of str or Path
            By patient id, as `feature_files` returns them.
        predictions : iterable of Prediction
            Of some of the patients: attention, label and the response to each cell alone are in ``obs`` then.
        progress : callable
            See `OnProgress`.

        Returns
        -------
        AnnData
            ``obs`` has the patient, diagnosis, split and fold of each cell, which is named ``patient/cell``.

        Raises
        ------
        FeaturesRefused
            A file is damaged, or features are of two encoders.
        PackageMissing
            The extra ``anndata`` is not installed.
        """
        from napari_caltomorph.diagnosis.as_anndata import as_anndata

        bags = {}
        for number, patient in enumerate(names := [name for name in self.table["patient_id"] if name in files]):
            report = partial(progress, Progress("Loading features", number, len(names), "patients"))
            report()
            bags[patient] = load_bag(files[patient], waiting=report)
        if not bags:
            raise FeaturesRefused(f"{self.source}: no patient has features; encode the cohort first.")
        first = next(iter(bags.values()))
        if others := [name for name, bag in bags.items() if bag.kind != first.kind]:
            raise FeaturesRefused(f"{others[0]} has features of another encoder than {names[0]}; encode all with one.")
        rows = [(name, cell) for name, bag in bags.items() for cell in bag.cells]
        obs = pd.DataFrame(rows, columns=["patient_id", "cell"])
        known = self.table.set_index("patient_id")[["raw_label", "detailed", "coarse", "split", "fold"]]
        obs = obs.join(known.astype({"fold": float}), on="patient_id")
        cells = [one.cell_table().merge(pd.DataFrame({"cell": one.cells, "label": one.labels})) for one in predictions]
        if cells:
            obs = obs.merge(pd.concat(cells), how="left", on=["patient_id", "cell"])
        obs.index = pd.Index([f"{name}/{cell}" for name, cell in rows])
        values = np.concatenate([bag.values for bag in bags.values()])
        return as_anndata(values, obs, replace(first.origin, smear_fingerprint=None), cohort=self.name)

    def save(self, path: StrPath) -> None:
        """Write ``cohort.json``; `OutputRefused` when it cannot be written."""
        content = {
            "schema_version": 1,
            "name": self.name,
            "source": str(self.source),
            "layout": self.layout,
            "taxonomy": self.taxonomy.model_dump(mode="json"),
            "notes": list(self.notes),
            "options": self.options.model_dump(mode="json"),
            "table": json.loads(self.table.to_json(orient="split", index=False, date_format="iso")),
            "left_out": json.loads(self.left_out.to_json(orient="split", index=False)),
        }
        with replacing(Path(path)) as part:
            part.write_text(json.dumps(content, indent=1, ensure_ascii=False), "utf-8")

    @classmethod
    def load(cls, path: StrPath) -> Cohort:
        """Read a saved cohort; `CohortUnreadable` where there is none, it is damaged, or a newer version wrote it."""
        path, refused = Path(path), ("a cohort", CohortUnreadable, "inspect the data again")
        content = read_as(_File, path, *refused)
        with explained(path, *refused):
            return cls(
                name=content.name,
                source=content.source,
                layout=content.layout,
                taxonomy=content.taxonomy,
                table=content.patients(),
                left_out=content.left_out_patients(),
                notes=content.notes,
                options=content.options,
            )


class _Table(BaseModel):
    """A table as pandas' ``orient="split"``."""

    columns: tuple[str, ...]
    data: list[Any]

    def frame(self) -> pd.DataFrame:
        return table_of(self.columns, self.data)


class _File(BaseModel):
    """The content of ``cohort.json``."""

    schema_version: Literal[1]
    name: str
    source: Path
    layout: str
    taxonomy: Taxonomy
    notes: tuple[str, ...]
    options: CohortOptions
    table: _Table
    left_out: _Table

    def patients(self) -> pd.DataFrame:
        """Return the table; ValueError where a patient has no id, or a class or number that does not exist."""
        table = self.table.frame()
        table = typed(table.reindex(columns=_columns(table)), COLUMNS)
        if table["patient_id"].isna().any():
            raise ValueError("a patient has no patient_id")
        return self._checked(table)

    def left_out_patients(self) -> pd.DataFrame:
        """Return those left out, of some of which no more than a reason is known; ValueError as `patients`."""
        table = self.left_out.frame()
        if not {*LEFT_OUT_COLUMNS} <= {*table.columns}:
            raise ValueError(f"left_out lacks one of {', '.join(LEFT_OUT_COLUMNS)}")
        return with_reasons(self._checked(typed(table.reindex(columns=_columns(table)), COLUMNS)))

    def _checked(self, table: pd.DataFrame) -> pd.DataFrame:
        detailed = {one.slug for coarse in self.taxonomy.classes for one in coarse.detailed}
        classes = {"coarse": {*self.taxonomy.slugs}, "detailed": detailed, "split": {"train", "test"}}
        for column, known in classes.items():
            if unknown := {*table[column].dropna()} - known:
                raise ValueError(f"{column}: {min(unknown)[:40]} does not exist")
        for column in ("fold", "n_images", "n_cells"):
            if (table[column].dropna() < 0).any():
                raise ValueError(f"{column}: a number is negative")
        return table


def with_types(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with all of `COLUMNS`, first and with their types; missing ones are empty."""
    return table.reindex(columns=_columns(table)).astype(dict(COLUMNS)).reset_index(drop=True)


def with_reasons(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of patients that are left out with `LEFT_OUT_COLUMNS` first, then what `with_types` returns."""
    columns = dict.fromkeys([*LEFT_OUT_COLUMNS, *_columns(table)])
    return with_types(table)[list(columns)]


def _columns(table: pd.DataFrame) -> list[str]:
    return [*COLUMNS, *(column for column in table.columns if column not in COLUMNS)]
