"""How this package reads its own files (JSON, YAML, TOML, safetensors), which may be damaged or made by anyone.

A file is bounded before it is parsed, and its content before it is used; `explained` turns whatever is wrong into one
short sentence.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, get_args

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open

from napari_caltomorph.errors import CaltomorphError, first_line, invalid_field, refuse_newer_schema
from napari_caltomorph.stand_ins import stand_in

if TYPE_CHECKING:
    import pandas as pd

# A cohort of 100,000 patients has 50 MB, options written by hand a few hundred bytes. Larger files are not parsed.
LARGE, SMALL = 500_000_000, 100_000
_LEVELS = 50  # Our files have less than ten
_INTEGERS = 2**63
_HUGE = 1e15  # Squares of real numbers in our files stay far below the largest of 32 bits

Model = TypeVar("Model", bound=BaseModel)


@contextmanager
def explained(path: Path, what: str, refusal: type[CaltomorphError], fix: str) -> Iterator[None]:
    """Raise `refusal` where the block cannot read a file: its name, what it should be, the reason, and the fix."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or ("no such file" if isinstance(error, FileNotFoundError) else first_line(error))
        raise refusal(f"{path} cannot be read ({reason}); check the path, or {fix}.") from error
    except (ValueError, RecursionError, MemoryError, SafetensorError) as error:
        if sentence := stand_in(path, what, fix):
            raise refusal(sentence) from error
        reason = invalid_field(error) if isinstance(error, ValidationError) else first_line(error)
        raise refusal(f"{path} is not {what} that can be read ({reason}); {fix}.") from error


def read_as(
    kind: type[Model], path: Path, what: str, refusal: type[CaltomorphError], fix: str, *, at_most: int = LARGE
) -> Model:
    """Read a JSON file that has the fields of a pydantic model; `refusal` where it is another, damaged, or newer."""
    with explained(path, what, refusal, fix):
        return validated(kind, read_document(path, at_most=at_most), path, refusal)


def validated(kind: type[Model], content: Any, path: Path, refusal: type[CaltomorphError]) -> Model:
    """Return the content of a file as a pydantic model; `refusal` where a newer version wrote it."""
    if isinstance(content, dict) and (version := kind.model_fields.get("schema_version")):
        refuse_newer_schema(path, content.get("schema_version"), max(get_args(version.annotation)), refusal)
    return kind.model_validate(content)


def flag_of(model: type[BaseModel], field: str) -> str:
    """Return the terminal's option of a field: its title, which people read, where it has one; otherwise its name."""
    return "--" + (model.model_fields[field].title or field).lower().replace(" ", "-").replace("_", "-")


def read_document(path: Path, *, otherwise: str = ".json", at_most: int = LARGE) -> Any:
    """Read a JSON, YAML or TOML file, by its suffix; `otherwise` is the format of unknown suffixes.

    Raises ValueError where it is not of that format, larger than `at_most` bytes, or contains what no file of ours
    does: one key twice, more than 50 levels, integers of more than 64 bits, or text that is no Unicode.
    """
    suffix = path.suffix.lower()
    return parse_document(read_bytes(path, at_most), suffix if suffix in _PARSERS else otherwise)


def parse_document(content: bytes | str, kind: str = ".json") -> Any:
    """Return the content of a JSON, YAML or TOML document; raises ValueError as `read_document` does."""
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        document = _PARSERS[kind](text)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8 text") from error
    except RecursionError as error:
        _too_deep(error)
    _refuse_extremes(document)
    return document


