"""Cells x features as `anndata.AnnData`, which scanpy and the scverse read; the package is an extra."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.encoding.h5_process import FeatureOrigin
from napari_caltomorph.errors import import_optional

if TYPE_CHECKING:
    from anndata import AnnData


def as_anndata(values: NDArray[np.float32], obs: pd.DataFrame, origin: FeatureOrigin, **about: Any) -> AnnData:
    """Return N cells (N, D), with a row of `obs` each, indexed by the cell's name.

    Texts become categories, as in files that AnnData writes. ``uns`` has how the features were made, and `about`.

    Raises `PackageMissing` where the extra is not installed.
    """
    anndata = import_optional("anndata", "anndata", "An AnnData")
    texts = [name for name in obs if not pd.api.types.is_numeric_dtype(obs[name])]
    obs = obs.astype(dict.fromkeys(texts, "category"))
    # As objects: AnnData does not write pandas' own texts to files.
    obs.index = pd.Index(list(obs.index), dtype=object)
    features = pd.DataFrame(index=pd.Index([f"feature_{i}" for i in range(values.shape[1])], dtype=object))
    uns = {name: value for name, value in (asdict(origin) | about).items() if value is not None}
    found: AnnData = anndata.AnnData(X=values, obs=obs, var=features, uns=uns)
    return found
