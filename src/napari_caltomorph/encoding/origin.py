"""How features were made: what is kept with them, and must be the same where they are used together."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class FeatureOrigin:
    """How features were made. None where a file from elsewhere does not say."""

    # Which network, and the sum of its weights
    encoder: str | None = None
    weights_sha256: str | None = None
    preprocessing: str | None = None
    precision: str | None = None
    smear_fingerprint: str | None = None  # `Smear.fingerprint`
    quality_rules: str | None = None  # Version of the rules that chose the cells
    field_of_view_um: float | None = None  # Width of a cell's image, in micrometres
    library_version: str | None = None  # Of napari-caltomorph

    def matches(self, other: FeatureOrigin) -> bool:
        """Whether both were made in the same way; the library's version may differ."""
        mine, others = asdict(self), asdict(other)
        return all(mine[key] == others[key] for key in mine if key != "library_version")


UNKNOWN = FeatureOrigin()
