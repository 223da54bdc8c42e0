"""The panel *Evaluate ensemble*."""
