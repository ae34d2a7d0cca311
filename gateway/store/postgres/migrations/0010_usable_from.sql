-- usable from: 9
-- How many migrations a program has to know to use the database after this one: its own number unless it says so on its
-- first line. So a node of the version before goes on, and starts again, beside one that has brought the schema forward.
ALTER TABLE migration ADD COLUMN usable_from integer;
