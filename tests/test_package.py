"""What is published: the files, the page that PyPI makes of README.md, the citation, and where they say we are."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml
from scripts import check_package, release

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
OWNER_AND_NAME = PROJECT["urls"]["Repository"].removeprefix("https://github.com/")


def test_sdist_and_wheel_have_what_they_must_and_every_link_of_their_page_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SETUPTOOLS_SCM_PRETEND_VERSION", "9.8.7")
    sdist, wheel = check_package.build(tmp_path, "--no-isolation")
    assert sdist.name == "napari_caltomorph-9.8.7.tar.gz"
    assert check_package.problems(sdist, wheel) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](docs/method.md)", "not absolute"),
        ("![a](docs/images/why.png)", "not absolute"),
        (f"[a](https://github.com/{OWNER_AND_NAME}/blob/v1.0/docs/gone.md#part)", "leads nowhere"),
    ],
)
def test_a_link_that_does_not_work_on_pypi_is_found(text: str, problem: str):
    (found,) = check_package._problems_of_page(text, "1.0")
    assert problem in found


def test_all_files_name_the_same_repository():
    texts = [ROOT / "CITATION.cff", ROOT / "pyproject.toml", *ROOT.glob("*.md"), *ROOT.glob("recipe/*.yaml")]
    for folder in ("docs", ".github", ".napari-hub"):
        texts += (path for path in (ROOT / folder).rglob("*") if path.suffix in {".md", ".yml"})
    pattern = re.compile(r"(?:github|raw\.githubusercontent)\.com/([\w-]+/napari-caltomorph)\b")
    named = {(path.name, name) for path in texts for name in pattern.findall(path.read_text("utf-8"))}
    assert {name for _, name in named} == {OWNER_AND_NAME}
    assert {"CITATION.cff", "pyproject.toml"} <= {file for file, _ in named}


def test_the_citation_is_of_this_software_and_of_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert (citation["title"], citation["license"]) == (PROJECT["name"], PROJECT["license"])
    assert citation["repository-code"] == PROJECT["urls"]["Repository"]
    assert all(reference["title"] and reference["authors"] for reference in citation["references"])


def test_the_changelog_has_unreleased_changes_on_top_and_no_version_twice():
    versions = re.findall(r"^## \[([^\]]+)\](.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert versions[0] == ("Unreleased", "")
    assert len({version for version, _ in versions}) == len(versions)
    assert all(re.fullmatch(r" - \d{4}-\d\d-\d\d", date) for _, date in versions[1:])


def test_the_conda_recipe_needs_what_the_package_needs():
    recipe = yaml.safe_load((ROOT / "recipe/recipe.yaml").read_text("utf-8"))
    conda_names = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
    needed = [re.match(r"([\w.-]+)(.*)", one).groups() for one in PROJECT["dependencies"]]
    assert recipe["requirements"]["run"][1:] == [f"{conda_names.get(name, name)} {bound}" for name, bound in needed]


TODAY = date(2027, 3, 1)
CHANGES = "## [Unreleased]\n\n## [0.2.0] - 2027-03-01\n\nText.\n\n## [0.1.0] - 2026-12-01\n"
READY = ("0.2.0", CHANGES, "", {"v0.1.0"}, TODAY)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (0, "v0.2", "no version"),
        (1, CHANGES.replace("Text.", ""), "no section"),
        (1, CHANGES.replace("2027", "2026"), "no section"),
        (2, " M README.md", "README.md"),
        (3, {"v0.2.0"}, "exists"),
    ],
)
def test_what_is_not_ready_is_not_released(place: int, value: object, reason: str):
    assert release.refusal(*READY) is None
    refusal = release.refusal(*READY[:place], value, *READY[place + 1 :])
    assert refusal is not None
    assert reason in refusal
