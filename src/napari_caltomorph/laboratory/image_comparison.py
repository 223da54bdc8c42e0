"""How the images of a cohort differ from those of a model's training away from the cells: stain, background, size.

An evaluation compares features alone; here the images themselves are compared, and the traits named in which they
differ.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from napari_caltomorph.diagnosis.domain import FALSE_WARNING_RATE
from napari_caltomorph.diagnosis.image_domain import TRAITS, ImageDomain, as_far_out
from napari_caltomorph.statistics.metric import Metric

_FAR = 2.0  # Standard deviations of training patients
_MOST_NAMED = 4
_MEANS = {"grain": "grain (focus, compression)", "height": "image height", "width": "image width"}
_OF = {"mean": "mean", "0.1": "of the lightest tenth", "0.5": "median", "0.9": "of the darkest tenth"}


def compare_images(images: ImageDomain | None, traits: pd.DataFrame) -> tuple[str, ...]:
    """Return sentences: how many patients' images are unlike the training, and in which traits the cohort differs.

    Parameters
    ----------
    images : ImageDomain or None
        None where the model does not know the images of its training.
    traits : pandas.DataFrame
        One row a patient, as `ImageTraits.appearance`; NaN where a trait was not measured.
    """
    if images is None:
        return ("Stain, background and size could not be compared: the model does not know its training images.",)
    measured = traits.dropna(how="all").reindex(columns=list(TRAITS))
    if measured.empty:
        return ("Stain, background and size could not be compared: no image of these patients could be measured.",)
    totals = np.zeros(len(images.centre))  # of features, which have no part in the first score
    scores = [images.scores(dict(zip(TRAITS, row, strict=True)), totals) for row in measured.to_numpy(dtype=float)]
    p_values = [(as_far_out(images.held_out, one)[0] + 1) / (images.patients + 1) for one in scores]
    outside = Metric.of_counts(sum(p <= FALSE_WARNING_RATE for p in p_values), len(measured), "")
    sentences = [
        f"Images away from the cells: {outside.shown(2)} of {len(measured)} patients are unlike the training, "
        f"{FALSE_WARNING_RATE:g} expected."
    ]
    shifts = (measured.mean().to_numpy(dtype=float) - images.centre) / images.spread  # (M, T)
    shift = pd.Series(shifts.mean(axis=0), index=list(TRAITS)).dropna()
    far = shift[shift.abs() >= _FAR].sort_values(key=np.abs, ascending=False)[:_MOST_NAMED]
    if len(far):
        named = ", ".join(f"{_in_words(str(name))} {value:+.1f}" for name, value in far.items())
        sentences.append(f"The cohort's mean differs from that of the training, in its standard deviations: {named}.")
    else:
        sentences.append(f"No trait of the cohort differs from the training by {_FAR:g} standard deviations or more.")
    return tuple(sentences)


def _in_words(trait: str) -> str:
    """Return the name of a trait, e.g. ``"red density, mean"``."""
    channel, _, of = trait.partition(" ")
    return _MEANS.get(trait) or f"{channel} density, {_OF[of]}"
