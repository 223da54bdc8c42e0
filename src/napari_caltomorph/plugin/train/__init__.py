"""The panel *Train ensemble*."""
