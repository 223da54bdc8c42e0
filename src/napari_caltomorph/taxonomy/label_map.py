"""Which diagnosis labels belong to which class, and which say that a patient has no single one.

A label means something only as a whole, in any spelling (see `label_text`); nothing is guessed from a word within it.
Only where the whole means nothing are the words of the cleaning rules looked for, then two diagnoses in one label.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib import resources
from itertools import chain, count, cycle
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, field_validator, model_validator

from napari_caltomorph.errors import TaxonomyUnreadable, printable
from napari_caltomorph.reading import read_as
from napari_caltomorph.storage import StrPath
from napari_caltomorph.taxonomy.classes import CoarseClass, DetailedClass, Taxonomy, caltomorph_taxonomy
from napari_caltomorph.taxonomy.label_text import fold, key, lies_between, meanings_of_parts, other_orders, phrases

SHIPPED_LABEL_MAPS = ("caltomorph", "aml-hehr", "apl-aml")
"""Names that `load_label_map` takes, besides the path of a file."""

COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
"""Okabe and Ito's colours for all kinds of colour vision, with grey for their black, which a dark window hides."""

MatchKind = Literal["matched", "double", "follow_up", "unclear", "rare", "unknown"]
"""``matched`` to one class; ``double``: two diagnoses, or between two; ``follow_up``, ``unclear``, ``rare``: the label
says so; ``unknown``: nothing matches."""


@dataclass(frozen=True)
class Match:
    """What a label means."""

    kind: MatchKind
    # Slug of the detailed class; None too where the label names only the coarse one ("Lymphoma")
    detailed: str | None = None
    coarse: str | None = None  # Slug of the coarse class where there is exactly one
    classes: tuple[str, ...] = ()  # Of double diagnoses, the coarse classes, in the order of the taxonomy
    is_reordered: bool = False  # The label has the words of a known one in another order


