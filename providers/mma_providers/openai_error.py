"""The errors of OpenAI and of those who speak its dialect."""

from typing import Any

from mma_providers.failures import Report
from mma_providers.wire_json import is_object


def error_report(error: Any, *, status: int | None = None) -> Report:
    """Return what the `error` member of an OpenAI answer says."""
    if not is_object(error):
        return Report(message=str(error), status=status)
    code = error.get("code")
    kind = error.get("type")
    if isinstance(code, int) or (isinstance(code, str) and code.isdigit()):
        status, code = status or int(code), None
    return Report(
        message=str(error.get("message") or "no message"),
        status=status,
        code=code if isinstance(code, str) else None,
        kind=kind if isinstance(kind, str) else None,
    )
