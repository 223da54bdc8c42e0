"""The panel *Cut cells*."""
