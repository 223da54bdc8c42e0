"""Disease classes: diagnosis labels -> detailed -> coarse, malignant or not, and their colours."""

from napari_caltomorph.taxonomy.classes import CoarseClass, DetailedClass, Taxonomy, caltomorph_taxonomy
from napari_caltomorph.taxonomy.labels import LabelBook, Match, MatchKind
from napari_caltomorph.taxonomy.load import SHIPPED_BOOKS, load_book, taxonomy_of_labels

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
    "taxonomy_of_labels",
]
