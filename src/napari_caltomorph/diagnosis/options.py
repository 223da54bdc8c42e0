"""What a person may choose about a prediction; the terminal's flags and the panel's fields are made from it."""

from __future__ import annotations

from pydantic import Field

from napari_caltomorph.encoding.options import ComputeOptions


class PredictOptions(ComputeOptions):
    """How a smear is diagnosed."""

    model: str = Field("demo", description="Model folder, or the name of an installed model.")
