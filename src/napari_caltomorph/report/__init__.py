"""Figures of predictions."""

from napari_caltomorph.report.figures import (
    PAPER,
    Look,
    draw_attention_swarm,
    draw_hemoglobin,
    draw_malignancy,
    draw_probabilities,
)

__all__ = ["PAPER", "Look", "draw_attention_swarm", "draw_hemoglobin", "draw_malignancy", "draw_probabilities"]
