"""`smsgw ca`: the certificate authority on the command line.

`certs.cli.manners` says what its commands have in common.
"""

from __future__ import annotations

import click

from certs.cli.authorities import rotate, show, taint
from certs.cli.crl import crl
from certs.cli.events import events
from certs.cli.issuing import bundle, dev_carrier, init, issue, renew
from certs.cli.records import list_issued
from certs.cli.registering import entries, token
from certs.cli.revoking import revoke
from certs.cli.serving import serve


@click.group()
def ca() -> None:
    """Run the certificate authority: identities (X.509-SVIDs) for gateway and callers.

    \b
    A first authority, an identity for a service, and the bundle that peers trust:
      smsgw ca init   --dir ca --trust-domain example.org
      smsgw ca issue  --dir ca --spiffe-id spiffe://example.org/billing --out tls/billing
      smsgw ca bundle --dir ca --out tls/bundle.pem

    Certificates live for an hour by default. `smsgw ca serve` renews them at half their life. Exit codes: 0 done,
    1 refused or failed, 2 wrong usage.
    """


for _command in (
    init,
    issue,
    renew,
    list_issued,
    events,
    show,
    bundle,
    serve,
    entries,
    token,
    rotate,
    taint,
    revoke,
    crl,
    dev_carrier,
):
    ca.add_command(_command)