class LabelMap(BaseModel, frozen=True, extra="forbid"):
    """The labels of each class of a taxonomy.

    Slugs and names of classes are labels by themselves, without being listed.
    """

    taxonomy: Taxonomy  # In JSON, ``"caltomorph"`` is the paper's
    # The labels of a class by its slug; that of a coarse class has the labels that do not name a detailed one
    labels: dict[str, tuple[str, ...]] = {}
    # Labels that name two diagnoses in one word ("MPN-BP"), with the slugs of the coarse classes
    double: dict[str, tuple[str, ...]] = {}
    rare: tuple[str, ...] = ()  # Labels of diseases that belong to no class
    # Words that say so, anywhere in a label ("in remission", "suspected")
    follow_up: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()

    @field_validator("taxonomy", mode="before")
    @classmethod
    def _shipped_taxonomy(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "caltomorph":
            raise ValueError(f'{value!r} is no taxonomy; write "caltomorph", or the classes themselves')
        return caltomorph_taxonomy() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _every_label_means_one_thing(self) -> LabelMap:
        detailed, coarse = self._detailed_matches, self._coarse_matches
        if stray := [slug for slug in self.labels if slug not in detailed and slug not in coarse]:
            raise ValueError(f"labels are given for {stray[0]!r}, which is no class of {self.taxonomy.name}")
        if stray := [slug for slugs in self.double.values() for slug in slugs if slug not in coarse]:
            raise ValueError(f"double names {stray[0]!r}, which is no coarse class of {self.taxonomy.name}")
        meanings: dict[str, tuple[str, str, Match]] = {}
        for label, where, match in self._entries():
            if not label.strip():
                raise ValueError(f"{where} has an empty label")
            before, there, meaning = meanings.setdefault(key(label), (label, where, match))
            if meaning != match:
                raise ValueError(f"{before!r} of {there} and {label!r} of {where} are the same label")
        return self

    def match(self, label: str) -> Match:
        """Return what a label means, whatever its case, hyphens, umlauts, punctuation and spaces."""
        folded = fold(label)
        if not folded:
            return Match("unclear")
        if whole := self._meanings.get(key(folded)):
            return whole
        for kind, markers in self._markers.items():
            if not markers.isdisjoint(phrases(folded, longest=max(map(len, markers), default=0))):
                return Match(kind)
        orders = {self._meanings[one] for one in other_orders(folded) if one in self._meanings}
        if len(orders) == 1:
            return replace(orders.pop(), is_reordered=True)
        return self._combined(folded)

    def _combined(self, folded: str) -> Match:
        parts = meanings_of_parts(folded, lambda part: self._meanings.get(key(part)))
        if not parts:
            return Match("unknown")
        if len(set(parts)) == 1 and not lies_between(folded):
            return parts[0]
        named = {slug for part in parts for slug in (*part.classes, part.coarse)}
        return Match("double", classes=tuple(slug for slug in self.taxonomy.slugs if slug in named))

    @cached_property
    def _meanings(self) -> dict[str, Match]:
        """What each whole label means, by its key."""
        return {key(label): match for label, _, match in self._entries()}

    @cached_property
    def _markers(self) -> dict[MatchKind, set[str]]:
        """Keys of the words that say how a case stands, in the order in which they are looked for."""
        return {"follow_up": {key(one) for one in self.follow_up}, "unclear": {key(one) for one in self.unclear}}

    @property
    def _coarse_matches(self) -> dict[str, Match]:
        """What the slug of a coarse class means; one with a single detailed class means that."""
        return {
            one.slug: Match("matched", one.detailed[0].slug if len(one.detailed) == 1 else None, one.slug)
            for one in self.taxonomy.classes
        }

    @property
    def _detailed_matches(self) -> dict[str, Match]:
        return {d.slug: Match("matched", d.slug, c.slug) for c in self.taxonomy.classes for d in c.detailed}

    def _entries(self) -> Iterator[tuple[str, str, Match]]:
        """Yield every label of the label map, where it is, and what it means."""
        coarse, detailed = self._coarse_matches, self._detailed_matches
        matches = coarse | detailed
        for c in self.taxonomy.classes:
            finer = [(label, d.slug, detailed[d.slug]) for d in c.detailed for label in (d.slug, d.name)]
            yield from finer
            taken = {key(label) for label, _, _ in finer}  # MDS is a detailed class too: that says more
            yield from ((label, c.slug, coarse[c.slug]) for label in (c.slug, c.name) if key(label) not in taken)
        for slug, labels in self.labels.items():
            yield from ((label, slug, matches[slug]) for label in labels)
        for label, slugs in self.double.items():
            ordered = tuple(slug for slug in self.taxonomy.slugs if slug in slugs)
            yield label, "double", Match("double", classes=ordered)
        for label in self.rare:
            yield label, "rare", Match("rare")
        for label in self.follow_up:
            yield label, "follow_up", Match("follow_up")
        for label in self.unclear:
            yield label, "unclear", Match("unclear")


def load_label_map(name_or_path: StrPath) -> LabelMap | None:
    """Return one of `SHIPPED_LABEL_MAPS` or a JSON file in the format of `LabelMap`; None for ``"none"``.

    Raises `TaxonomyUnreadable` where there is no such label map, or the file is damaged, has another format, or gives
    one label to two classes.
    """
    name_or_path = os.fspath(name_or_path)
    if name_or_path == "none":
        return None
    if name_or_path in SHIPPED_LABEL_MAPS:
        return _shipped(name_or_path)
    known = ", ".join(SHIPPED_LABEL_MAPS)
    fix = f"give a JSON file in the format of docs/taxonomies.md, or one of {known}, none"
    return read_as(LabelMap, Path(name_or_path), "a taxonomy", TaxonomyUnreadable, fix)


@cache
def _shipped(name: str) -> LabelMap:
    file = resources.files(__package__).joinpath("label_maps", f"{name}.json")
    return LabelMap.model_validate_json(file.read_bytes())


def taxonomy_of_labels(labels: Iterable[str], name: str = "labels") -> LabelMap:
    """Return a label map in which each label is a class; spellings of one label are one class, named by the first.

    Parameters
    ----------
    labels : iterable of str
    name : str
        Of the taxonomy.

    Returns
    -------
    LabelMap
        Which classes are malignant is unknown, so none counts as malignant. After eight, colours repeat.

    Raises
    ------
    TaxonomyUnreadable
        There are fewer than two different labels.
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
    return LabelMap(taxonomy=Taxonomy(name=name, classes=classes))


def _slugs(names: dict[str, str]) -> Iterator[str]:
    """Yield a slug for each name (by its key), none of which could be taken for another name or slug."""
    taken: set[str] = set()
    for number, name in enumerate(names.values(), 1):
        stem = "_".join(re.findall("[a-z0-9]+", fold(name).replace("+", " plus "))) or f"class_{number}"
        candidates = chain([stem], (f"{stem}_{another}" for another in count(2)))
        slug = next(one for one in candidates if key(one) not in taken and names.get(key(one), name) == name)
        taken.add(key(slug))
        yield slug
