"""The panel *Open cohort*."""
