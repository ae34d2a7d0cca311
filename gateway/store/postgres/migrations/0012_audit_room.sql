-- usable from: 11
-- Room on the server's disk that is held for the audit (docs/adr/0049): two tables of nothing, `audit_room_reserve` and
-- `audit_room_least`, that are dropped when the disk is full. They are unlogged: they cost no write-ahead log, and a server
-- that died of a full disk empties them before it recovers. Their octets do not compress.

-- How many octets are held, of each; -1: given up.
CREATE FUNCTION audit_room(OUT reserve_octets bigint, OUT least_octets bigint) LANGUAGE sql STABLE AS $$
    SELECT coalesce(pg_relation_size(to_regclass('smsgw.audit_room_reserve')), -1),
        coalesce(pg_relation_size(to_regclass('smsgw.audit_room_least')), -1)
$$;

-- As their owner, since no role of a node may change the schema: these two tables, and no others.
CREATE FUNCTION audit_room_release(part text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF part NOT IN ('reserve', 'least') THEN
        RAISE EXCEPTION 'no part of the room' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS smsgw.%I', 'audit_room_' || part);
END $$;

-- Four rows fill a page of 8 KiB. A table that is large enough stays as it is, whoever made it.
CREATE FUNCTION audit_room_hold(part text, octets bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('smsgw.audit_room'));
    IF pg_relation_size(to_regclass('smsgw.audit_room_' || part)) >= octets THEN
        RETURN;
    END IF;
    PERFORM smsgw.audit_room_release(part);
    EXECUTE format(
        'CREATE UNLOGGED TABLE smsgw.%I AS SELECT (SELECT string_agg(sha512(int8send(page * 30 + n)), '''')'
        ' FROM generate_series(1, 30) AS n) AS octets FROM generate_series(1, %s) AS page',
        'audit_room_' || part, (octets + 8191) / 8192 * 4);
END $$;

REVOKE EXECUTE ON FUNCTION audit_room_release(text), audit_room_hold(text, bigint) FROM PUBLIC;
