"""Looks at every secret file that a configuration names, those included that a library opens by name later.

What is missing is left to the part that needs it, which says how to make it; here it is about who else can get at
what is there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from gateway.cli.finding import Finding
from gateway.config.secret_files import SecretFileRefused, check_secret_file
from gateway.config.secret_kinds import SecretSetting

_ADVICE = "docs/operating.md, Secrets, says where they may be; look again as the user that runs smsgw"


def look_at_secrets(secrets: Sequence[SecretSetting], said: Sequence[Finding]) -> Iterator[Finding]:
    """Yield a finding for each secret file that is refused, and one for all that are not.

    `said` are the findings of the parts; what one of them tells is not told a second time.
    """
    there = [secret for secret in secrets if os.path.lexists(secret.file)]
    private = 0
    for secret in there:
        try:
            check_secret_file(secret.file)
            private += 1
        except SecretFileRefused as error:
            if not any(str(error) in finding.problem for finding in said):
                yield Finding(secret.key, "", str(error), _ADVICE)
    if private == len(there):
        yield Finding("secret files", f"{private} of {len(secrets)} are there, private")