def read_arrays(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Return the metadata and the arrays of a safetensors file; ValueError where NumPy lacks the type of one."""
    _refuse_other_than_file(path)
    with safe_open(path, framework="np") as file:
        try:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (TypeError, AttributeError) as error:
            raise ValueError("its numbers are of a type that we never write") from error
        return file.metadata() or {}, arrays


def refuse_misfit(arrays: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int | None, ...]]) -> None:
    """Raise ValueError unless there is a finite array of real numbers of each name and shape; None is any length."""
    for name, shape in shapes.items():
        if name not in arrays:
            raise ValueError(f"{name} is missing")
        array = arrays[name]
        fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
        if array.dtype.kind != "f" or not fits:
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise ValueError(f"{name} is {array.dtype} {array.shape}, expected are real numbers ({wanted})")
        if not (np.abs(array.astype(np.float64)) < _HUGE).all():
            raise ValueError(f"{name} contains a number that is not finite, or far too large")


def table_of(columns: Sequence[str], rows: Sequence[Any]) -> pd.DataFrame:
    """Return a table of JSON values; ValueError where a column is there twice, or a row or a value does not fit."""
    import pandas as pd

    if len(set(columns)) < len(columns):
        raise ValueError("a column of its table is there twice")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list | tuple) or len(row) != len(columns):
            raise ValueError(f"row {number} of its table has not {len(columns)} values")
        if any(isinstance(value, list | dict) for value in row):
            raise ValueError(f"row {number} of its table contains a list")
    return pd.DataFrame(list(rows), columns=list(columns))


def typed(table: pd.DataFrame, types: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table with these types of its columns; ValueError where one is missing, or a value is no finite one."""
    columns = {}
    for name, kind in types.items():
        if name not in table:
            raise ValueError(f"its table has no column {name}")
        try:
            columns[name] = table[name].astype(kind)
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"{name}: not all values are of the type {kind}") from error
        if columns[name].dtype.kind == "f" and np.isinf(columns[name].to_numpy(float, na_value=np.nan)).any():
            raise ValueError(f"{name}: a number is infinite")
    return table.assign(**columns)


def read_bytes(path: Path, at_most: int) -> bytes:
    """Return the content of a file; ValueError where it is larger than `at_most` bytes, or no file."""
    _refuse_other_than_file(path)
    if path.stat().st_size > at_most:
        raise ValueError(f"it is larger than {at_most / 1e6:g} MB")
    return path.read_bytes()


def _refuse_other_than_file(path: Path) -> None:
    path.stat()  # says why, where there is none
    if not path.is_file():  # opening a pipe waits for ever
        raise ValueError("it is not a file")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            raise ValueError(f"{name[:40]!r} is in it twice")
        content[name] = value
    return content


class _YamlLoader(yaml.SafeLoader):
    """YAML without Python objects; a key that is given twice is refused, as in TOML."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        _unique([(key.value, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)])
        return super().construct_mapping(node, deep)


def _yaml(text: str) -> Any:
    try:
        return yaml.load(text, _YamlLoader)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise ValueError(f"{line}{error.problem or 'no YAML'}") from error
    except yaml.YAMLError as error:
        raise ValueError(first_line(error)) from error
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError("a value is not of the type that its tag names") from error


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique)


_PARSERS: dict[str, Callable[[str], Any]] = {".json": _json, ".toml": tomllib.loads, ".yaml": _yaml, ".yml": _yaml}


def _refuse_extremes(document: Any) -> None:
    """Refuse what later code does not expect: comparing, converting and showing it would fail, each in another way."""
    level = [document]
    for _ in range(_LEVELS):
        for value in level:
            if isinstance(value, int) and abs(value) >= _INTEGERS:
                raise ValueError("an integer in it has more than 64 bits")
            if isinstance(value, str) and not _is_unicode(value):
                raise ValueError("a text in it contains half of a character")
        # In YAML, one list can be in many places: each is visited once.
        nested = {id(value): value for value in level if isinstance(value, dict | list)}.values()
        level = [part for value in nested for part in ([*value, *value.values()] if isinstance(value, dict) else value)]
        if not level:
            return
    _too_deep(None)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _too_deep(cause: Exception | None) -> NoReturn:
    raise ValueError(f"more than {_LEVELS} brackets are nested in it") from cause
