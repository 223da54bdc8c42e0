"""Figures of predictions and of cohorts."""

from napari_caltomorph.report.cohort_figures import draw_classes, draw_flow, draw_preview
from napari_caltomorph.report.figures import (
    PAPER,
    Look,
    draw_attention_swarm,
    draw_hemoglobin,
    draw_malignancy,
    draw_probabilities,
)

__all__ = [
    "PAPER",
    "Look",
    "draw_attention_swarm",
    "draw_classes",
    "draw_flow",
    "draw_hemoglobin",
    "draw_malignancy",
    "draw_preview",
    "draw_probabilities",
]
