"""Listing and downloading from a local server of the Hub's protocol: whole and right, resumed, or one sentence."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.hub_server import Hub
from tests.stopping import Cancels

from napari_caltomorph.errors import DiskFull, DownloadRefused
from napari_caltomorph.hub import Listing, Repository, downloaded, is_address, list_files, upload
from napari_caltomorph.progress import Cancelled

NAME = "ours/things"
LARGE = bytes(range(256)) * 4000
BLOCK = 2**16  # What a transfer that breaks off may lose


@pytest.fixture(autouse=True)
def hub(hub: Hub) -> Hub:
    hub.repositories[NAME] = {"a/one.h5": LARGE, "a/two.h5": LARGE[::-1], "README.md": b"a page\n" * 20}
    return hub


def listing(under: str = "") -> Listing:
    return list_files(Repository(NAME), under)


def contents(found: Listing) -> dict[str, bytes]:
    with downloaded(found, found.files) as paths:
        return {name: path.read_bytes() for name, path in paths.items()}


def kept(home: Path) -> list[Path]:
    return [path for path in (home / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("hf://a/b", Repository("a/b")),
        ("hf://models/a/b@v1", Repository("a/b", "model", "v1")),
        ("hf://datasets/a/b.c@refs/pr/1", Repository("a/b.c", "dataset", "refs/pr/1")),
    ],
)
def test_an_address_names_a_repository(address, expected):
    assert is_address(address)
    assert Repository.at(address) == expected


@pytest.mark.parametrize("address", ["hf://a", "hf://a/b/c", "hf://../b", "hf://a/b@", "hf://a/b c", "hf://spaces/a/b"])
def test_what_is_no_address_is_refused_with_the_form(address):
    with pytest.raises(DownloadRefused, match="hf://OWNER/NAME"):
        Repository.at(address)


def test_files_arrive_whole_and_leave_no_cache(hub, home):
    found = listing()
    assert (found.commit, found.licence) == (hub.commit(NAME), "apache-2.0")
    assert contents(found) == hub.repositories[NAME]
    assert kept(home) == []
    assert [one.name for one in listing("a").files] == ["a/one.h5", "a/two.h5"]
    assert listing("b").files == ()


def test_a_transfer_that_breaks_off_continues_in_the_same_run(hub):
    hub.cut_after = [6 * BLOCK, 11 * BLOCK]
    assert contents(listing("a"))["a/one.h5"] == LARGE
    assert sorted(hub.ranges()) == sorted(["", "", f"bytes={6 * BLOCK}-", f"bytes={11 * BLOCK}-"])


def test_what_arrived_is_kept_for_the_next_run_and_not_asked_again(hub, home):
    found = listing("a")
    hub.cut_after = [6 * BLOCK] + [0] * 99
    with pytest.raises(DownloadRefused, match="it continues where it stopped"):
        contents(found)
    assert sum(path.stat().st_size for path in kept(home)) == 6 * BLOCK
    hub.cut_after, hub.asked = [], []
    assert contents(found) == {name: hub.repositories[NAME][name] for name in ("a/one.h5", "a/two.h5")}
    assert set(hub.ranges()) == {"", f"bytes={6 * BLOCK}-"}
    assert kept(home) == []


def test_an_error_of_the_block_keeps_complete_files(hub, home):
    found = listing("a")
    with suppress(KeyError), downloaded(found, found.files):
        raise KeyError
    hub.asked = []
    contents(found)
    assert hub.asked == []


@pytest.mark.parametrize("file", ["a/one.h5", "README.md"])
def test_wrong_bytes_are_refused_and_not_kept(hub, home, file):
    hub.wrong = {file}
    found = listing()
    wrong = next(one for one in found.files if one.name == file)
    with pytest.raises(DownloadRefused, match="another file"), downloaded(found, [wrong]):
        pass
    assert kept(home) == []


def test_a_cancelled_download_ends_at_once_while_the_server_is_silent(hub, home):
    hub.flow.clear()
    found, begun = listing(), threading.active_count()
    start = time.monotonic()
    with pytest.raises(Cancelled), downloaded(found, found.files, progress=Cancels(lambda now: now.done)):
        pass
    assert time.monotonic() - start < 9  # the server would have been silent for 20 s
    hub.flow.set()
    assert contents(found) == hub.repositories[NAME]
    assert threading.active_count() <= begun + 8  # the server's own
    assert kept(home) == []


@pytest.mark.parametrize(
    ("name", "revision", "words"),
    [
        ("ours/nothing", "main", ["ours/nothing", "check the name", "hf auth login"]),
        ("ours/gated", "main", ["ours/gated", "conditions", "hf auth login"]),
        (NAME, "v9", ["v9"]),
    ],
)
def test_what_the_hub_refuses_says_what_to_do(hub, name, revision, words):
    hub.repositories["ours/gated"], hub.gated = {}, {"ours/gated"}
    with pytest.raises(DownloadRefused) as caught:
        list_files(Repository(name, revision=revision))
    assert all(word in str(caught.value) for word in words)


def test_a_login_page_is_no_answer_of_the_hub(hub):
    hub.page = b"<html>Please log in to the guests' network</html>"
    with pytest.raises(DownloadRefused, match="login page"):
        listing()


def test_without_a_network_or_through_a_broken_proxy_one_sentence_says_so(hub, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
    found = listing()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, nobody)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    with pytest.raises(DownloadRefused, match=r"proxy.*HTTPS_PROXY"):
        contents(found)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_ENDPOINT", nobody)
    with pytest.raises(DownloadRefused, match=r"cannot be reached.*check the network"):
        listing()


def test_a_disk_that_is_too_small_is_found_before_anything_is_downloaded(hub, home):
    found = listing("a")
    huge = [type(one)(one.name, one.url, 10**18, one.checksum) for one in found.files]
    with pytest.raises(DiskFull, match="free some space"), downloaded(found, huge):
        pass
    assert hub.ranges() == []
    assert kept(home) == []


def test_nothing_is_uploaded_without_a_token_that_may_write(hub, tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    with pytest.raises(DownloadRefused, match="hf auth login"):
        upload(tmp_path, Repository("me/mine"))
    assert not any(method == "POST" for method, *_ in hub.asked)
    monkeypatch.setenv("HF_TOKEN", "hf_reads")
    with pytest.raises(DownloadRefused, match="hf auth login"):
        upload(tmp_path, Repository("me/mine"))
    monkeypatch.setenv("HF_TOKEN", "hf_writes")
    assert upload(tmp_path, Repository("me/mine")) == f"{hub.address}/me/mine"
    assert hub.repositories["me/mine"] == {"README.md": b"---\nlicense: mit\n---\n"}
