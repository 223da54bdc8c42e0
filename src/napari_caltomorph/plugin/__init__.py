"""napari's face: reader, writer, sample data and the Predict patient panel."""
