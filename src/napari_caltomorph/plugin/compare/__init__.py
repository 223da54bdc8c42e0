"""The panel *Compare*."""
