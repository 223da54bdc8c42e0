"""Our tables as CSV: written whole, harmless to open in a spreadsheet program, and read back equal.

A spreadsheet program runs a text that begins like a formula, and ids, cells and labels come from others. Such a text is
written with an apostrophe in front, as these programs themselves do; reading removes exactly one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_caltomorph.storage import replacing

if TYPE_CHECKING:
    import pandas as pd

# Wide signs are signs too where East Asian text is read. A text with apostrophes of its own gets one more.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_ESCAPED = re.compile(rf"'{_FORMULA.pattern}")


def harmless(value: Any) -> Any:
    """Return a text that no spreadsheet program takes for a formula; numbers and other texts are unchanged."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def unescaped(value: Any) -> Any:
    """Return the value that `harmless` was given."""
    return value[1:] if isinstance(value, str) and _ESCAPED.match(value) else value


def write_csv(table: pd.DataFrame, path: Path, *, float_format: str | None = None) -> None:
    """Write a table without its index; `OutputRefused` when it cannot be written."""
    table = _with_texts(table, harmless)
    # Until Python 3.13, a carriage return alone is not quoted, and ends the row.
    is_odd = any("\r" in text for text in _texts(table))
    quoting: Literal[0, 2] = 2 if is_odd else 0  # csv.QUOTE_NONNUMERIC or csv.QUOTE_MINIMAL
    with replacing(path) as part:
        table.to_csv(part, index=False, float_format=float_format, quoting=quoting, lineterminator="\n")


def read_csv(path: Path, *, dtype: Any = None, missing: Sequence[str] = ("",), encoding: str = "utf-8") -> pd.DataFrame:
    """Read what `write_csv` wrote; `dtype` is that of `pandas.read_csv`, and `missing` are the fields without a value.

    Raises what `pandas.read_csv` raises.
    """
    import pandas as pd

    table = pd.read_csv(path, dtype=dtype, keep_default_na=False, na_values=list(missing), encoding=encoding)
    return _with_texts(table, unescaped)


def _with_texts(table: pd.DataFrame, change: Callable[[Any], Any]) -> pd.DataFrame:
    """Return a table with its texts changed; columns without any such text stay as they are."""
    import pandas as pd

    table = table.rename(columns=change)
    for name, column in _text_columns(table):
        changed = [change(value) for value in column]
        if any(new is not old for new, old in zip(changed, column, strict=True)):
            dtype = object if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype
            table[name] = pd.Series(changed, index=column.index, dtype=dtype)
    return table


def _texts(table: pd.DataFrame) -> Iterator[str]:
    yield from (name for name in table.columns if isinstance(name, str))
    yield from (value for _, column in _text_columns(table) for value in column if isinstance(value, str))


def _text_columns(table: pd.DataFrame) -> list[tuple[Any, pd.Series]]:
    return [(name, column) for name, column in table.items() if column.dtype.kind not in "biufcmM"]
