"""A differential count: the cells of one smear by type, with two errors.

The counting error comes from the sample: some hundred cells of all the blood. The classifier error comes from cells
that the probe calls wrongly; the confusion of its cross-validation corrects the counts, and gives the error of this
correction. The interval of a share contains both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.differential.cell_types import GROUPS, OTHER, cell_type, in_reading_order
from napari_caltomorph.differential.corrected_count import DRAWS, corrected_counts
from napari_caltomorph.statistics.interval import TAILS, Interval, proportion

ALL_BLASTS = "all blasts"
_SMALLEST_SHOWN = 0.01  # Of a type that no cell is called
_FEWEST = 30  # Leukocytes: of 30, one half is 33 to 67 % of the blood
_UNTYPED = 0.5  # Share of `OTHER` above which a smear is said not to be typeable


@dataclass(frozen=True)
class Share:
    """A share of the leukocytes, 0 to 1, with 95 % intervals; of cells that are none, a ratio to them."""

    cells: int  # Cells of the type, as called by the probe or labelled by hand
    called: float  # Their share, uncorrected
    value: float  # The share corrected for what the probe confuses
    # Of the share in the patient's blood: counting and classifier error together
    low: float
    high: float
    # Of the share among these cells: classifier error alone. It has no width where all cells are labelled by hand.
    classifier: tuple[float, float]
    counting: tuple[float, float]  # Of the uncorrected share in the blood, had the probe made no error (Wilson 1927)

    @property
    def in_words(self) -> str:
        """E.g. ``"62.1 % (48.0 to 74.9)"``."""
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


class Row(NamedTuple):
    """A line of a differential as it is shown."""

    name: str  # Of a type, of several together, or `ALL_BLASTS`
    share: Share
    is_counted: bool
    is_part: bool = False  # Whether the line above it that is none has its cells too

    @property
    def label(self) -> str:
        """The name as it is shown; that of a part follows from the line above it."""
        return self.name.removesuffix(" neutrophil") if self.is_part else self.name


@dataclass(frozen=True)
class Differential:
    """The cells of one smear by type.

    Nucleated red cells, smudge cells, platelets and artefacts are in no denominator: a differential is of leukocytes,
    and what is not is given for each 100 of them, as the clinic counts nucleated red cells. Smudge cells that are burst
    lymphocytes, as in chronic lymphocytic leukemia, can be labelled so.

    `OTHER` cells are in the denominator: in leukemia most are leukocytes, such as blasts, and without them the shares
    of all other types would be too large. A person who looks at them and labels the artefacts takes these out of it.
    """

    # The smear of the cells, and the probe that called them
    patient_id: str
    smear_fingerprint: str | None
    probe_fingerprint: str
    # The probe's (`ProbeDescription.calls`): its K types, `OTHER` among them; true by called type; correlation
    types: tuple[str, ...]
    confusion: tuple[tuple[float, ...], ...] = field(repr=False)
    correlation: tuple[float, ...] = field(repr=False)
    # The N cells, the type that the probe calls each, and its probability, which is not a number for `OTHER`
    cells: tuple[str, ...] = field(repr=False)
    called: tuple[str, ...] = field(repr=False)
    certainty: tuple[float, ...] = field(repr=False)
    distance: tuple[float, ...] = field(repr=False)  # To the nearest type; `OTHER` above 1
    by_hand: Mapping[str, str] = field(repr=False)  # Cell -> its type as labelled by a person
    false_other: float | None  # Share of cells of learnt types that the probe calls `OTHER`, on held-out cells
    probe_warnings: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()  # `FeatureOrigin.assumptions`

    def __len__(self) -> int:
        return len(self.cells)

    @cached_property
    def cell_types(self) -> tuple[str, ...]:
        """(N,) type of each cell: as labelled by hand, else as the probe calls it."""
        return tuple(self.by_hand.get(cell, called) for cell, called in zip(self.cells, self.called, strict=True))

    @cached_property
    def all_types(self) -> tuple[str, ...]:
        """The probe's types and those that only occur by hand, in the order of a differential."""
        return in_reading_order({*self.types, *self.by_hand.values()})

    @property
    def warnings(self) -> tuple[str, ...]:
        """What limits this count: of this smear first, then of every count of the probe."""
        return (*self.smear_warnings, *self.probe_warnings)

    @cached_property
    def smear_warnings(self) -> tuple[str, ...]:
        """What is unusual about the cells of this smear."""
        warnings = list(self.assumptions)
        others = self.cell_types.count(OTHER)
        if others > _UNTYPED * len(self):
            warnings.append(
                f"{others:,} of {len(self):,} cells are unlike every type that the probe learnt, so this smear cannot "
                "be typed: check the width of the images, their stain and that each shows one cell; if all are right, "
                "look at these cells, which may be blasts"
            )
        if self.leukocytes < _FEWEST:
            warnings.append(
                f"{self.leukocytes} leukocytes are no differential: count {_FEWEST} at least, and 100 to 200 where "
                "the smear has them"
            )
        if unseen := [name for name in in_reading_order(set(self.by_hand.values())) if name not in self.types]:
            warnings.append(f"only labelled cells are counted of what the probe never saw: {', '.join(unseen)}")
        return tuple(warnings)

    @cached_property
    def blasts(self) -> Share | None:
        """Blasts of any lineage and promonocytes. In APL promyelocytes count as well: `share_of` takes any types.

        None where the probe never saw one, and a person has not labelled all cells: some may be called another type.
        """
        if not any(cell_type(name).is_blast for name in self.types) and len(self.by_hand) < len(self):
            return None
        return self.share_of(*(name for name in self.all_types if cell_type(name).is_blast))

    @property
    def blasts_in_words(self) -> str:
        """E.g. ``"30.6 % (21.7 to 40.3)"``."""
        return "not counted; this probe never saw one" if self.blasts is None else self.blasts.in_words

    @property
    def leukocytes(self) -> int:
        """Cells in the denominator, as they are called."""
        return sum(cell_type(name).is_counted for name in self.cell_types)

    def share_of(self, *types: str) -> Share:
        """Return the share of some types together; for a type that is no leukocyte, its ratio to the leukocytes."""
        is_meant = np.array([name in types for name in self.all_types])
        is_rest = np.array([cell_type(name).is_counted for name in self.all_types]) & ~is_meant
        is_ratio = bool(types) and not any(cell_type(name).is_counted for name in types)
        shown = np.array([self._counts[name] for name in self.all_types])
        cells, others = int(shown[is_meant].sum()), int(shown[is_rest].sum())
        true, rest = self._draws[:, is_meant].sum(axis=1), self._draws[:, is_rest].sum(axis=1)
        in_smear = true / np.maximum(true + rest, 1)
        # The shares' Jeffreys posterior, of counts that are themselves sampled: both errors, one after the other.
        in_blood = np.random.default_rng(1).beta(true + 0.5, rest + 0.5)
        share = proportion(cells, cells + others) if cells + others else Interval(0.0, 0.0, 1.0)
        called, counting = share.value, np.array([share.low, share.high])
        if is_ratio:
            in_smear, in_blood = true / np.maximum(rest, 1), _odds(in_blood)
            called, counting = cells / max(others, 1), _odds(counting)
        classifier, both = np.quantile(in_smear, TAILS), np.quantile(in_blood, TAILS)
        return Share(
            cells=cells,
            called=float(called),
            value=float(in_smear.mean()),
            # Of none or all of the cells, Jeffreys' interval leaves out the bound itself (Brown, Cai, DasGupta 2001).
            low=float(min(both[0], classifier[0])),
            high=float(max(both[1], classifier[1])),
            classifier=_pair(classifier),
            counting=_pair(counting),
        )

    @cached_property
    def shown_rows(self) -> tuple[Row, ...]:
        """The types worth showing, with those that are given together; what is no leukocyte comes last."""
        shares = {name: self.share_of(name) for name in self.all_types}
        shown = [name for name, share in shares.items() if share.cells or share.value >= _SMALLEST_SHOWN]
        counted = [name for name in shown if cell_type(name).is_counted]
        rows = []
        for together, types in GROUPS.items():
            if len(parts := [name for name in counted if name in types]) > 1:
                place = counted.index(parts[0])
                counted[place : place + len(parts)] = [together]
                shares[together] = self.share_of(*parts)
        for name in counted:
            rows.append(Row(name, shares[name], True))
            rows += [Row(one, shares[one], True, is_part=True) for one in GROUPS.get(name, ()) if one in shown]
        if self.blasts is not None and sum(cell_type(name).is_blast for name in shown) > 1:
            rows.append(Row(ALL_BLASTS, self.blasts, True))
        return (*rows, *(Row(name, shares[name], False) for name in shown if not cell_type(name).is_counted))

    def table(self) -> pd.DataFrame:
        """One row per type, with the columns of ``differential.csv``, in percent; `blasts` are a row of their own."""
        rows = [(name, cell_type(name).is_counted, self.share_of(name)) for name in self.all_types]
        if self.blasts is not None:
            rows.append((ALL_BLASTS, True, self.blasts))
        hand = Counter(self.by_hand.values())
        hand[ALL_BLASTS] = sum(hand[name] for name in self.all_types if cell_type(name).is_blast)
        return pd.DataFrame(
            {
                "patient_id": self.patient_id,
                "type": name,
                "is_counted": is_counted,
                "cells": share.cells,
                "by_hand": hand[name],
                "percent_called": 100 * share.called,
                "percent": 100 * share.value,
                "percent_low": 100 * share.low,
                "percent_high": 100 * share.high,
                "classifier_low": 100 * share.classifier[0],
                "classifier_high": 100 * share.classifier[1],
                "counting_low": 100 * share.counting[0],
                "counting_high": 100 * share.counting[1],
            }
            for name, is_counted, share in rows
        )

    def cell_table(self) -> pd.DataFrame:
        """One row per cell, with the columns of ``cell_types.csv``."""
        return pd.DataFrame(
            {
                "patient_id": self.patient_id,
                "cell": self.cells,
                "type": self.cell_types,
                "by_hand": [cell in self.by_hand for cell in self.cells],
                "called": self.called,
                "p_called": self.certainty,
                "distance": self.distance,
            }
        )

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter(self.cell_types)

    @cached_property
    def _draws(self) -> NDArray[np.int64]:
        """(DRAWS, all types) true counts: those by hand are known, the others are sampled."""
        unsure = Counter(
            called for cell, called in zip(self.cells, self.called, strict=True) if cell not in self.by_hand
        )
        called = np.array([unsure[name] for name in self.types])
        drawn = np.zeros((DRAWS, len(self.all_types)), dtype=np.int64)
        if called.any():
            places = [self.all_types.index(name) for name in self.types]
            drawn[:, places] = corrected_counts(called, np.array(self.confusion), np.array(self.correlation))
        known = Counter(self.by_hand.values())
        drawn += np.array([known[name] for name in self.all_types])
        return drawn


def _odds(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return shares / np.maximum(1 - shares, 1e-3)  # the ratio of platelets is infinite without leukocytes


def _pair(bounds: NDArray[np.float64]) -> tuple[float, float]:
    return float(bounds[0]), float(bounds[1])
