"""One patient's prediction as an HTML file that prints on two pages: the paper's figure 5, and what it rests on.

Everything in it derives from the `Prediction`, and from what was found out about it besides. What one prediction can
have thousands of (cells, warnings, files) is listed as far as paper reaches; ``prediction.json`` holds the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.diagnosis import NO_ATTENTION, Prediction
from napari_caltomorph.diagnosis.prediction_files import find_smear
from napari_caltomorph.differential import Differential
from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.explanation.trust import Trust
from napari_caltomorph.report.drawing import short
from napari_caltomorph.report.html import render
from napari_caltomorph.report.patient_figures import (
    alone_counts,
    bars_uri,
    first_cells,
    swarm_uri,
    unusual_cells,
    what_if_uri,
)
from napari_caltomorph.report.patient_tables import (
    Listed,
    differential_rows,
    headline,
    left_out_rows,
    listed,
    notes,
    provenance,
)
from napari_caltomorph.report.what_if_figure import what_if_in_words
from napari_caltomorph.smear import Smear
from napari_caltomorph.storage import replacing

FILE_NAME = "report.html"

_WARNINGS_ON_FIRST_PAGE, _WARNINGS_ON_SECOND = 3, 4
# Headings of a `Trust`.
_ON_FIRST_PAGE_ALREADY = ("Warning", "Probabilities")


def save_patient_report(
    prediction: Prediction,
    path: str | Path,
    *,
    smear: Smear | None = None,
    trust: Trust | None = None,
    differential: Differential | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write the report of one patient as one HTML file; return where it stands.

    Parameters
    ----------
    prediction : Prediction
    path : str or Path
        The file.
    smear, trust, differential, metadata
        See `patient_report`.

    Raises
    ------
    OutputRefused
        It cannot be written.
    """
    html = patient_report(prediction, smear=smear, trust=trust, differential=differential, metadata=metadata)
    with replacing(path := Path(path)) as part:
        part.write_text(html, "utf-8")
    return path


def patient_report(
    prediction: Prediction,
    *,
    smear: Smear | None = None,
    trust: Trust | None = None,
    differential: Differential | None = None,
    metadata: Mapping[str, str] | None = None,
) -> str:
    """Return the report of one patient: HTML that asks no network for anything.

    Parameters
    ----------
    prediction : Prediction
    smear : Smear, optional
        The images; None looks for them where the prediction says they were read. Without them there are no
        thumbnails, and the report says why.
    trust : Trust, optional
        What speaks for and against it; None says what the prediction itself tells.
    differential : Differential, optional
        Of the same cells.
    metadata : mapping of str to str, optional
        What is known of the patient besides, such as age or the diagnosis of the clinic.
    """
    why_no_images = ""
    if smear is None:
        try:
            smear = find_smear(prediction)
        except SmearUnreadable as error:
            why_no_images = short(str(error), 200)
    trust = trust or Trust(prediction)
    first_warnings = listed(prediction.warnings, _WARNINGS_ON_FIRST_PAGE)
    return render(
        "patient.html.j2",
        {
            "prediction": prediction,
            "title": short(prediction.patient_id, 60),
            "model": short(prediction.model_name, 40),
            "metadata": listed([(short(name), short(value, 60)) for name, value in (metadata or {}).items()], 6),
            "headline": headline(prediction),
            "bars": bars_uri(prediction),
            "notes": notes(prediction),
            "swarm": swarm_uri(prediction) if prediction.has_attention else "",
            "no_attention": NO_ATTENTION,
            "alone": listed(alone_counts(prediction), 10),
            "cells": first_cells(prediction, smear),
            "why_no_images": why_no_images,
            "unusual": unusual_cells(prediction, smear),
            "warnings": first_warnings,
            "more_warnings": listed(prediction.warnings[len(first_warnings.shown) :], _WARNINGS_ON_SECOND),
            "statements": [one for one in trust.statements if one.about not in _ON_FIRST_PAGE_ALREADY],
            "similar": trust.similar,
            "left_out": left_out_rows(prediction),
            "what_if": "" if prediction.original is None else what_if_uri(prediction),
            "changes": what_if_in_words(prediction),
            "differential": differential,
            "differential_rows": Listed((), 0) if differential is None else listed(differential_rows(differential), 16),
            "provenance": provenance(prediction),
            "research_use": RESEARCH_USE,
        },
    )
