"""Several smears through one encoder: each gets the features it gets alone, and a bad one only its own error."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from PIL import Image

from napari_caltomorph.encoding import encode
from napari_caltomorph.encoding.stream import encode_smears
from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.smear import open_place, read_smear
from napari_caltomorph.smear.process_reader import ProcessReader
from napari_caltomorph.smear.readers import Readers, SmearToRead, ThreadReader


@pytest.mark.parametrize("kind", [ThreadReader, ProcessReader])
def test_a_bad_patient_between_others_costs_only_itself(tmp_path, make_export, tiny, tiny_encoder, kind):
    names = ["first", "gone", "second", "empty", "third"]
    for name in ("first", "second", "third"):
        make_export(tmp_path / name, cells=19)
    (tmp_path / "second" / "repeat.tif").write_bytes(next((tmp_path / "second").glob("*.TIF")).read_bytes())
    (tmp_path / "empty").mkdir()
    Image.fromarray(np.full((50, 50, 3), 200, np.uint8)).save(tmp_path / "empty" / "white.png")

    wanted = [SmearToRead(name, partial(open_place, str(tmp_path / name))) for name in names]
    shares: dict[str | None, list[float]] = {}
    with Readers(wanted, [kind(), kind()]) as readers:
        stream = encode_smears(readers, tiny_encoder, 32, lambda key, share: shares.setdefault(key, []).append(share))
        found = {encoded.key: encoded for encoded in stream}

    assert sorted(found) == sorted(names)
    for name in ("first", "second", "third"):
        alone = encode(read_smear(tmp_path / name), tiny, encoder=tiny_encoder)
        together = found[name].by_cell()
        assert list(together) == list(alone.cells)
        assert np.allclose(np.stack(list(together.values())), alone.values, atol=1e-5)
        assert len(found[name].values) == 19  # a repeated cell is encoded once
        assert shares[name] == sorted(shares[name])
        assert shares[name][-1] <= 1
    for name in ("gone", "empty"):
        with pytest.raises(SmearUnreadable, match=name):
            found[name].graded()


def test_an_error_of_the_encoder_stops_all_readers(tmp_path, make_export, tiny_encoder):
    wanted = []
    for name in ("first", "second"):
        make_export(tmp_path / name, cells=19)
        wanted.append(SmearToRead(name, partial(open_place, str(tmp_path / name))))

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Readers(wanted, [ProcessReader(), ThreadReader()]) as readers:
        list(encode_smears(readers, tiny_encoder, 4, stop))
    assert not any(thread.is_alive() for thread in readers._threads)
    assert not readers._readers[0]._child or not readers._readers[0]._child.is_alive
