-- The binds of carriers, shared by nodes: each is a node's for as long as its registration is.
CREATE TABLE bind_slot (
    carrier text COLLATE "C" NOT NULL,
    number integer NOT NULL, -- of the bind, from 0
    holder bigint NOT NULL,
    PRIMARY KEY (carrier, number)
);
-- Which nodes would have some.
CREATE TABLE bind_wish (
    carrier text COLLATE "C" NOT NULL,
    holder bigint NOT NULL,
    PRIMARY KEY (carrier, holder)
);
