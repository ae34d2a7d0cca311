"""The part of the record's format that tells what happened: a step of `certs.ca.schema`, never changed afterwards.

Whatever changes the record is noted by triggers, in the same transaction: no code path can leave it out, and nothing
is answered before it is on disk. They need two functions that `certs.ca.ledger` gives each connection, `actor()` (who
runs this process) and `chained(...)`; a shell without them cannot change the record by mistake.
"""

from __future__ import annotations

from typing import Final

MOST_KEPT: Final = 1_000_000  # events, some 300 MB; the oldest go first

EVENTS: Final = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, what TEXT NOT NULL, reason TEXT NOT NULL, subject TEXT NOT NULL,
    serial TEXT NOT NULL, asked_by TEXT NOT NULL, detail TEXT NOT NULL, hash BLOB NOT NULL
) STRICT;
CREATE TABLE event_counts (
    what TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (what, reason)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN
    SELECT raise(ABORT, 'events are never changed');
END;
CREATE TRIGGER events_go_last BEFORE DELETE ON events
WHEN OLD.seq > (SELECT max(seq) FROM events) - MOST_KEPT BEGIN
    SELECT raise(ABORT, 'events are kept');
END;
CREATE VIEW noted AS SELECT at, what, reason, subject, serial, asked_by, detail FROM events;
CREATE TRIGGER note INSTEAD OF INSERT ON noted BEGIN
    INSERT INTO events
        SELECT seq, NEW.at, NEW.what, NEW.reason, NEW.subject, NEW.serial, NEW.asked_by, NEW.detail,
            chained(before, seq, NEW.at, NEW.what, NEW.reason, NEW.subject, NEW.serial, NEW.asked_by, NEW.detail)
        FROM (
            SELECT coalesce((SELECT max(seq) FROM events), 0) + 1 AS seq,
                coalesce((SELECT hash FROM events ORDER BY seq DESC LIMIT 1), x'') AS before
        );
    INSERT INTO event_counts VALUES (NEW.what, NEW.reason, 1)
        ON CONFLICT (what, reason) DO UPDATE SET count = count + 1;
    DELETE FROM events WHERE seq = (SELECT max(seq) FROM events) - MOST_KEPT;
END;

CREATE TRIGGER note_issued AFTER INSERT ON issued BEGIN
    INSERT INTO noted VALUES (
        NEW.issued_at,
        CASE WHEN NEW.attested_by LIKE 'svid %' AND NEW.asked_by = NEW.spiffe_id
            THEN 'CERTIFICATE_RENEWED' ELSE 'CERTIFICATE_ISSUED' END,
        CASE WHEN NEW.attested_by LIKE 'svid %' THEN 'svid' ELSE NEW.attested_by END,
        NEW.spiffe_id, NEW.serial, NEW.asked_by, NEW.attested_by
    );
END;
CREATE TRIGGER note_revoked AFTER INSERT ON revoked BEGIN
    INSERT INTO noted VALUES (
        NEW.revoked_at, 'CERTIFICATE_REVOKED', CAST(NEW.code AS TEXT), NEW.spiffe_id, NEW.serial, NEW.asked_by,
        NEW.reason
    );
END;
CREATE TRIGGER note_authority AFTER INSERT ON authorities BEGIN
    INSERT INTO noted VALUES (
        NEW.created_at, 'AUTHORITY_MADE', NEW.kind || ' ' || NEW.state, NEW.key_id, '', actor(), ''
    );
END;
CREATE TRIGGER note_state AFTER UPDATE OF state ON authorities BEGIN
    INSERT INTO noted VALUES (
        NEW.changed_at, 'AUTHORITY_CHANGED', NEW.kind || ' ' || NEW.state, NEW.key_id, '', actor(), 'was ' || OLD.state
    );
END;
CREATE TRIGGER note_jwt_key AFTER INSERT ON jwt_keys BEGIN
    INSERT INTO noted VALUES (unixepoch(), 'JWT_KEY_MADE', '', NEW.key_id, '', actor(), '');
END;
CREATE TRIGGER note_jwt_key_gone AFTER DELETE ON jwt_keys BEGIN
    INSERT INTO noted VALUES (unixepoch(), 'JWT_KEY_REMOVED', '', OLD.key_id, '', actor(), '');
END;
CREATE TRIGGER note_token AFTER INSERT ON tokens BEGIN
    INSERT INTO noted VALUES (unixepoch(), 'TOKEN_MADE', '', NEW.spiffe_id, '', actor(), '');
END;
CREATE TRIGGER note_token_used AFTER UPDATE OF used_at ON tokens WHEN NEW.used_at IS NOT NULL BEGIN
    INSERT INTO noted VALUES (NEW.used_at, 'TOKEN_USED', '', NEW.spiffe_id, '', 'token', '');
END;
CREATE TRIGGER note_setting AFTER INSERT ON settings BEGIN
    INSERT INTO noted VALUES (unixepoch(), 'SETTING_CHANGED', '', NEW.name, '', actor(), NEW.value);
END;
""".replace("MOST_KEPT", str(MOST_KEPT))
