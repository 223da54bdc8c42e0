from .patients import AuditOptions
from .result import Audit
from .run import audit

__all__ = ["Audit", "AuditOptions", "audit"]
