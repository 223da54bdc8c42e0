"""The panel *Predict patients*."""
