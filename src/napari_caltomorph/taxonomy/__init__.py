"""Disease classes: detailed and coarse, malignant or not, and their colours."""

from napari_caltomorph.taxonomy.classes import CoarseClass, DetailedClass, Taxonomy, caltomorph_taxonomy

__all__ = ["CoarseClass", "DetailedClass", "Taxonomy", "caltomorph_taxonomy"]
