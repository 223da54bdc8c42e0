"""What was judged, on whom, and with which versions: an evaluation carries it wherever it goes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt

from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.evaluation.leakage import Check


class Provenance(BaseModel):
    """What was judged, on whom, and with which versions.

    Attributes
    ----------
    training_check
        Whether patients that the model was trained on could be looked for.
    training_recipe
        ``"paper"`` stops each member on its own fold, which makes out-of-fold numbers optimistic.
    cohort_fingerprint
        SHA-256 over ids, labels and smears of the judged patients.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    model_name: str
    model_fingerprint: str
    model_synthetic: bool
    members: NonNegativeInt
    calibration: Calibration | None
    threshold: Threshold
    encoder: str | None
    encoder_weights_sha256: str | None
    training_cohort: str
    training_recipe: str
    training_check: Check
    cohort_name: str
    cohort_source: str
    cohort_layout: str
    cohort_fingerprint: str
    cohort_left_out: dict[str, int]
    cohort_notes: tuple[str, ...]
    device: str
    seconds: NonNegativeFloat
    created: str
    library_versions: dict[str, str]
