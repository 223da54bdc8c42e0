from .journal import Journal, JournalContent

__all__ = ["Journal", "JournalContent"]
