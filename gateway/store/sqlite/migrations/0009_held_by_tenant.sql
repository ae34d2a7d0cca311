-- Finds the incomplete inbound message of a tenant that would expire first, when too many of its parts wait.
CREATE INDEX inbound_held_oldest ON inbound_held (tenant_no, expires_at);
