from .cut import CutCells, CutField, CutOptions, cut_cells, cut_found
from .find import FindOptions, FoundCell, FoundCells, FoundFields, find_cells, find_in_fields
from .images import FieldImage, array_field, open_field, open_fields
from .pictures import crop, is_whole
from .scale import Scale, scale_of_fields

__all__ = [
    "CutCells",
    "CutField",
    "CutOptions",
    "FieldImage",
    "FindOptions",
    "FoundCell",
    "FoundCells",
    "FoundFields",
    "Scale",
    "array_field",
    "crop",
    "cut_cells",
    "cut_found",
    "find_cells",
    "find_in_fields",
    "is_whole",
    "open_field",
    "open_fields",
    "scale_of_fields",
]
