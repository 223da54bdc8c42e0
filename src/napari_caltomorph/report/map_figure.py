"""The map of patients (paper, figures 2G and 4C): training patients faint, the judged in front, far ones hollow."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.lines import Line2D

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.report.drawing import legend_beside, say_instead, short, title
from napari_caltomorph.report.figures import PAPER, Look
from napari_caltomorph.report.patient_map import patient_map


def draw_map(axes: Axes, evaluation: Evaluation, look: Look = PAPER) -> PathCollection:
    """Draw where the patients stand, each in the colour of the true class.

    Returns
    -------
    PathCollection
        The judged; its offsets are in the order of `Evaluation.patients`, and there are none where there is no map,
        which is then said.
    """
    made = patient_map(evaluation)
    if made.why_none:
        say_instead(axes, made.in_words, look)
        return axes.scatter([], [])
    look.prepare(axes)
    taxonomy, embeddings = evaluation.taxonomy, evaluation.embeddings
    assert embeddings is not None
    color_of = dict(zip(taxonomy.slugs, taxonomy.colors, strict=True))
    if len(made.training):
        colors = [color_of.get(slug, look.faint) for slug in embeddings.training_classes]
        axes.scatter(made.training[:, 0], made.training[:, 1], s=10, c=colors, alpha=0.35, linewidth=0, zorder=2)
    edges = [taxonomy.colors[c] if c >= 0 else look.text for c in evaluation.classes]
    faces = ["none" if far else edge for far, edge in zip(made.is_far, edges, strict=True)]
    rims = [edge if far else look.text for far, edge in zip(made.is_far, edges, strict=True)]
    is_external = evaluation.is_external
    dots = axes.scatter(
        made.judged[:, 0],
        made.judged[:, 1],
        s=30 if is_external else 24,
        marker="D" if is_external else "o",
        facecolors=faces,
        edgecolors=rims,
        linewidth=np.where(made.is_far, 1.3, 0.6),
        zorder=4,
    )
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(f"UMAP of member {made.parameters['member'] + 1}")
    legend_beside(axes, _handles(evaluation, is_external, bool(made.is_far.any()), len(made.training), look), look)
    who = f"{len(made.judged)} judged patients"
    title(axes, f"{who} on {len(made.training)} of the training" if len(made.training) else who, look)
    return dots


def _handles(evaluation: Evaluation, is_external: bool, has_far: bool, training: int, look: Look) -> list[Line2D]:
    embeddings = evaluation.embeddings
    shown = set(embeddings.training_classes if embeddings is not None and training else ())
    shown |= {evaluation.taxonomy.slugs[c] for c in evaluation.classes if c >= 0}

    def dot(label: str, color: str, *, marker: str = "o", face: str | None = None, size: float = 6) -> Line2D:
        return Line2D(
            [],
            [],
            linestyle="none",
            marker=marker,
            color=color,
            markerfacecolor=color if face is None else face,
            markeredgewidth=1,
            markersize=size,
            label=label,
        )

    handles = [dot(short(one.name), one.color) for one in evaluation.taxonomy.classes if one.slug in shown]
    if (evaluation.classes < 0).any():
        handles.append(dot("no one class", look.text))
    marker = "D" if is_external else "o"
    handles.append(dot("judged", look.text, marker=marker, face=look.faint))
    if has_far:
        handles.append(dot("judged, far from all", look.text, marker=marker, face="none"))
    if training:
        handles.append(dot("training", look.faint, size=4))
    return handles
