"""The cells of a prediction as layers in the viewer."""
