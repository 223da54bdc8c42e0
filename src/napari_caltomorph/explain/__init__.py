"""Why this diagnosis: contributions of cells, faithfulness, what-if, similar patients, and whether to believe it."""
