"""Two clusters of patients whose images are similar away from the cells; what these traits tell of the classes.

Holding out a cluster, or weighting patients until the traits tell nothing, is the nearest to another laboratory that
one cohort has.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.audit.classifier import OutOfFold
from napari_caltomorph.audit.image_traits import ImageTraits
from napari_caltomorph.audit.patients import AuditOptions, audited_patients
from napari_caltomorph.cohort.cohort import Cohort
from napari_caltomorph.statistics.interval import Interval
from napari_caltomorph.statistics.roc import macro_auroc

# Of all patients in the smaller cluster: members that are trained on fewer say little.
_LEAST_SHARE = 0.25
# In standard deviations: one odd patient is no cluster.
_FARTHEST = 3.0
# With two classes a probability of less than 0.05 weighs as much as 0.05.
_LARGEST_WEIGHT = 10.0


def image_clusters(traits: ImageTraits, groups: pd.Series) -> NDArray[np.intp]:
    """Return the cluster of each patient, 0 or 1; -1 where no image could be measured.

    k-means of borders and image sizes: no trait of it is of nucleated cells. A cluster of less than a quarter of the
    patients also gets those that are nearest to it.

    Parameters
    ----------
    traits : ImageTraits
    groups : pandas.Series
        Of P patients, by patient_id: those of one group, such as two smears of a person, are in one cluster.
    """
    from sklearn.cluster import KMeans
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    table = traits.appearance.reindex(groups.index).groupby(groups.to_numpy()).mean()
    is_measured = table.notna().any(axis=1).to_numpy()
    clusters = pd.Series(-1, index=table.index)
    if is_measured.sum() >= 2:
        scale = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        placed = np.clip(scale.fit_transform(table.loc[is_measured]), -_FARTHEST, _FARTHEST)
        distances = KMeans(2, n_init=10, random_state=0).fit(placed).transform(placed)  # (groups, 2)
        nearer = distances[:, 0] - distances[:, 1]  # below 0: of the first
        least, count = int(np.ceil(_LEAST_SHARE * len(nearer))), int((nearer < 0).sum())
        first = np.argsort(nearer, kind="stable")[: min(max(count, least), len(nearer) - least)]
        clusters.loc[is_measured] = np.where(np.isin(np.arange(len(nearer)), first), 0, 1)
    return np.asarray(clusters.loc[groups], dtype=np.intp)


def independence_weights(
    traits: ImageTraits, ids: pd.Index, classes: NDArray[np.intp], folds: NDArray[np.intp]
) -> NDArray[np.float64]:
    """(P,) weights of patients with which the traits away from the cells and the class are independent.

    The weight is p(class) / p(class given the traits), at equal class shares, by a simple classifier out of fold; 1 for
    all where its AUROC may be chance, and 0 without images or fold. Where a class has all kinds of images, its
    mean is 1: it is the share of all patients, each class with equal weight, who have images like those of the class.
    """
    values = traits.appearance.reindex(ids)
    is_in = values.notna().any(axis=1).to_numpy() & (folds >= 0)
    weights, known = is_in.astype(float), np.unique(classes[is_in])
    if len(np.unique(folds[is_in])) < 2 or len(known) < 2:
        return weights
    own = np.searchsorted(known, classes[is_in])
    model = OutOfFold.of(values.loc[is_in].to_numpy(dtype=float), folds[is_in])
    probabilities = model.probabilities(own, len(known))
    auroc = macro_auroc(own, probabilities)
    if auroc is not None and (auroc.value if auroc.low is None else auroc.low) > 0.5:
        of_class = probabilities[np.arange(len(own)), own]
        weights[is_in] = 1 / np.maximum(len(known) * of_class, 1 / _LARGEST_WEIGHT)
    return weights


def traits_alone(cohort: Cohort, table: pd.DataFrame, traits: ImageTraits) -> dict[str, Interval]:
    """Return the out-of-fold AUROC of a simple classifier of the patients of a table, from borders and from colours."""
    patients = audited_patients(cohort, AuditOptions(), among=table)
    if len(patients.names) < 2:
        return {}
    found = {}
    for name in ("borders", "colours"):
        values = getattr(traits, name).reindex(patients.table["patient_id"].astype(str))
        is_in = values.notna().any(axis=1).to_numpy()
        some = patients.of(is_in)
        if len(np.unique(some.classes)) == len(some.names):
            model = OutOfFold.of(values.loc[is_in].to_numpy(dtype=float), some.folds)
            scores = some.score(model.probabilities(some.classes, len(some.names)))
            found[name] = scores[some.metric]
    return found
