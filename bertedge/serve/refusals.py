"""Why the server does not answer a request."""

from __future__ import annotations


class Refused(Exception):
    """A request that is not answered; the client gets a status and a sentence.

    Attributes:
        status: of HTTP.
        message: what is wrong, in one line. It never holds a text of the request.
        retry_after: seconds after which the client may ask again; None if asking again does not help.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after

    @property
    def headers(self) -> dict[str, str]:
        """The headers of its answer."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


#: nginx's status for a client that left before its answer. It is logged and counted, and nobody reads it.
CLIENT_GONE = 499


def overloaded(what: str, seconds: float) -> Refused:
    """The refusal of a request that would have to wait too long.

    Args:
        seconds: how long the work takes that is there already.
    """
    return Refused(429, f"{what}: ask again later", max(1, min(60, round(seconds + 0.5))))
