"""Make a release ready: check everything, build and try the package, and tag it. Nothing is uploaded.

CONTRIBUTING.md says what comes before and after.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]


def refusal(version: str, changelog: str, changed: str, tags: set[str], today: date) -> str | None:
    """Return why this version cannot be released, or None."""
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        return f"{version} is no version such as 0.2.0 or 0.2.0rc1."
    if f"v{version}" in tags:
        return f"The tag v{version} exists; choose the next version."
    if changed:
        return f"These files differ from the last commit; commit or remove them:\n{changed}"
    heading = f"## [{version}] - {today}"
    section = changelog.partition(f"{heading}\n")[2].partition("\n## [")[0]
    if not section.strip():
        return f"CHANGELOG.md has no section '{heading}' with text; turn 'Unreleased' into it."
    return None


def main() -> int:
    """Check, build, try and tag; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("version", help="such as 0.2.0")
    version = parser.parse_args().version
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    tags = set(_git("tag", "--list").split())
    if reason := refusal(version, changelog, _git("status", "--porcelain"), tags, date.today()):
        print(reason, file=sys.stderr)
        return 1
    for target in ("lint", "docs", "test"):
        subprocess.run(["make", target], cwd=ROOT, check=True)
    # The tag comes last, so that a failure leaves none.
    named = {**os.environ, "SETUPTOOLS_SCM_PRETEND_VERSION": version}
    subprocess.run([sys.executable, "scripts/check_package.py"], cwd=ROOT, env=named, check=True)
    _git("tag", "--annotate", f"v{version}", "--message", f"napari-caltomorph {version}")
    print(f"Tagged. Publish it with: git push origin main v{version}")
    return 0


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
