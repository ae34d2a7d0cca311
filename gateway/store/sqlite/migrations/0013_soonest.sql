-- Which of the waiting messages that are due end first: what a claim takes. Messages that go straight into memory are not
-- in it, so their way costs nothing more. `due_at` is in it so that the index alone says what is for later.
CREATE INDEX message_soonest ON message (queue, expires_at, due_at) WHERE queue > 10 AND queue < 20;
