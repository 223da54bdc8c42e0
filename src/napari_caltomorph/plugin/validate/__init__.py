"""The panel *Validate*."""
