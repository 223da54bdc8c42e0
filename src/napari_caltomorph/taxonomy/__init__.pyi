from .classes import CoarseClass, DetailedClass, Taxonomy, caltomorph_taxonomy, malignancy
from .labels import LabelBook, Match, MatchKind
from .load import SHIPPED_BOOKS, load_book, taxonomy_of_labels

__all__ = [
    "SHIPPED_BOOKS",
    "CoarseClass",
    "DetailedClass",
    "LabelBook",
    "Match",
    "MatchKind",
    "Taxonomy",
    "caltomorph_taxonomy",
    "load_book",
    "malignancy",
    "taxonomy_of_labels",
]
