"""The panel *Monitor*."""
