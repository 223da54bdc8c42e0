"""The classes that a model distinguishes. A class is shown by its name and written in files by its slug."""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib import resources
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$")]
Color = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class DetailedClass(BaseModel, frozen=True, extra="forbid"):
    """A diagnosis group such as CML; what test sets are stratified by (paper, section 2.2)."""

    slug: Slug
    name: str


class CoarseClass(BaseModel, frozen=True, extra="forbid"):
    """One of the classes that the model predicts."""

    slug: Slug
    name: str
    malignant: bool
    color: Color
    detailed: tuple[DetailedClass, ...]


class Taxonomy(BaseModel, frozen=True, extra="forbid"):
    """An ordered set of coarse classes; the order is that of a model's logits."""

    name: str
    classes: tuple[CoarseClass, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _nothing_is_shared(self) -> Taxonomy:
        detailed = [d for c in self.classes for d in c.detailed]
        for values in (self.slugs, self.names, [d.slug for d in detailed], [d.name for d in detailed]):
            if shared := [value for value, count in Counter(values).items() if count > 1]:
                raise ValueError(f"two classes are both called {shared[0]!r}")
        return self

    @property
    def slugs(self) -> list[str]:
        """Slugs in the order of the logits."""
        return [c.slug for c in self.classes]

    @property
    def names(self) -> list[str]:
        """Names in the order of the logits."""
        return [c.name for c in self.classes]

    @property
    def colors(self) -> list[str]:
        """Hex colours in the order of the logits."""
        return [c.color for c in self.classes]

    @property
    def is_malignant(self) -> NDArray[np.bool_]:
        """(C,) which classes count as malignant (paper, section 2.4)."""
        return np.array([c.malignant for c in self.classes])

    @property
    def reference(self) -> int | None:
        """Number of the class of patients in whom nothing is found; None where all classes or none are malignant.

        It is the last that is not malignant: healthy comes after reactive changes, which show cells of their own.
        """
        is_malignant = self.is_malignant
        return int(np.flatnonzero(~is_malignant)[-1]) if 0 < is_malignant.sum() < len(is_malignant) else None

    def malignancy(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the sum of the malignant classes' probabilities (..., C), at most 1: (...)."""
        return malignancy(probabilities, self.is_malignant)

    def coarse(self, slug: str) -> CoarseClass:
        """Return the coarse class with this slug; KeyError names the known ones."""
        for one in self.classes:
            if one.slug == slug:
                return one
        raise KeyError(f"{slug!r} is no class of {self.name}; it has {', '.join(self.slugs)}")


def malignancy(probabilities: NDArray[np.floating], is_malignant: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the malignancy (...) of probabilities (..., C) where (C,) classes are malignant (paper, section 2.4).

    It is at most 1: sums that differ from 1 by rounding are equal, and not an order of patients.
    """
    total: NDArray[np.float64] = probabilities[..., is_malignant].sum(axis=-1)
    return np.minimum(total, 1.0)


@cache
def caltomorph_taxonomy() -> Taxonomy:
    """The paper's 19 detailed and 8 coarse classes (figure 1C)."""
    text = resources.files(__package__).joinpath("caltomorph.json").read_text("utf-8")
    return Taxonomy.model_validate_json(text)
