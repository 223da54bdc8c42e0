"""The shipped encoder of real blood cells: it is there, small, attributed, and gives the same numbers everywhere."""

from __future__ import annotations

import numpy as np

from napari_caltomorph.encoding import EncodeOptions, encode, find_encoder, find_weights, load_encoder
from napari_caltomorph.smear import smear_from_array

EXPECTED = (0.08475, 0.08722, 0.5430, 1.1394, 0.6176, 0.9032)  # Means of two cells, then features 1156 and 726


def drawn() -> np.ndarray:
    """A disc in a disc on a plain ground, twice: (2, 180, 180, 3), 45 micrometres wide."""
    rows, columns = np.indices((180, 180))
    cells = np.full((2, 180, 180, 3), (232, 214, 210), np.uint8)
    for cell, radius, nucleus in zip(cells, (26, 20), ((92, 60, 140), (70, 40, 110)), strict=True):
        distance = np.hypot(rows - 90, columns - 90)
        cell[distance < radius] = (190, 170, 205)
        cell[distance < 0.7 * radius] = nucleus
    return cells


def test_features_of_fixed_images_are_the_expected_ones():
    encoder = load_encoder(EncodeOptions(encoder="blood-lite", device="cpu", precision="float32"))
    values = encode(smear_from_array(drawn(), "p", 0.25), encoder=encoder).values
    assert values.shape == (2, 1280)
    np.testing.assert_allclose(
        [values[0].mean(), values[1].mean(), *values[:, 1156], *values[:, 726]], EXPECTED, rtol=2e-3
    )
    # What surrounds the centre 25 micrometres does not matter.
    others = drawn()
    others[:, :35] = 0
    np.testing.assert_array_equal(encode(smear_from_array(others, "p", 0.25), encoder=encoder).values, values)


def test_weights_are_small_and_their_card_names_source_and_licences():
    file = find_weights(find_encoder("blood-lite"))
    assert file.stat().st_size < 8e6
    card = file.with_suffix(".md").read_text(encoding="utf-8")
    for needed in ("CC BY 4.0", "10.17632/snkd93bnjr.1", "Acevedo", "Apache-2.0"):
        assert needed in card
