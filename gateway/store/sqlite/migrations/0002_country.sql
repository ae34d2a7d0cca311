-- The recipient's country, in clear: a policy asks about it before each attempt, when the number is sealed. "ZZ" is what
-- policies take for a country that is not known, which it is for messages accepted before.
ALTER TABLE body ADD COLUMN country TEXT NOT NULL DEFAULT 'ZZ';
