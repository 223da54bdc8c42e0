"""Who a model was trained on: what could identify patients, kept in ``private/`` and left out of every export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from napari_caltomorph.errors import ModelRefused

PRIVATE = "private"
_TABLE = "patients.csv"
_EMBEDDINGS = "embeddings.safetensors"
_TEXT = ("patient_id", "coarse", "detailed", "group", "fingerprint", "path")


@dataclass(frozen=True)
class TrainingPatients:
    """P patients that M members were trained on.

    Attributes
    ----------
    table : pandas.DataFrame
        patient_id, coarse, detailed, group, hemoglobin_g_dl, fingerprint and path of the smear (models made before it
        was kept have no path), fold (the member that did not
        learn from the patient; -1: set aside to calibrate on; missing: all members learnt from the patient), and what
        that single member said: ``out_of_fold_p_<class slug>``.
    embeddings : (M, P, width) float32
        What each member makes of each patient.
    """

    table: pd.DataFrame
    embeddings: Tensor

    def save(self, model_folder: Path) -> None:
        """Write ``private/`` into a model folder."""
        folder = model_folder / PRIVATE
        folder.mkdir()
        self.table.to_csv(folder / _TABLE, index=False)
        (folder / _EMBEDDINGS).write_bytes(save({"embeddings": self.embeddings.float().contiguous()}))

    @classmethod
    def load(cls, model_folder: Path) -> TrainingPatients | None:
        """Read ``private/`` of a model folder; None where there is none.

        Raises
        ------
        ModelRefused
            It is damaged.
        """
        folder = model_folder / PRIVATE
        if not folder.is_dir():
            return None
        try:
            table = pd.read_csv(folder / _TABLE, dtype=dict.fromkeys(_TEXT, "string"))
            embeddings = load_file(folder / _EMBEDDINGS)["embeddings"]
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise ModelRefused(f"{folder} is damaged ({error}); get the model again, or remove that folder.") from error
        if embeddings.ndim != 3 or embeddings.shape[1] != len(table):
            raise ModelRefused(f"{folder} is damaged (embeddings of other patients); remove it.")
        return cls(table, embeddings)
