"""How often Python looks for garbage in cycles: seldom, and never among what lives as long as the node.

Reference counting frees nearly everything here; what remains for the collector are cycles, of which a message makes
none. By default it looks whenever 700 more containers live than at the last look, which messages under way bring about
all the time, and each look walks through them: on two cores under load that was 30 µs of 120 a message, with pauses of
the event loop of 200 ms for a full one. So it looks when 10,000 have come, and what the start has made (modules, stubs,
policies, settings) is left out of every look from then on.
"""

from __future__ import annotations

import gc
import logging

log = logging.getLogger(__name__)

_YOUNG = 10_000  # containers; cycles that are dropped hold back so many at most before they are found
_OLDER = 10  # looks at a generation before the next older one is looked at too: Python's own choice


def settle_heap() -> None:
    """Set the collector for a process that has started, and will handle messages from now on.

    Call it once: what exists is taken to stay until the process ends.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _OLDER, _OLDER)
    log.info("heap_settled")
