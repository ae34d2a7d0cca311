"""`smsgw db grants`: SQL that a server takes, and that gives no more than it says."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from gateway.cli.db import db
from gateway.store.postgres import PostgresStore
from tests.postgres.server import PostgresServer


def printed(*words: str) -> str:
    """Run the command; what it prints."""
    done = CliRunner().invoke(db, ["grants", *words])
    assert done.exit_code == 0, done.output
    return str(done.output)


def test_both_databases() -> None:
    """The statements name the database that they are for, and a name is quoted."""
    text = printed("--role", "accept", "--user", 'od"d')
    messages, keys = text.split("-- ")[1:]
    assert messages.startswith("the database of the messages")
    assert 'GRANT INSERT ON "smsgw_keys"."wrapped_key" TO "od""d";' in keys
    assert json.loads(printed("--role", "relay", "--json"))["keys"][-1].startswith("GRANT INSERT, SELECT ON")
    keeps = json.loads(printed("--role", "relay", "--keeps-keys", "--json"))["keys"][-1]
    assert keeps.startswith("GRANT INSERT, SELECT, UPDATE ON")
    refused = CliRunner().invoke(db, ["grants", "--role", "accept", "--keeps-keys"])
    assert refused.exit_code == 2


@pytest.mark.parametrize("role", ["accept", "relay", "both"])
async def test_what_a_role_may_do(postgres: PostgresServer, role: str) -> None:
    """No role changes the schema or the audit; one that accepts deletes no message, and its rights stand in a list."""
    store = PostgresStore(postgres.emptied())
    await store.open()
    await store.close()
    name = f"granted_{role}"
    with postgres.connect("postgres") as connection:
        if not _there(postgres, name):
            connection.execute(f"CREATE ROLE {name}")
        for statement in json.loads(printed("--role", role, "--user", name, "--json"))["messages"]:
            connection.execute(statement)
        rows = connection.execute(
            "SELECT table_name::text, privilege_type::text FROM information_schema.role_table_grants"
            " WHERE grantee = %s AND table_schema = 'smsgw'",
            (name,),
        ).fetchall()
    may = {(str(table), str(privilege)) for table, privilege in rows}
    assert ("message", "INSERT") in may
    assert ("message", "UPDATE") in may
    assert {privilege for _, privilege in may} == {"SELECT", "INSERT", "UPDATE", "DELETE"}
    assert {privilege for table, privilege in may if table == "migration"} == {"SELECT"}
    if role == "accept":
        assert {privilege for table, privilege in may if table == "audit_commit"} == {"SELECT", "INSERT"}
        assert not {"message", "body", "event", "audit_commit", "usage"} & {t for t, p in may if p == "DELETE"}


def _there(postgres: PostgresServer, name: str) -> bool:
    with postgres.connect("postgres") as connection:
        return connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone() is not None
