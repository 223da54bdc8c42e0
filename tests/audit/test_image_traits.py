"""Traits of images: the border, the colours, and which images count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.audit.factories import (
    DARK,
    PALE,
    QUICKER,
    a_cell,
    cohort_of,
    halves,
)

from napari_caltomorph.audit.image_traits import image_traits
from napari_caltomorph.audit.run import audit_of_traits
from napari_caltomorph.errors import CellUnreadable, SmearUnreadable
from napari_caltomorph.smear import Smear, smear_from_array
from napari_caltomorph.smear.image_traits import border_traits, colour_traits
from napari_caltomorph.smear.sources import ArraySource
from napari_caltomorph.synthetic import synthesize_patient


def test_what_is_inside_the_frame_cannot_leak_into_the_border() -> None:
    image = a_cell()
    painted = image.copy()
    painted[17:-17, 17:-17] = np.random.default_rng(0).integers(0, 256, size=(110, 110, 3))
    assert border_traits(painted) == border_traits(image)
    assert colour_traits(painted) != colour_traits(image)


def test_a_cell_at_the_border_is_masked() -> None:
    # Glass all around: which red cells a nucleus hides would matter as well.
    image = np.random.default_rng(0).normal((250, 227, 203), 2, (144, 144, 3)).clip(0, 255).astype(np.uint8)
    painted = image.copy()
    painted[40:100, :60] = (95, 60, 140)  # a nucleus; no red cell is that blue
    before, after = border_traits(image), border_traits(painted)
    assert after.pop("grain") == pytest.approx(before.pop("grain"), rel=0.1)
    assert after == pytest.approx(before, abs=0.02)
    assert colour_traits(painted)["red mean"] > colour_traits(image)["red mean"] + 0.05


def test_stain_and_background_are_seen_in_the_border() -> None:
    patient = synthesize_patient("cll", cells=1, seed=1)
    pale, dark = (border_traits(replace(patient, stain=stain).image(0, 144)) for stain in (PALE, DARK))
    assert all(dark[f"{channel} 0.5"] > pale[f"{channel} 0.5"] for channel in ("red", "green", "blue"))


def test_a_border_of_cells_and_a_tiny_image_give_no_background() -> None:
    image = np.full((60, 60, 3), (250, 235, 215), dtype=np.uint8)
    image[:, 5:] = (95, 60, 140)
    assert border_traits(image) == {}
    assert border_traits(image[:4, :4]) == {}


def test_percentiles_of_density_are_those_of_numpy() -> None:
    image = a_cell()
    density = -np.log10((image[..., 1].astype(float) + 1) / 256)
    result = colour_traits(image)
    assert result["green mean"] == pytest.approx(density.mean())
    assert result["green spread"] == pytest.approx(density.std())
    for share in (0.05, 0.5, 0.95):
        assert result[f"green {share:g}"] == pytest.approx(np.quantile(density, share, method="nearest"), abs=1e-3)


def test_whole_fields_and_repeats_are_not_measured_and_patients_without_images_are_reported() -> None:
    cells = np.stack([a_cell(), a_cell()])
    smears = {"p000": smear_from_array(cells, "p000"), "p001": smear_from_array(cells[:1], "p001")}

    def open_smear(patient: str) -> Smear:
        if patient == "p002":
            raise SmearUnreadable("p002: nothing there.")
        return smears[patient]

    table = cohort_of(["lymphoma"] * 3).table
    result = image_traits(table, open_smear=open_smear)
    assert result.unreadable == {"p002": "p002: nothing there."}
    assert result.borders.loc["p000"].to_dict() == result.borders.loc["p001"].to_dict()
    assert result.borders.loc["p002"].isna().all()
    assert result.sizes.loc["p000", "height"] == 144


class OneIsBroken(ArraySource):
    """Cells in memory, of which the first cannot be decoded."""

    def image(self, index: int) -> NDArray[np.uint8]:
        if index == 0:
            raise CellUnreadable("cell 0 is broken")
        return super().image(index)


def test_unreadable_images_are_counted_and_reported() -> None:
    cells = np.stack([a_cell(), a_cell()[::-1], a_cell()[:, ::-1]])
    cohort = cohort_of(halves(20))
    broken = replace(smear_from_array(cells, "p003"), source=OneIsBroken(cells))
    result = image_traits(
        cohort.table, open_smear=lambda patient: broken if patient == "p003" else smear_from_array(cells, patient)
    )
    assert result.passed_over == {"p003": 1}
    assert result.unreadable == {}
    notes = " ".join(audit_of_traits(cohort, result, QUICKER).notes)
    assert "1 single images of 1 patients could not be read and were left out (first: p003)" in notes
