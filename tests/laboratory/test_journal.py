"""A file of records keeps every record that was written, whatever happens to process, disk and the next line."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from napari_caltomorph.errors import DiskFull, JournalUnreadable, OutputRefused
from napari_caltomorph.laboratory import Journal


class Note(BaseModel, frozen=True):
    schema_version: Literal[1] = 1
    text: str


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "made" / "notes.jsonl", Note)


def test_records_are_read_in_the_order_in_which_they_were_written(journal):
    assert journal.read().records == ()
    journal.append(Note(text="one\nwith a line break"), Note(text="two"))
    journal.append(Note(text="drei: ü"))
    content = journal.read()
    assert [note.text for note in content.records] == ["one\nwith a line break", "two", "drei: ü"]
    assert content.problems == ()


@given(cut=st.integers(1, 60))
def test_a_torn_line_is_reported_and_costs_no_other_record(tmp_path_factory, cut):
    journal = Journal(tmp_path_factory.mktemp("torn") / "notes.jsonl", Note)
    journal.append(Note(text="first"), Note(text="ü" * 20))
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-cut])
    journal.append(Note(text="later"))
    content = journal.read()
    is_whole = cut == 1  # only the line's end is missing
    assert [note.text for note in content.records] == ["first", *["ü" * 20] * is_whole, "later"]
    assert len(content.problems) == (not is_whole)
    assert all("line 2" in problem and str(journal.path) in problem for problem in content.problems)


def test_many_writers_lose_nothing(journal):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: journal.append(Note(text=str(number))), range(100)))
    assert sorted(int(note.text) for note in journal.read().records) == list(range(100))


def test_a_record_of_a_newer_version_is_refused(journal):
    journal.append(Note(text="one"))
    journal.path.write_text(journal.path.read_text().replace('"schema_version":1', '"schema_version":2'))
    with pytest.raises(JournalUnreadable, match="version 2"):
        journal.read()


def test_a_full_disk_leaves_the_file_as_it_was(journal, monkeypatch):
    journal.append(Note(text="one"))
    write = os.write

    def full(file: int, text: bytes) -> int:
        if b"two" in text:
            return write(file, text[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DiskFull, match=r"notes\.jsonl"):
        journal.append(Note(text="two"))
    monkeypatch.undo()
    content = journal.read()
    assert ([note.text for note in content.records], content.problems) == (["one"], ())


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputRefused, match="could not be written"):
        Journal(tmp_path / "file" / "notes.jsonl", Note).append(Note(text="one"))
