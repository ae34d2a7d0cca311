"""What can go wrong on the way to a carrier.

The tree:

    CarrierError
    ├── TextError                 a text or octets cannot be coded as asked (the caller's fault)
    ├── PduError                  octets that are no SMPP PDU
    │   ├── RecoverablePduError   the frame is known (command id, sequence): answer generic_nack, go on
    │   └── FatalPduError         the frame is not known: answer generic_nack, close the connection
    ├── SessionError              a PDU that the session's state does not allow
    │   ├── LocalSessionError     we asked for it: a defect of ours
    │   └── RemoteSessionError    the carrier sent it
    ├── BindRefused               the carrier answered the bind with an error (carries `status`)
    ├── LinkLost                  the connection ended: by the peer, by silence, or by us
    └── TlsRefused                the carrier's certificate or protocol was not acceptable (says why and what to do)
"""

from __future__ import annotations


class CarrierError(Exception):
    """The root."""


class TextError(CarrierError):
    """A text or octets cannot be coded as asked."""


class PduError(CarrierError):
    """Octets that are no SMPP PDU."""


class RecoverablePduError(PduError):
    """A PDU whose frame is sound and whose body is not: `command_id`, `sequence` say what to answer, `status` how."""

    def __init__(self, message: str, *, command_id: int, sequence: int, status: int) -> None:
        super().__init__(message)
        self.command_id = command_id
        self.sequence = sequence
        self.status = status


class FatalPduError(PduError):
    """The frame itself is unsound: nothing after it can be trusted."""


class SessionError(CarrierError):
    """A PDU that the session's state does not allow."""


class LocalSessionError(SessionError):
    """This side asked for something its state does not allow: a defect here."""


class RemoteSessionError(SessionError):
    """The carrier sent something its state does not allow."""


class BindRefused(CarrierError):
    """The carrier answered the bind with `status` (SMPP 3.4 §5.1.3)."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class LinkLost(CarrierError):
    """The connection ended."""


class TlsRefused(CarrierError):
    """The carrier's certificate or TLS version was refused: the text says why and what to do."""
