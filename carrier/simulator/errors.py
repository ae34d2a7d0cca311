"""What can go wrong with a simulator before it runs.

CarrierError
└── ScriptError   the script cannot be played: names the file, the line and the key, and says what to do
"""

from __future__ import annotations

from carrier.errors import CarrierError


class ScriptError(CarrierError):
    """The script cannot be played."""
