from .classes import CoarseClass, DetailedClass, Taxonomy, caltomorph_taxonomy, malignancy
from .label_map import SHIPPED_LABEL_MAPS, LabelMap, Match, MatchKind, load_label_map, taxonomy_of_labels

__all__ = [
    "SHIPPED_LABEL_MAPS",
    "CoarseClass",
    "DetailedClass",
    "LabelMap",
    "Match",
    "MatchKind",
    "Taxonomy",
    "caltomorph_taxonomy",
    "load_label_map",
    "malignancy",
    "taxonomy_of_labels",
]
