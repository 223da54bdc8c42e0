"""The cells of a smear or a prediction as layers in the viewer."""
