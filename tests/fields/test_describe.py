"""What single-cell images show: one centred leukocyte, one at the side, or two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.fields.drawn import draw_field

from napari_caltomorph.cli.app import run
from napari_caltomorph.errors import FieldUnreadable, ScaleUnknown
from napari_caltomorph.fields import Verdict, describe_cells
from napari_caltomorph.smear import check_smear, smear_from_array

SHOWN = [[(20, 20)], [(20, 20)], [(20, 30)], [(12, 12), (28, 28)]]
WIDTH_UM = 40.0


@pytest.fixture(scope="module")
def images():
    return np.stack([draw_field(cells, size_um=(40, 40), seed=seed) for seed, cells in enumerate(SHOWN)])


@pytest.fixture(scope="module")
def smear(images):
    return check_smear(smear_from_array(images, "p"))


def test_each_image_has_its_verdict_and_sizes(smear):
    described = describe_cells(smear, WIDTH_UM)
    shown = [one.verdict for one in described.cells]
    assert shown == [Verdict.ONE, Verdict.ONE, Verdict.OFF_CENTRE, Verdict.SEVERAL]
    assert "2 one centred leukocyte" in described.in_words
    table = described.table.set_index("cell").loc[list(smear.cells)]
    assert table["nuclei"].tolist() == [1, 1, 1, 2]
    assert table["off_centre_um"].iloc[:3].tolist() == pytest.approx([0, 0, 10], abs=1.2)
    assert table["nucleus_um2"].iloc[0] == pytest.approx(np.pi * 4.2**2, rel=0.25)
    assert table["nucleus_share"].iloc[0] == pytest.approx((4.2 / 6.2) ** 2, abs=0.15)


def test_a_scale_is_needed_and_a_known_export_is_assumed(smear):
    with pytest.raises(ScaleUnknown, match="--field-of-view"):
        describe_cells(smear)
    named = replace(smear, cells=tuple(f"Gal-{i}.RGB.TIF" for i in range(len(smear))), canvas=(144, 144))
    assert "Metafer" in describe_cells(named).scale


def test_grey_images_are_refused(images):
    grey = check_smear(smear_from_array(images[..., 1:2].repeat(3, axis=-1), "p"))
    with pytest.raises(FieldUnreadable, match="grey"):
        describe_cells(grey, WIDTH_UM)


def test_the_terminal_prints_counts_and_writes_a_table(images, tmp_path, capsys):
    (tmp_path / "smear").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "smear" / f"{number}.png")
    out = tmp_path / "cells.csv"
    assert run(["describe", str(tmp_path / "smear"), "--field-of-view", "40", "--out", str(out)]) == 0
    assert "2 one centred leukocyte" in " ".join(capsys.readouterr().out.split())
    assert pd.read_csv(out)["in_view"].iloc[0] == Verdict.ONE
