"""What panels are put together from: choosers, forms, tables, dialogs, and the work behind a button."""
