from .cut import CutCells, CutField, CutOptions, cut_cells, cut_found
from .describe import DescribedCells, Verdict, describe_cells
from .find import FindOptions, FoundCell, FoundCells, FoundFields, find_cells, find_in_fields
from .images import FieldImage, array_field, open_field, open_fields
from .pictures import crop, is_whole
from .scale import Scale, scale_of_fields

__all__ = [
    "CutCells",
    "CutField",
    "CutOptions",
    "DescribedCells",
    "FieldImage",
    "FindOptions",
    "FoundCell",
    "FoundCells",
    "FoundFields",
    "Scale",
    "Verdict",
    "array_field",
    "crop",
    "cut_cells",
    "cut_found",
    "describe_cells",
    "find_cells",
    "find_in_fields",
    "is_whole",
    "open_field",
    "open_fields",
    "scale_of_fields",
]
