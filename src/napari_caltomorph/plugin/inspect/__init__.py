"""The panel *Inspect cells*: one selection model, and tabs that follow it."""
