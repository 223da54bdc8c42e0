from .criteria import Criteria, StatedCriteria
from .journal import Journal, JournalContent
from .ledger import Ledger, WatchRecord
from .validation import Validation, validate
from .watch import Look, Resting, WatchOptions, refuse_overlap, scan
from .watcher import ORDERS, First, Predicted, Watched, Watcher, WatchProgress

__all__ = [
    "ORDERS",
    "Criteria",
    "First",
    "Journal",
    "JournalContent",
    "Ledger",
    "Look",
    "Predicted",
    "Resting",
    "StatedCriteria",
    "Validation",
    "WatchOptions",
    "WatchProgress",
    "WatchRecord",
    "Watched",
    "Watcher",
    "refuse_overlap",
    "scan",
    "validate",
]
