from .criteria import Criteria, StatedCriteria
from .drift import Drift, DriftChart
from .journal import Journal, JournalContent
from .ledger import Ledger, WatchRecord
from .monitoring import MonitorOptions, monitor
from .review import Review, ReviewedPatient, Share, add_review, agreement, read_reviewed
from .validation import Validation, validate
from .watch import Look, Resting, WatchOptions, refuse_overlap, scan
from .watched import ORDERS, First, Watched, WatchProgress
from .watcher import Predicted, Watcher

__all__ = [
    "ORDERS",
    "Criteria",
    "Drift",
    "DriftChart",
    "First",
    "Journal",
    "JournalContent",
    "Ledger",
    "Look",
    "MonitorOptions",
    "Predicted",
    "Resting",
    "Review",
    "ReviewedPatient",
    "Share",
    "StatedCriteria",
    "Validation",
    "WatchOptions",
    "WatchProgress",
    "WatchRecord",
    "Watched",
    "Watcher",
    "add_review",
    "agreement",
    "monitor",
    "read_reviewed",
    "refuse_overlap",
    "scan",
    "validate",
]
