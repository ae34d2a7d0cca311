"""`smsgw db grants`: the SQL that gives a node's database roles what they need, and no more."""

from __future__ import annotations

import click

from gateway.cli.manners import Misused, emit, json_option
from gateway.config.schema import Role


@click.command(short_help="Print the SQL that gives a database role what a node needs.")
@click.option(
    "--role",
    "sort",
    type=click.Choice([role.value for role in Role]),
    required=True,
    help="What the node does: node.role in its smsgw.yaml.",
)
@click.option(
    "--user", default="smsgw_node", show_default=True, help="The role of PostgreSQL that the node logs in as."
)
@click.option("--keeps-keys", is_flag=True, help="Operators rewrap and destroy keys by way of this node: smsgw keys.")
@json_option
def grants(sort: str, user: str, keeps_keys: bool, as_json: bool) -> None:
    """Print the statements for both databases, that of the messages and that of the wrapped keys, to be run by the
    owner of their schemas after `smsgw db migrate`, and again after each migration. No database is asked.

    The owner is another role than the nodes': let one start of a node, or `smsgw db migrate`, make the schemas as the
    owner. docs/roles.md says what each role can and cannot do.

    \b
    Examples:
      smsgw db grants --role accept --user smsgw_accept | psql -d smsgw      (the part for that database)
      smsgw db grants --role relay --user smsgw_relay --json
    """
    if keeps_keys and sort == Role.ACCEPT:
        raise Misused(
            "a node that only accepts reads no key: --keeps-keys is for one that relays", reason="NOT_FOR_ROLE"
        )
    from gateway.sealing import keyring_schema
    from gateway.store.postgres import grants as store_grants

    messages = [statement.as_string() for statement in store_grants.grants(sort, user)]
    keys = [statement.as_string() for statement in keyring_schema.grants(sort, user, keeps=keeps_keys)]
    if as_json:
        emit({"messages": messages, "keys": keys})
        return
    for title, statements in (("the database of the messages (store.postgres)", messages),
                              ("the database of the wrapped keys (keys.wrapped.postgres)", keys)):  # fmt: skip
        click.echo(f"-- {title}")
        for statement in statements:
            click.echo(f"{statement};")
