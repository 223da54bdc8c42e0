"""Every command that we advise can be typed: it names a verb that there is, with options that the verb has."""

from __future__ import annotations

import re
import shlex
from functools import cache

import pytest
from cyclopts import App
from tests.doc_blocks import FILES, PAGES, ROOT

from napari_caltomorph.cli.app import app


def whole_lines(text: str) -> list[str]:
    """The lines that are commands, those that a backslash continues in one."""
    text = re.sub(r"\\\n\s*", " ", text)
    return [line.strip() for line in text.splitlines() if re.match(r"(\$ |    )?caltomorph [a-z-]", line)]


def all_apps(one: App = app, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], App]:
    found = {words: one}
    for name in (name for name in one if not name.startswith("-")):
        found |= all_apps(one[name], (*words, name))
    return found


APPS = all_apps()
COMMON = {name for one in app.meta.assemble_argument_collection() for name in one.names} | {
    "--help",
    "--version",
    "--install-completion",
}


@cache
def options_of(verb: tuple[str, ...]) -> set[str]:
    if APPS[verb].default_command is None:
        return set()
    return {name for one in APPS[verb].assemble_argument_collection() for name in one.names}


def unknown_words(command: str) -> list[str]:
    """What in a command is neither a verb that we have nor an option of this verb."""
    words = shlex.split(command.removeprefix("$ "), comments=True)[1:]
    words = words[: words.index("|")] if "|" in words else words
    verb = next(verb for n in range(len(words), -1, -1) if (verb := tuple(words[:n])) in APPS)
    known = COMMON | options_of(verb)
    rest = words[len(verb) :]  # below a group of commands: a command that it lacks
    if APPS[verb].default_command is None and rest and not rest[0].startswith("-"):
        return rest
    flags = [word.partition("=")[0].rstrip(".,;") for word in rest if re.match(r"--?[a-z]", word)]
    return [flag for flag in flags if flag not in known]


@pytest.mark.parametrize("words", APPS, ids=" ".join)
def test_the_commands_of_a_help_page_are_complete(words):
    for command in whole_lines(f"{APPS[words].help}\n{APPS[words].help_epilogue or ''}"):
        command = re.sub(r" --config \S+", "", command)  # of every verb, and read before the verb
        app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", FILES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_have_known_options(page):
    """Those in its blocks, also in blocks that are not run, and those within a sentence."""
    commands = re.findall(r"`(caltomorph [a-z-][^`,]*)`", page.read_text("utf-8"))
    commands += [command for block in PAGES[page.name] for command in block.commands]
    assert {one: unknown for one in commands if (unknown := unknown_words(one))} == {}


def test_the_commands_in_our_sentences_have_known_options():
    source = "".join(path.read_text("utf-8") for path in sorted((ROOT / "src").rglob("*.py")))
    source = re.sub(r'"\n\s*f?"', "", source)  # one text over several lines
    commands = [one for one in re.findall(r"`(caltomorph [a-z][^`\n\"]*)`", source) if "{" not in one]
    assert len(commands) > 40
    assert {one: unknown for one in commands if (unknown := unknown_words(one))} == {}
