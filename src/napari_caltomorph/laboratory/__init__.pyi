from .criteria import Criteria, StatedCriteria
from .journal import Journal, JournalContent
from .validation import Validation, validate

__all__ = ["Criteria", "Journal", "JournalContent", "StatedCriteria", "Validation", "validate"]
