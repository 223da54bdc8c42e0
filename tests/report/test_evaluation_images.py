"""The figures of an evaluation look as they did when they were last looked at.

Letters and legends are taken away first: another FreeType draws and measures them otherwise, by more than a bar or a
dot that has moved. What they say, and that none is cut off, is read back in test_evaluation_figures.py. After a change
that is meant, look at the new ones and keep them::

    python -m pytest tests/report/test_evaluation_images.py --mpl-generate-path=tests/report/baseline
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import NullFormatter
from tests.evaluation.factories import evaluation_of, simulated
from tests.report.factories import DARK

from napari_caltomorph.evaluation.covariates import SHARE
from napari_caltomorph.report.class_figures import draw_confusion
from napari_caltomorph.report.evaluation_figures import FIGURES, figures_of
from napari_caltomorph.report.probability_figures import draw_fdr

# Of 255, root mean square: one patient predicted as another class gives 1.7 and more, other hinting of letters none.
TOLERANCE = 1.2


@pytest.fixture(scope="module")
def evaluation():
    """Patients of four classes, some with several right answers, of other classes, and without hemoglobin."""
    truth, probabilities = simulated((24, 14, 18, 22), separation=2.0)
    rng = np.random.default_rng(1)
    probabilities = np.concatenate([probabilities, rng.dirichlet(np.ones(4), size=10)])
    count = len(probabilities)
    measured = rng.normal(11, 2, size=count)
    simulated_evaluation = evaluation_of(
        [*truth, *[None] * 10],
        probabilities,
        coarse_set=[None] * 78 + ["acute|mds"] * 4 + [None] * 6,
        row=[None] * 82 + ["MGUS"] * 4 + ["Mastocytosis"] * 2,
        detailed=["aml" if i < 16 else "all" if i < 24 else None for i in range(count)],
        measured=[None, *measured[1:]],
        hemoglobin=list(measured + rng.normal(0, 1, size=count)),
        threshold=0.4,
    )
    share = np.clip(probabilities[:, 0] + rng.normal(0, 0.15, size=count), 0, 1)
    return replace(
        simulated_evaluation,
        options=simulated_evaluation.options.model_copy(update={"against": ("myeloblast",)}),
        covariates=pd.DataFrame({f"{SHARE}myeloblast": share.round(3)}),
    )


compared = pytest.mark.mpl_image_compare(tolerance=TOLERANCE, style="default", savefig_kwargs={"dpi": 60})


def without_letters(figure: Figure) -> Figure:
    for axes in figure.axes:
        if axes.get_legend() is not None:
            axes.get_legend().remove()
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(NullFormatter())
    for text in figure.findobj(Text):
        text.set_text("")
    return figure


# Where UMAP puts the dots of the map differs between machines.
@compared
@pytest.mark.parametrize("name", [*(name for name in FIGURES if name != "map"), "against_1"])
def test_figure_looks_as_it_did(evaluation, name):
    return without_letters(next(one for one in figures_of(evaluation) if one.name == name).of(evaluation))


@compared
@pytest.mark.parametrize("draw", [draw_confusion, draw_fdr], ids=["confusion", "fdr"])
def test_figure_in_the_dark_theme_looks_as_it_did(evaluation, draw):
    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    draw(figure.add_subplot(), evaluation, DARK)
    return without_letters(figure)
