"""Why this diagnosis, and whether to believe it: one question a file, each with the function that answers it.

`contribution`: how much each cell adds to the log-odds of a class. `changed_bags`: predictions without some cells, and
what one cell changes. `faithfulness`: whether an order of cells agrees with the model. `patches`: where the encoder
attends within a cell. `cell_map`: cells in two dimensions by their features. `trust`: whether to believe a prediction;
`similar`: training patients like this one.
"""
