"""Predictions, drawn axes and parsed pages for the tests of figures and reports."""

from __future__ import annotations

import io
from html.parser import HTMLParser

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.hemoglobin_error import ErrorInterval
from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.report import (
    PAPER,
    PlotStyle,
)
from napari_caltomorph.taxonomy import caltomorph_taxonomy

DARK = PlotStyle(text="#e0e0e0", background="#262930", faint="#5a626c")
COLORS = [c.lower() for c in caltomorph_taxonomy().colors]
EVIL = "<script>alert('x')</script><img src=\"http://evil.example/x.png\" onerror=alert(1)>"


def make_prediction(cells=30, seed=0, **update):
    rng = np.random.default_rng(seed)
    attention = rng.lognormal(size=cells)
    fields = {
        "patient_id": "smear_a",
        "encoder": "demo-vit",
        "encoder_weights_sha256": "a" * 64,
        "model_name": "tiny",
        "model_fingerprint": "f" * 64,
        "synthetic": True,
        "taxonomy": caltomorph_taxonomy(),
        "member_probabilities": rng.dirichlet(np.full(8, 0.4), size=5),
        "member_hemoglobin": rng.normal(11, 0.5, size=5),
        "hemoglobin_error": ErrorInterval(level=0.9, low=-2.5, high=3.0, patients=100),
        "threshold": Threshold(value=0.37, rule="ours"),
        "cells": tuple(f"{i}.tif" for i in range(cells)),
        "labels": (None,) * cells,
        "attention": attention / attention.mean(),
        "alone": rng.dirichlet(np.full(8, 0.4), size=cells),
        "created": "2026-01-01T00:00:00+00:00",
        "library_version": "0",
    }
    return Prediction(**fields | update)


def drawn(draw, prediction, style=PAPER):
    """The axes after drawing, rendered once so that nothing is left undecided; and what `draw` returned."""
    figure = Figure(figsize=(4, 3))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    returned = draw(axes, prediction, style)
    figure.savefig(io.BytesIO(), format="png")
    return axes, returned


def texts(axes):
    return [text.get_text() for text in axes.texts]


class Page(HTMLParser):
    """Tags with their attributes, and the text that a reader sees."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self._is_style = [], [], False
        self.feed(html)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._is_style |= tag == "style"

    def handle_endtag(self, tag):
        self._is_style &= tag != "style"

    def handle_data(self, data):
        if not self._is_style:
            self.texts.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def thumbnails(self):
        return [one for one in self.of("img") if "image/jpeg" in one["src"]]
