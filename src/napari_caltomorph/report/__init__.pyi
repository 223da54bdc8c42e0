from .cohort_figures import draw_classes, draw_flow, draw_preview
from .contact_sheet import save_contact_sheet
from .drawing import PAPER, PlotStyle
from .prediction_figures import (
    attention_swarm,
    draw_attention_swarm,
    draw_hemoglobin,
    draw_malignancy,
    draw_probabilities,
)
from .training_figures import draw_loss_curves, draw_out_of_fold_confusion, loss_plot, save_training_curves

__all__ = [
    "PAPER",
    "PlotStyle",
    "attention_swarm",
    "draw_attention_swarm",
    "draw_classes",
    "draw_flow",
    "draw_hemoglobin",
    "draw_loss_curves",
    "draw_malignancy",
    "draw_out_of_fold_confusion",
    "draw_preview",
    "draw_probabilities",
    "loss_plot",
    "save_contact_sheet",
    "save_training_curves",
]
