"""What must hold for feature files that others wrote, or that are damaged: none stops us, and none is read wrongly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from napari_caltomorph.encoding import Features, h5_reader
from napari_caltomorph.errors import FeaturesRefused
from napari_caltomorph.progress import Cancelled

VALUES = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)


def write(path: Path, **attributes: object) -> Path:
    with h5py.File(path, "w") as file:
        file["features"] = VALUES
        file.attrs.update(attributes)
    return path


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A file in which HDF5 loops for ever: its table of texts has an entry of no length."""
    path = write(tmp_path / "endless.h5", encoder="uni")
    content = bytearray(path.read_bytes())
    entry = content.find(b"GCOL") + 16 + 16 + 8  # after the header, and after the only text
    content[entry + 8 : entry + 16] = bytes(8)
    path.write_bytes(content)
    return path


def test_a_file_that_makes_hdf5_loop_is_refused_and_the_next_one_is_read(endless, tmp_path, monkeypatch):
    monkeypatch.setattr(h5_reader, "PATIENCE_SECONDS", 0.5)
    with pytest.raises(FeaturesRefused, match=r"endless\.h5 is damaged.*encode the patient again"):
        Features.load(endless)
    assert (Features.load(write(tmp_path / "p.h5")).values == VALUES).all()


def test_reading_can_be_cancelled_also_in_a_thread_while_hdf5_loops(endless, tmp_path):
    reports = iter(range(2))

    def cancel_the_third_time() -> None:
        if next(reports, None) is None:
            raise Cancelled

    with ThreadPoolExecutor(2) as threads:
        looping = threads.submit(Features.load, endless, waiting=cancel_the_third_time)
        good = threads.submit(Features.load, write(tmp_path / "p.h5"))
        assert (good.result(timeout=20).values == VALUES).all()
        with pytest.raises(Cancelled):
            looping.result(timeout=20)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_ends_a_program_whose_hdf5_loops(endless):
    script = """
        import sys
        from napari_caltomorph.encoding import Features
        Features.load(sys.argv[1], waiting=lambda: print("waiting", flush=True))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(endless)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "waiting\n"
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_the_reading_process_ends_with_ours_also_when_ours_is_killed(endless):
    script = """
        import sys
        from napari_caltomorph.encoding import Features, h5_reader
        h5_reader.PATIENCE_SECONDS = 0.5
        Features.load(sys.argv[1], waiting=lambda: print(h5_reader_pid(), flush=True))
    """
    pid = "import os\ndef h5_reader_pid(): return open(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read()\n"
    command = [sys.executable, "-c", pid + textwrap.dedent(script), str(endless)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        reader = Path("/proc", program.stdout.readline().strip())
        program.kill()
    deadline = time.monotonic() + 20
    while reader.exists() and (reader / "stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_reading_process_that_was_killed_is_replaced(tmp_path):
    path = write(tmp_path / "p.h5")
    Features.load(path)
    for process in h5_reader._idle:
        process._process.kill()
        process._process.wait()
    assert (Features.load(path).values == VALUES).all()


def test_changed_numbers_are_noticed_in_our_files(tmp_path):
    path, cells = tmp_path / "p.h5", tuple("abcde")
    Features("p", VALUES, cells).save(path)
    content = path.read_bytes()
    place = content.find(VALUES[2].tobytes())
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(FeaturesRefused, match=r"p\.h5"):  # HDF5's own checksum
        Features.load(path)
    Features("p", VALUES, cells).save(path)
    with h5py.File(path, "r+") as file:
        file["features"][2, 3] += 1
    with pytest.raises(FeaturesRefused, match=r"p\.h5 has changed since it was written"):
        Features.load(path)
    with h5py.File(path, "r+") as file:  # files of earlier versions have no checksum
        del file.attrs["content_sha256"]
    assert Features.load(path).values[2, 3] == VALUES[2, 3] + 1


@pytest.mark.parametrize(
    ("of_bag", "attribute", "encoder"),
    [
        (False, "encoder", "dinobloom-b"),
        (False, "extractor", "mahmood-uni"),
        (True, "encoder", "uni_v1"),
        (True, "encoder", np.bytes_("uni_v1")),
        (False, "extractor", np.array(["mahmood-uni"], dtype=h5py.string_dtype())),
        (False, "name", None),
        (False, "encoder", h5py.Empty("f")),
    ],
)
def test_the_encoder_is_known_from_where_any_software_names_it(tmp_path, of_bag, attribute, encoder):
    path = write(tmp_path / "p.h5")
    with h5py.File(path, "r+") as file:
        (file["features"] if of_bag else file).attrs[attribute] = "uni" if encoder is None else encoder
    known = None if encoder is None or isinstance(encoder, h5py.Empty) else np.asarray(encoder).astype(str).item()
    assert Features.load(path).origin.encoder == known


def external_link(file: h5py.File) -> None:
    file["features"] = h5py.ExternalLink("other.h5", "features")


def link_to_an_external_link(file: h5py.File) -> None:
    file["elsewhere"] = h5py.ExternalLink("other.h5", "features")
    file["features"] = h5py.SoftLink("/elsewhere")


def external_storage(file: h5py.File) -> None:
    file.create_dataset("features", (5, 8), "f4", external=[("secret", 0, 160)])


def virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((5, 8), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "features", (5, 8))
    file.create_virtual_dataset("features", layout)


def nothing_written(file: h5py.File) -> None:
    file.create_dataset("features", (10**9, 768), "f4")


def half_written(file: h5py.File) -> None:
    file.create_dataset("features", (8, 8), "f4", chunks=(4, 8))[:4] = 1


def memory_filler(file: h5py.File) -> None:
    bag = file.create_dataset("features", (2**27, 8), "f4", chunks=(2**24, 8), compression="gzip")
    for start in range(0, 2**27, 2**24):
        bag.id.write_direct_chunk((start, 0), b"small")


def empty_dataset(file: h5py.File) -> None:
    file["features"] = h5py.Empty("f4")


def objects(file: h5py.File) -> None:
    file.create_dataset("features", data=[["1", "2"]], dtype=h5py.string_dtype())


def ragged_rows(file: h5py.File) -> None:
    file.create_dataset("features", (2,), h5py.vlen_dtype(np.float32))[:] = [np.ones(3), np.ones(2)]


def names_of_cells_elsewhere(file: h5py.File) -> None:
    file["features"] = VALUES
    file["cells"] = h5py.ExternalLink("other.h5", "cells")


def endless_names_of_cells(file: h5py.File) -> None:
    file["features"] = VALUES
    file.create_dataset("cells", (10**9,), h5py.string_dtype())


@pytest.mark.parametrize(
    "make",
    [
        external_link,
        link_to_an_external_link,
        external_storage,
        virtual_dataset,
        nothing_written,
        half_written,
        memory_filler,
        empty_dataset,
        objects,
        ragged_rows,
        names_of_cells_elsewhere,
        endless_names_of_cells,
    ],
    ids=lambda make: make.__name__,
)
def test_what_is_not_a_whole_bag_in_this_file_is_refused(tmp_path, make):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["features"], file["cells"] = VALUES, list("abcde")
    (tmp_path / "secret").write_bytes(VALUES.tobytes())
    with h5py.File(tmp_path / "p.h5", "w") as file:
        make(file)
    with pytest.raises(FeaturesRefused, match=r"p\.h5"):
        Features.load(tmp_path / "p.h5")


def test_a_pipe_is_refused(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes in folders")
    os.mkfifo(tmp_path / "p.h5")
    with pytest.raises(FeaturesRefused, match=r"p\.h5 is a folder, a pipe or a device"):
        Features.load(tmp_path / "p.h5")


def test_a_file_open_for_writing_elsewhere_is_refused_and_one_open_for_reading_is_read(tmp_path):
    path = write(tmp_path / "p.h5")
    with h5py.File(path, "r+"), pytest.raises(FeaturesRefused, match=r"p\.h5 .*close it there"):
        Features.load(path)
    with h5py.File(path, "r"):
        assert (Features.load(path).values == VALUES).all()


def test_ids_of_patients_may_be_any_text(tmp_path):
    path = write(tmp_path / "Müller\n#1 “x”.h5")
    assert Features.load(path).patient_id == "Müller\n#1 “x”"
