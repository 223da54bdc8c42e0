"""What a layout hands on: the patients it found, before anything was cleaned or dealt out."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Found:
    """What a layout found: patients with canonical and own columns, who is not usable and why, and what to tell.

    `left_out` holds (patient_id, raw_label, rule, reason).
    """

    table: pd.DataFrame
    left_out: list[tuple[str, str | None, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
