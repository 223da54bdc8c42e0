"""From cells to a differential count: labels given by hand, a linear probe on features, and counts with their error."""
