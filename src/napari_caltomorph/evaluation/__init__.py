"""A model evaluated on patients whose truth is known: every number with its interval.

`patients` has the rows; `metrics`, `confusion`, `malignancy`, `covariates` and `statements` compute from them, and
`evaluation` has all of it in one object, which `file` reads and writes. `run` evaluates an ensemble on a cohort, each
patient by members that were not trained on it (`held_out`). `decisions` chooses thresholds, `calibrate` fits
temperatures, and `faithfulness` tests explanations.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
