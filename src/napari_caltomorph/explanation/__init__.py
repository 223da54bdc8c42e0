"""Why this diagnosis, and whether to believe it: one question a file, each with the function that answers it.

`contribution`: how much each cell speaks for or against a class. `leave_one_out`, `added_cell`: what one cell changes.
`faithfulness`: whether an order of cells says what the model goes by. `what_if`: the diagnosis without some cells.
`patches`: where the encoder looks within a cell. `cell_map`: cells side by side by their features. `trust`: whether to
believe it; `similar`: training patients like this one.
"""
