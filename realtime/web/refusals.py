"""Why a call is not made or not found: typed errors that carry what the client is told."""

from __future__ import annotations


class Refusal(Exception):
    """Base: HTTP `status`, `code` and message go to the client, `retry_after` (s) where trying again makes sense."""

    status = 503

    def __init__(self, code: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


class BodyRejected(Refusal):
    """The body of a request cannot be an offer, whatever it holds."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code, message)
        self.status = status


class ServerFull(Refusal):
    """Every call or session the service may carry is taken."""

    def __init__(self, retry_after: float, message: str = "every line is busy, try again later") -> None:
        super().__init__("server_full", message, retry_after=retry_after)


class ModelServerUnavailable(Refusal):
    """The model server cannot be reached or is not ready."""

    def __init__(self, message: str, *, retry_after: float = 5.0) -> None:
        super().__init__("model_server_unavailable", message, retry_after=retry_after)


class CallRefused(Refusal):
    """The model server said no for another reason, which `code` names, or the service is going away."""


class UnknownTicket(Refusal):
    """The ticket of a waiting line that is unknown, used, or expired."""

    status = 404

    def __init__(self) -> None:
        message = "this place in the waiting line is gone: repeat the offer without Call-Ticket to get a new one"
        super().__init__("unknown_ticket", message)


class UnknownCall(Refusal):
    """No call has this id."""

    status = 404

    def __init__(self) -> None:
        super().__init__("unknown_call", "no call has this id; it may have ended")


class TooManyVoices(Refusal):
    """A call brings so many clips and no more."""

    status = 409

    def __init__(self, most: int) -> None:
        super().__init__("too_many_voices", f"a call brings at most {most} clips: use one of those it has")


class WrongSecret(Refusal):
    """The call exists and the secret is not its own."""

    status = 403

    def __init__(self) -> None:
        message = "expected `Authorization: Call <secret>` with the Call-Secret this call was created with"
        super().__init__("wrong_call_secret", message)
