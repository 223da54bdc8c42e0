from .cut import CutCells, CutField, CutOptions, cut_cells
from .find import FindOptions, FoundCell, FoundCells, find_cells
from .images import FieldImage, array_field, open_field
from .scale import Scale, scale_of_fields

__all__ = [
    "CutCells",
    "CutField",
    "CutOptions",
    "FieldImage",
    "FindOptions",
    "FoundCell",
    "FoundCells",
    "Scale",
    "array_field",
    "cut_cells",
    "find_cells",
    "open_field",
    "scale_of_fields",
]
