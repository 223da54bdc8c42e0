"""Can the diagnosis be predicted without the cells? Shortcuts in stain, background, number of cells, size and site."""
