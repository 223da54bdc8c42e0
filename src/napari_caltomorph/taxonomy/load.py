"""Where label books come from: shipped with the package, a JSON file of one's own, or the labels themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import resources
from itertools import chain, count, cycle
from pathlib import Path

from pydantic import ValidationError

from napari_caltomorph.errors import TaxonomyUnreadable, printable
from napari_caltomorph.taxonomy.classes import CoarseClass, DetailedClass, Taxonomy
from napari_caltomorph.taxonomy.labels import LabelBook
from napari_caltomorph.taxonomy.spelling import fold, key

SHIPPED_BOOKS = ("caltomorph", "aml-hehr", "apl-aml")

COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
"""Okabe and Ito's colours for all kinds of colour vision, with grey for their black, which a dark window hides."""


def load_book(name_or_path: str) -> LabelBook | None:
    """Return a label book, or None for ``"none"``.

    Parameters
    ----------
    name_or_path : str
        One of `SHIPPED_BOOKS`, ``"none"``, or a JSON file in the format of `LabelBook`.

    Raises
    ------
    TaxonomyUnreadable
        There is no such book, or the file is damaged, has another format, or gives one label to two classes.
    """
    if name_or_path == "none":
        return None
    if name_or_path in SHIPPED_BOOKS:
        file = resources.files(__package__).joinpath("books", f"{name_or_path}.json")
        return _parse(file.read_bytes(), name_or_path)
    try:
        return _parse(Path(name_or_path).read_bytes(), name_or_path)
    except (OSError, ValueError) as error:  # ValueError: no path at all, such as one with a null byte
        reason = getattr(error, "strerror", None) or error
        raise TaxonomyUnreadable(
            f"{name_or_path} is no taxonomy that can be read ({reason}); "
            f"give a JSON file, or one of {', '.join(SHIPPED_BOOKS)}, none."
        ) from error


def taxonomy_of_labels(labels: Iterable[str], name: str = "labels") -> LabelBook:
    """Return a book in which each label is a class; spellings of one label are one class, named by the first.

    Nothing tells which of them are malignant, so none counts as malignant. After eight, colours repeat.

    Raises
    ------
    TaxonomyUnreadable
        Fewer than two different labels.
    """
    spellings: dict[str, str] = {}
    for label in labels:
        if fold(label):  # what `match` takes for a blank is no class
            spellings.setdefault(key(label), " ".join(printable(label).split()))
    if len(spellings) < 2:
        raise TaxonomyUnreadable(
            f"Only one label ({next(iter(spellings.values()))}) is left; classes to tell apart need two."
            if spellings
            else "No patient has a label; choose the column that holds the diagnosis."
        )
    classes = tuple(
        CoarseClass(
            slug=slug, name=label, malignant=False, color=color, detailed=(DetailedClass(slug=slug, name=label),)
        )
        for slug, label, color in zip(_slugs(spellings), spellings.values(), cycle(COLORS), strict=False)
    )
    return LabelBook(taxonomy=Taxonomy(name=name, classes=classes))


def _parse(content: bytes, source: str) -> LabelBook:
    try:
        return LabelBook.model_validate_json(content.removeprefix(b"\xef\xbb\xbf"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        place = f"{source}, field {field}" if field else source
        raise TaxonomyUnreadable(f"{place}: {reason}. docs/taxonomies.md shows the format.") from error


def _slugs(names: dict[str, str]) -> Iterator[str]:
    """Yield a slug for each name (by its key), none of which could be taken for another name or slug."""
    taken: set[str] = set()
    for number, name in enumerate(names.values(), 1):
        stem = "_".join(re.findall("[a-z0-9]+", fold(name).replace("+", " plus "))) or f"class_{number}"
        candidates = chain([stem], (f"{stem}_{another}" for another in count(2)))
        slug = next(one for one in candidates if key(one) not in taken and names.get(key(one), name) == name)
        taken.add(key(slug))
        yield slug
