"""The panel *Predict patient*."""
