"""What must hold when one patient's images are opened."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from napari_caltomorph.errors import LooksLikeCohort, SmearUnreadable, printable
from napari_caltomorph.smear import check_smear, patient_id, read_smear
from napari_caltomorph.smear.read import natural


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() in (".tif", ".tiff"):
        tifffile.imwrite(path, image, photometric="rgb")
    else:
        Image.fromarray(image).save(path)
    return path


def test_metafer_export_is_read_with_names_sizes_and_pixel_size(tmp_path, make_export, make_cell):
    smear = read_smear(make_export(tmp_path / "P 017", cells=12))
    assert smear.patient_id == "P 017"
    assert smear.path == tmp_path / "P 017"
    assert smear.cells == tuple(f"Gal-{i:06d}.RGB.TIF" for i in range(1, 13))
    assert smear.labels == (None,) * 12
    assert smear.canvas == (144, 144)
    assert smear.pixel_size_um == pytest.approx(25 / 144)
    assert smear.field_of_view_um == pytest.approx(25)
    assert (smear.image(2) == make_cell(3)).all()


@pytest.mark.parametrize("names", [("image_2.tif", "image_12.tif"), ("003.TIF", "0020.TIF"), ("a.tiff", "b.TIFF")])
def test_any_tiff_name_is_a_cell_in_natural_order(tmp_path, make_cell, names):
    for seed, name in enumerate(reversed(names)):
        save(tmp_path / name, make_cell(seed))
    assert read_smear(tmp_path).cells == names


@pytest.mark.parametrize(
    "name", ["cell.png", "cell.PNG", "cell.bmp", "cell.jpg", "cell.JPEG", "cell.jfif", "cell.jpe", "cell.webp"]
)
def test_png_bmp_jpeg_and_webp_are_read(tmp_path, make_cell, name):
    image = make_cell(0, 90, 120)
    save(tmp_path / name, image)
    smear = read_smear(tmp_path)
    assert smear.cells == (name,)
    assert smear.canvas == (90, 120)
    tolerance = 0 if name.lower().endswith(("png", "bmp")) else 12
    assert np.abs(smear.image(0).astype(int) - image).mean() <= tolerance


@pytest.mark.parametrize("suffix", [".tif", ".btf", ".tf8", ".jpg", ".png", ".bmp", ".webp"])
@pytest.mark.parametrize("kind", ["TIFF", "PNG", "BMP", "JPEG"])
def test_the_content_decides_the_format_and_not_the_name(tmp_path, make_cell, kind, suffix):
    Image.fromarray(make_cell(0)).save(tmp_path / f"a{suffix}", kind)
    assert np.abs(read_smear(tmp_path).image(0).astype(int) - make_cell(0)).mean() <= (12 if kind == "JPEG" else 0)


def test_stack_of_big_tiff_is_a_patient(tmp_path, make_cell, patients_in):
    cells = np.stack([make_cell(0), make_cell(1)])
    tifffile.imwrite(tmp_path / "P 1.ome.btf", cells, photometric="rgb", bigtiff=True)
    assert patients_in(tmp_path) == [tmp_path / "P 1.ome.btf"]
    smear = read_smear(tmp_path / "P 1.ome.btf")
    assert (smear.patient_id, len(smear)) == ("P 1", 2)
    assert (smear.image(1) == cells[1]).all()


def test_one_image_is_a_smear_of_one_cell(tmp_path, make_export):
    folder = make_export(tmp_path / "p", cells=2)
    smear = read_smear(folder / "Gal-000002.RGB.TIF")
    assert smear.cells == ("Gal-000002.RGB.TIF",)
    assert smear.patient_id == "Gal-000002"


def test_several_images_of_one_folder_are_one_smear_and_each_counts_once(tmp_path, make_export):
    folder = make_export(tmp_path / "p", cells=3)
    first, second = folder / "Gal-000001.RGB.TIF", folder / "Gal-000002.RGB.TIF"
    smear = read_smear([second, first, second])
    assert smear.cells == (first.name, second.name)
    assert smear.patient_id == "p"


def test_images_of_two_folders_are_refused(tmp_path, make_export):
    a, b = make_export(tmp_path / "a", cells=1), make_export(tmp_path / "b", cells=1)
    with pytest.raises(SmearUnreadable, match="2 folders"):
        read_smear([a / "Gal-000001.RGB.TIF", b / "Gal-000001.RGB.TIF"])


def test_a_list_of_one_folder_is_that_folder(tmp_path, make_export):
    assert len(read_smear([make_export(tmp_path / "p", cells=2)])) == 2


def test_pages_of_a_tiff_are_cells(tmp_path, make_cell):
    stack = np.stack([make_cell(i) for i in range(11)])
    tifffile.imwrite(tmp_path / "patient.7.tif", stack, photometric="rgb")
    smear = read_smear(tmp_path / "patient.7.tif")
    assert smear.patient_id == "patient.7"
    assert smear.cells[0] == "patient.7.tif#01"
    assert smear.cells[10] == "patient.7.tif#11"
    assert (np.stack([smear.image(i) for i in range(11)]) == stack).all()
    assert not check_smear(smear).left_out


def test_ome_tiff_gives_cells_and_pixel_size(tmp_path, make_cell):
    stack = np.stack([make_cell(i) for i in range(3)])
    metadata = {"axes": "TYXS", "PhysicalSizeX": 0.173, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(tmp_path / "p.ome.tif", stack, photometric="rgb", ome=True, metadata=metadata)
    smear = read_smear(tmp_path / "p.ome.tif")
    assert smear.patient_id == "p"
    assert len(smear) == 3
    assert smear.pixel_size_um == pytest.approx(0.173)
    assert (smear.image(2) == stack[2]).all()


def test_folder_with_one_stack_is_that_stack_which_is_opened_once(tmp_path, make_cell, monkeypatch):
    tifffile.imwrite(tmp_path / "s.tif", np.stack([make_cell(i) for i in range(3)]), photometric="rgb")
    opened, open_file = [], Path.open
    monkeypatch.setattr(Path, "open", lambda path, *options: opened.append(path) or open_file(path, *options))
    smear = read_smear(tmp_path)
    assert opened == [tmp_path / "s.tif"]
    assert len(smear) == 3
    assert smear.patient_id == tmp_path.name


def test_signed_slides_label_cells_and_unsigned_slides_do_not(tmp_path, make_cell):
    save(tmp_path / "Signed slides" / "Some new type" / "a.jpg", make_cell(0))
    save(tmp_path / "Signed slides" / "Lymphocyte, variant" / "b.jpg", make_cell(1))
    save(tmp_path / "Unsigned slides" / "c.jpg", make_cell(2))
    (tmp_path / "Unsigned slides" / "Thumbs.db").write_bytes(b"x")
    smear = read_smear(tmp_path)
    labels = dict(zip(smear.cells, smear.labels, strict=True))
    assert labels == {
        "Signed slides/Some new type/a.jpg": "Some new type",
        "Signed slides/Lymphocyte, variant/b.jpg": "Lymphocyte, variant",
        "Unsigned slides/c.jpg": None,
    }
    assert smear.passed_over == ("Unsigned slides/Thumbs.db",)


def test_folders_named_after_cell_types_label_cells(tmp_path, make_cell):
    for seed, name in enumerate(["segmented_neutrophil", "Myeloblasts", "PLASMA CELL"]):
        save(tmp_path / name / "1.png", make_cell(seed))
    smear = read_smear(tmp_path)
    assert set(smear.labels) == {"segmented_neutrophil", "Myeloblasts", "PLASMA CELL"}


def test_other_folders_next_to_the_cells_are_ignored(tmp_path, make_export):
    folder = make_export(tmp_path / "p", cells=5)
    make_export(folder / "thumbnails", cells=5)
    make_export(folder / "old", cells=5)
    (folder / "notes.csv").write_text("x")
    smear = read_smear(folder)
    assert len(smear) == 5
    assert set(smear.passed_over) == {"thumbnails", "old", "notes.csv"}


def test_folder_of_patients_is_refused_and_each_is_named(tmp_path, make_export):
    for name in ("p10", "p2", "p33"):
        make_export(tmp_path / name, cells=2)
    with pytest.raises(LooksLikeCohort, match=r"3 folders that look like patients \(first: p2\).*--each"):
        read_smear(tmp_path)


def test_a_folder_of_patients_with_an_image_next_to_them_is_no_smear(tmp_path, make_export, make_cell):
    for name in ("p1", "p2"):
        make_export(tmp_path / name, cells=2)
    save(tmp_path / "legend.png", make_cell(0))
    with pytest.raises(LooksLikeCohort):
        read_smear(tmp_path)


def test_cohort_of_classes_of_patients_is_refused_too(tmp_path, make_export):
    for name in ("aml/p1", "aml/p2", "mds/p3"):
        make_export(tmp_path / name, cells=1)
    with pytest.raises(LooksLikeCohort, match=f"3 folders.*{tmp_path} --each"):
        read_smear(tmp_path)


def test_folder_around_one_patient_is_that_patient(tmp_path, make_export):
    make_export(tmp_path / "outer" / "middle" / "patient", cells=3)
    (tmp_path / "outer" / "Thumbs.db").write_bytes(b"x")
    smear = read_smear(tmp_path / "outer")
    assert len(smear) == 3
    assert smear.cells[0] == "middle/patient/Gal-000001.RGB.TIF"
    assert smear.passed_over == ("Thumbs.db",)


def test_each_finds_folders_archives_and_stacks_in_natural_order(tmp_path, make_export, make_cell, patients_in):
    for name in ("p10", "p9"):
        make_export(tmp_path / name, cells=1)
    shutil.make_archive(str(tmp_path / "p8"), "zip", tmp_path / "p9")
    tifffile.imwrite(tmp_path / "p11.tif", np.stack([make_cell(0), make_cell(1)]), photometric="rgb")
    save(tmp_path / "overview.tif", make_cell(0))
    (tmp_path / "empty").mkdir()
    assert [p.name for p in patients_in(tmp_path)] == ["p8.zip", "p9", "p10", "p11.tif"]


def test_patient_is_named_by_its_folder_however_the_path_is_written(tmp_path, make_export, monkeypatch):
    folder = make_export(tmp_path / "p.1" / "inner", cells=1).parent
    monkeypatch.chdir(folder)
    assert read_smear(".").patient_id == "p.1"
    assert read_smear("inner/..").patient_id == "p.1"
    monkeypatch.chdir(folder / "inner")
    assert read_smear("..").patient_id == "p.1"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.zip", "a"), ("2023.04.12.tif", "2023.04.12"), ("s.ome.tiff", "s"), ("Gal-1.RGB.TIF", "Gal-1"), ("x.bmp", "x")],
)
def test_patient_is_named_by_its_file_without_the_ending(tmp_path, name, expected):
    (tmp_path / name).write_bytes(b"")
    assert patient_id(tmp_path / name) == expected


def test_images_of_different_sizes_share_a_canvas_that_a_whole_field_does_not_set(tmp_path, make_cell):
    save(tmp_path / "1.png", make_cell(0, 100, 90))
    save(tmp_path / "2.png", make_cell(1, 80, 120))
    save(tmp_path / "3.png", make_cell(2, 900, 1200))
    smear = read_smear(tmp_path)
    assert smear.canvas == (100, 120)
    assert smear.image(1).shape == (80, 120, 3)
    shown = smear.on_canvas(1)
    assert shown.shape == (100, 120, 3)
    assert (shown[10:90] == smear.image(1)).all()
    assert (shown[:10] == 255).all()
    assert (shown[90:] == 255).all()
    field = smear.on_canvas(2)
    assert field.shape == (100, 120, 3)
    assert (field[50, 60] != 255).any()


def test_a_whole_field_next_to_one_cell_does_not_set_the_canvas(tmp_path, make_cell):
    save(tmp_path / "1.png", make_cell(0, 60))
    save(tmp_path / "2.png", make_cell(1, 600))
    assert read_smear(tmp_path).canvas == (60, 60)


def test_reading_decodes_no_pixel(tmp_path, make_export):
    folder = make_export(tmp_path / "p", cells=3)
    for path in folder.iterdir():
        content = path.read_bytes()
        with tifffile.TiffFile(path) as tiff:
            start = tiff.pages[0].dataoffsets[0]
        path.write_bytes(content[: start + 10])
    smear = read_smear(folder)
    assert (len(smear), smear.canvas) == (3, (144, 144))


def test_smear_of_20_000_cells_opens_512_files_at_most(tmp_path, make_export):
    folder = make_export(tmp_path / "big", cells=1)
    first = folder / "Gal-000001.RGB.TIF"
    for number in range(2, 20_001):
        os.link(first, folder / f"Gal-{number:06d}.RGB.TIF")
    script = """
        import sys
        from napari_caltomorph.smear import read_smear
        opened = []
        sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
        smear = read_smear(sys.argv[1])
        print(len(smear), sum(name.startswith(sys.argv[1]) for name in opened))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(folder)]
    cells, opened = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(cells) == 20_000
    assert 0 < int(opened) <= 512


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(st.lists(NAMES | st.from_regex(r"[a-z]{0,2}0{0,2}[0-9]{1,3}\.tif", fullmatch=True), unique=True), st.randoms())
def test_natural_order_does_not_depend_on_the_order_of_listing(names, random):
    shuffled = list(names)
    random.shuffle(shuffled)
    assert sorted(names, key=natural) == sorted(shuffled, key=natural)


@given(st.sets(st.integers(0, 10**6)))
def test_natural_order_is_that_of_the_numbers(numbers):
    names = sorted((f"image_{n}.tif" for n in numbers), key=natural)
    assert names == [f"image_{n}.tif" for n in sorted(numbers)]


@given(st.binary().filter(lambda b: b"\0" not in b))
def test_printable_names_are_text_that_still_tells_every_byte(raw):
    name = printable(os.fsdecode(raw))
    name.encode()
    for byte in raw:
        if byte < 0x80:
            assert chr(byte) in name
    if raw.isascii():
        assert name == raw.decode()


@given(st.lists(st.integers(0x80, 0xBF), min_size=1))
def test_stray_continuation_bytes_become_percent_escapes(stray):
    assert printable(os.fsdecode(bytes(stray))) == "".join(f"%{byte:02X}" for byte in stray)
