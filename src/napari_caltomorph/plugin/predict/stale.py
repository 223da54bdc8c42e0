"""Whether a result still belongs to what is chosen: another patient's numbers must not pass for this one's."""

from __future__ import annotations

from napari_caltomorph.diagnosis import ModelDescription, Prediction
from napari_caltomorph.plugin.widgets.parts import plain
from napari_caltomorph.smear import Smear


def stale_note(prediction: Prediction | None, smear: Smear | None, model: ModelDescription | None) -> str:
    """Say, in HTML, whose result is shown and what is chosen otherwise; empty where nothing else is chosen."""
    if prediction is None:
        return ""
    changed = []
    if smear is not None and _is_other(smear, prediction):
        changed.append("smear")
    elif smear is not None and smear.grades is not None and _used(smear) != set(prediction.cells):
        changed.append("choice of cells")
    if model is not None and _is_other_model(model, prediction):
        changed.append("model")
    if not changed:
        return ""
    others = " and another ".join(changed)
    return f"<b>Below is the result of {plain(prediction.patient_id)}; another {others} is chosen. Predict again.</b>"


def _is_other(smear: Smear, prediction: Prediction) -> bool:
    if smear.grades is None:
        return smear.patient_id != prediction.patient_id
    return smear.fingerprint != prediction.smear_fingerprint


def _is_other_model(model: ModelDescription, prediction: Prediction) -> bool:
    # The threshold may be edited, and is in no fingerprint.
    return model.fingerprint != prediction.model_fingerprint or model.threshold != prediction.threshold


def _used(smear: Smear) -> set[str]:
    return {smear.cells[i] for i in smear.usable}
