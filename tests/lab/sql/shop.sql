-- Copyright: (c) 2026, holdfast.postgres contributors
-- GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later

-- The shop: what a real application has, and the things in it that dumps get wrong.

SET client_min_messages = warning;
ALTER SCHEMA public OWNER TO shop_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO "readers group";
COMMENT ON SCHEMA public IS 'not the standard comment';
CREATE SCHEMA "Order Data" AUTHORIZATION shop_owner;
CREATE SCHEMA audit;
GRANT USAGE, CREATE ON SCHEMA "Order Data" TO "shop app" WITH GRANT OPTION;

-- Extensions: whichever of these the server can offer.
\if :hstore
CREATE EXTENSION hstore SCHEMA public;
CREATE TABLE public.extension_values (id int PRIMARY KEY, attributes hstore);
INSERT INTO public.extension_values VALUES (1, 'a=>"1 \"quoted\""'::hstore), (2, NULL), (3, '');
CREATE INDEX ON public.extension_values USING gin (attributes);
\endif
\if :pg_trgm
CREATE SCHEMA extensions;
CREATE EXTENSION pg_trgm SCHEMA extensions;
COMMENT ON EXTENSION pg_trgm IS 'a comment of our own';
\endif
\if :vector
CREATE EXTENSION vector SCHEMA public;
CREATE TABLE public.embeddings (id int PRIMARY KEY, v vector(3));
INSERT INTO public.embeddings SELECT n, ARRAY[n, 1.0 / n, -n]::vector FROM generate_series(1, 50) n;
CREATE INDEX ON public.embeddings USING hnsw (v vector_l2_ops);
\endif

SET ROLE shop_owner;
SET search_path = "Order Data";

-- Types
CREATE TYPE order_state AS ENUM ('new', 'paid', 'it''s shipped', 'Größe');
ALTER TYPE order_state ADD VALUE 'before all' BEFORE 'new';
CREATE TYPE address AS (street text, "house No." int, "Größe" numeric(6, 2));
COMMENT ON COLUMN address.street IS 'on a type''s column';
CREATE DOMAIN email AS text CONSTRAINT "has an @" CHECK (VALUE LIKE '%@%');
CREATE DOMAIN home AS address CHECK ((VALUE)."house No." > 0);
CREATE TYPE price_range AS RANGE (subtype = numeric, multirange_type_name = price_ranges);

-- Functions, whose bodies look like what a careless reader of dumps takes for something else.
CREATE FUNCTION net(gross numeric) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS 'SELECT round(gross / 1.19, 2)';
CREATE FUNCTION tricky_body() RETURNS text LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = 'Order Data', pg_temp SET work_mem = '5MB' COST 7 AS $body$
BEGIN
    -- The next lines are text:
    RETURN $inner$
GRANT ALL ON TABLE customers TO PUBLIC;
ALTER TABLE "Order Data".customers OWNER TO nobody;
ALTER DATABASE shop OWNER TO nobody;
COPY "Order Data".customers (id) FROM stdin;
1
\.
\connect postgres
--
-- Name: customers; Type: TABLE; Schema: Order Data; Owner: nobody
--
CREATE ROLE evil; DROP TABLE customers; SELECT pg_catalog.setval('x', 1, false);
$$ $_$ 'quotes' "double" \ back {{ jinja }} %s
$inner$;
END
$body$;
CREATE PROCEDURE close_orders(INOUT closed int) LANGUAGE plpgsql AS $$ BEGIN closed := closed + 1; COMMIT; END $$;
CREATE FUNCTION add_text(state text, value text) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN state || ', ' || value;
CREATE AGGREGATE listed(text) (SFUNC = add_text, STYPE = text, INITCOND = '');
CREATE FUNCTION many(VARIADIC names text[] DEFAULT '{a,"b c"}', OUT n int, OUT first text) LANGUAGE sql
    AS 'SELECT cardinality(names), names[1]';
CREATE FUNCTION same(a address, b address) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT a.street = b.street';
CREATE OPERATOR === (LEFTARG = address, RIGHTARG = address, FUNCTION = same, COMMUTATOR = ===);
COMMENT ON OPERATOR === (address, address) IS 'the same street';
CREATE FUNCTION state_rank(s order_state) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT length(s::text)';
CREATE CAST (order_state AS int) WITH FUNCTION state_rank(order_state) AS ASSIGNMENT;
COMMENT ON FUNCTION tricky_body() IS $$it's "quoted"
on two lines \. with a COPY end$$;
REVOKE ALL ON FUNCTION tricky_body() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tricky_body() TO "shop app";

-- Tables
CREATE SEQUENCE order_number AS smallint INCREMENT BY -3 MINVALUE -300 MAXVALUE 30 START WITH 30 CYCLE CACHE 2;
SELECT nextval('order_number') FROM generate_series(1, 7);
CREATE SEQUENCE never_used START WITH 42;
CREATE SEQUENCE near_the_end START WITH 9223372036854775806;
SELECT nextval('near_the_end'), nextval('near_the_end');
CREATE UNLOGGED SEQUENCE unlogged_sequence;
SELECT setval('unlogged_sequence', 77, false);

CREATE TABLE customers (
    id int GENERATED ALWAYS AS IDENTITY (START WITH 100 INCREMENT BY 5) PRIMARY KEY,
    name text NOT NULL,
    mail email,
    gone_column int DEFAULT 1,
    home home,
    favourite_order bigint,
    "select" boolean DEFAULT true,
    search tsvector GENERATED ALWAYS AS (to_tsvector('english', name)) STORED
);
INSERT INTO customers (name, mail, home) SELECT 'Customer ' || n, 'c' || n || '@example.com',
    ROW('Street "' || n || '"', n, n / 7.0)::address FROM generate_series(1, 200) n;
ALTER TABLE customers DROP COLUMN gone_column;
ALTER TABLE customers ADD COLUMN added_later timestamptz DEFAULT '2026-01-01 00:00:00+05:45';
ALTER TABLE customers ALTER COLUMN name SET STATISTICS 321, ALTER COLUMN name SET (n_distinct = -0.5),
    ALTER COLUMN name SET STORAGE EXTERNAL;

CREATE TABLE orders (
    id bigserial PRIMARY KEY,
    customer int NOT NULL REFERENCES customers DEFERRABLE INITIALLY DEFERRED,
    number smallint DEFAULT nextval('order_number'),
    state order_state NOT NULL DEFAULT 'new',
    gross numeric(12, 2) NOT NULL CHECK (gross >= 0),
    net numeric GENERATED ALWAYS AS (net(gross)) STORED,
    lines address[],
    valid price_range,
    ordered_at timestamptz NOT NULL DEFAULT now(),
    replaces bigint REFERENCES orders ON DELETE SET NULL,
    UNIQUE NULLS NOT DISTINCT (replaces)
) WITH (fillfactor = 83, autovacuum_enabled = false, toast.autovacuum_enabled = false);
ALTER TABLE orders DROP CONSTRAINT orders_replaces_key;
-- A circle: each table refers to the other.
ALTER TABLE customers ADD CONSTRAINT favourite FOREIGN KEY (favourite_order) REFERENCES orders (id);
INSERT INTO orders (customer, state, gross, lines, valid, ordered_at, replaces)
    SELECT 100 + 5 * (n % 200), (ARRAY['new', 'paid', 'it''s shipped', 'Größe']::order_state[])[1 + n % 4], n % 9973 / 7.0,
        ARRAY[ROW('a,b"c', n, NULL), NULL]::address[], price_range(n, NULL), timestamptz '2026-01-01' + n * interval '1 min',
        nullif(n - 1, 0)
    FROM generate_series(1, :rows) n;
UPDATE customers SET favourite_order = id / 5;
CREATE INDEX "orders by net, and ""quoted""" ON orders (net(gross) DESC NULLS LAST, lower(number::text COLLATE "C"))
    INCLUDE (id) WHERE gross > 10;
CREATE INDEX orders_state ON orders USING hash (state) TABLESPACE "fast space";
CREATE INDEX orders_brin ON orders USING brin (ordered_at) WITH (pages_per_range = 16);
ALTER INDEX "orders by net, and ""quoted""" ALTER COLUMN 1 SET STATISTICS 100;
ALTER TABLE orders CLUSTER ON orders_pkey;
ALTER TABLE orders REPLICA IDENTITY FULL;
CREATE STATISTICS orders_statistics (ndistinct, dependencies, mcv) ON customer, state FROM orders;
ALTER STATISTICS orders_statistics SET STATISTICS 50;
CREATE STATISTICS expression_statistics ON (gross * 2), (lower(number::text)) FROM orders;

-- The column runs ahead of its sequence: the next insert fails, before the backup and after the restore.
CREATE TABLE behind (id serial PRIMARY KEY, note text);
INSERT INTO behind (note) VALUES ('one'), ('two');
INSERT INTO behind VALUES (500, 'ahead of the sequence');

-- Constraints that today's rows break: added NOT VALID, to be restored so.
CREATE TABLE legacy (id int, customer int, amount int);
INSERT INTO legacy VALUES (1, -1, -5), (2, 100, 5), (2, 105, 6);
ALTER TABLE legacy ADD CONSTRAINT amount_positive CHECK (amount > 0) NOT VALID;
ALTER TABLE legacy ADD CONSTRAINT no_orphans FOREIGN KEY (customer) REFERENCES customers NOT VALID;
-- An index that failed half-way and stayed behind, invalid: pg_dump leaves it out.
\set ON_ERROR_STOP off
CREATE UNIQUE INDEX CONCURRENTLY legacy_invalid ON legacy (id);
\set ON_ERROR_STOP on

CREATE TABLE bookings (room int4range, during tstzrange, EXCLUDE USING gist (room WITH &&, during WITH &&));
INSERT INTO bookings VALUES ('[1,2)', '[2026-01-01, infinity)'), ('[2,3)', '(-infinity, infinity)'), ('[4,4)', 'empty');
CREATE TABLE no_rows (id int PRIMARY KEY, "a ""quoted"" column" text COLLATE "C");
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE typed OF address (street PRIMARY KEY, "house No." WITH OPTIONS DEFAULT 3);
INSERT INTO typed VALUES ('x');
CREATE UNLOGGED TABLE baskets (id int PRIMARY KEY, content jsonb);
INSERT INTO baskets SELECT n, jsonb_build_object('n', n, 'a', ARRAY[n]) FROM generate_series(1, 100) n;
CREATE TABLE in_fast_space (id int PRIMARY KEY USING INDEX TABLESPACE "fast space", t text) TABLESPACE "fast space";
INSERT INTO in_fast_space SELECT n, 'row ' || n FROM generate_series(1, 100) n;

-- Wide rows: TOASTed, compressible and not, in each storage.
CREATE TABLE wide (id int PRIMARY KEY, compressible text, random bytea, external text);
ALTER TABLE wide ALTER COLUMN external SET STORAGE EXTERNAL;
INSERT INTO wide SELECT n, repeat('wide ' || n, 20000), (SELECT string_agg(sha512((n || '/' || m)::bytea), '')
    FROM generate_series(1, 400) m), repeat(chr(228 + n % 20), 9000) FROM generate_series(1, :wide_rows) n;
\if :lz4
CREATE TABLE squeezed (id int, t text COMPRESSION lz4);
INSERT INTO squeezed VALUES (1, repeat('lz4', 9999));
\endif

-- Triggers: they would spoil a data-only restore unless disabled, and their states must come back.
CREATE TABLE ledger (id int PRIMARY KEY, amount int, note text);
INSERT INTO ledger SELECT n, n, 'as entered' FROM generate_series(1, 50) n;
CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.amount := NEW.amount + 1; NEW.note := 'spoiled by a trigger'; RETURN NEW; END $$;
CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the ledger is closed'; END $$;
CREATE TRIGGER spoils BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION spoil();
CREATE TRIGGER "forbids ""it""" BEFORE INSERT OR DELETE OR TRUNCATE ON ledger EXECUTE FUNCTION forbid('arg', 'it''s');
CREATE TRIGGER always BEFORE UPDATE OF amount ON ledger FOR EACH ROW WHEN (NEW.amount < 0) EXECUTE FUNCTION spoil();
CREATE TRIGGER on_replica AFTER DELETE ON ledger REFERENCING OLD TABLE AS gone EXECUTE FUNCTION forbid();
CREATE CONSTRAINT TRIGGER deferred AFTER UPDATE ON ledger DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION forbid();
ALTER TABLE ledger DISABLE TRIGGER "forbids ""it""";
ALTER TABLE ledger ENABLE ALWAYS TRIGGER always;
ALTER TABLE ledger ENABLE REPLICA TRIGGER on_replica;
COMMENT ON TRIGGER spoils ON ledger IS 'it''s a trigger';

-- Row-level security, which hides rows even from the owner.
CREATE TABLE secrets (id int, who name, secret text);
INSERT INTO secrets VALUES (1, 'shop app', 'a'), (2, 'nobody', 'b'), (3, 'shop_owner', 'c');
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY "own rows" ON secrets FOR SELECT TO "shop app", "readers group" USING (who = current_user);
CREATE POLICY restrict_all ON secrets AS RESTRICTIVE USING (id < 100) WITH CHECK (secret IS NOT NULL);
CREATE TABLE policies_asleep (id int);
CREATE POLICY asleep ON policies_asleep USING (false);

-- Rules and views: one hangs on a materialised view, one on a primary key, two on each other.
CREATE RULE keep AS ON DELETE TO typed DO INSTEAD NOTHING;
CREATE VIEW customer_totals WITH (security_barrier) AS
    SELECT c.id, c.name, sum(o.gross) AS total FROM customers c JOIN orders o ON o.customer = c.id GROUP BY c.id;
CREATE MATERIALIZED VIEW best_customers TABLESPACE "fast space" AS
    SELECT * FROM customer_totals WHERE total > 100 ORDER BY total DESC;
CREATE UNIQUE INDEX ON best_customers (id);
CREATE VIEW best_of_the_best AS SELECT * FROM best_customers WHERE total > 200;
CREATE MATERIALIZED VIEW never_filled AS SELECT * FROM best_of_the_best WITH NO DATA;
CREATE MATERIALIZED VIEW on_materialised AS SELECT count(*) AS n FROM best_of_the_best;
CREATE VIEW checked AS SELECT id, gross FROM orders WHERE gross < 50 WITH LOCAL CHECK OPTION;
CREATE VIEW invoker WITH (security_invoker) AS SELECT * FROM secrets;
CREATE RULE "write through" AS ON UPDATE TO best_of_the_best WHERE NEW.total > 0 DO ALSO SELECT tricky_body();
CREATE VIEW ring_a AS SELECT 1 AS n;
CREATE VIEW ring_b AS SELECT n FROM ring_a;
CREATE OR REPLACE VIEW ring_a AS SELECT n FROM (SELECT 1 AS n) x WHERE EXISTS (SELECT FROM no_rows);
ALTER VIEW checked ALTER COLUMN gross SET DEFAULT 3;
CREATE FUNCTION totals_of(v customer_totals) RETURNS numeric LANGUAGE sql BEGIN ATOMIC SELECT (v).total; END;
CREATE RECURSIVE VIEW counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 5;

-- Privileges: on columns, with grant option, by default, granted by one who is not the owner.
GRANT SELECT ON customers, orders TO "readers group";
GRANT SELECT (id, name), UPDATE (name) ON customers TO "-dash role" WITH GRANT OPTION;
GRANT INSERT, UPDATE, DELETE ON orders TO "shop app" WITH GRANT OPTION;
GRANT USAGE ON SEQUENCE orders_id_seq TO "shop app";
GRANT USAGE ON TYPE order_state TO "-dash role";
REVOKE ALL ON no_rows FROM shop_owner;
\if :v17
GRANT MAINTAIN ON orders TO "writers group";
\endif
ALTER DEFAULT PRIVILEGES IN SCHEMA "Order Data" GRANT SELECT ON TABLES TO "readers group";
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO "shop app" WITH GRANT OPTION;
RESET ROLE;
SET ROLE "shop app";
GRANT UPDATE ON "Order Data".orders TO "{{ lookup('pipe', 'id') }} $(id)";
RESET ROLE;

COMMENT ON TABLE orders IS E'quotes '' and "\nline two \\ {{ jinja }}\n\\.\n-- Name: x; Type: TABLE';
COMMENT ON COLUMN orders.gross IS 'ä € 😀';
COMMENT ON CONSTRAINT favourite ON customers IS 'closes the circle';
COMMENT ON INDEX orders_state IS 'in another tablespace';
COMMENT ON RULE keep ON typed IS 'nothing goes';
COMMENT ON POLICY "own rows" ON secrets IS 'own';
COMMENT ON MATERIALIZED VIEW best_customers IS 'mv';
COMMENT ON DOMAIN email IS 'd';

-- Foreign tables: the first wrapper has no handler, so that nobody can read its tables, as when a library is gone.
CREATE FOREIGN DATA WRAPPER no_handler OPTIONS (note 'it''s');
CREATE SERVER "far away" TYPE 'x' VERSION '1"2' FOREIGN DATA WRAPPER no_handler OPTIONS (host 'nowhere', "odd key" 'v');
CREATE USER MAPPING FOR "shop app" SERVER "far away" OPTIONS (password 'mapped secret');
CREATE FOREIGN TABLE audit.far_table (id int OPTIONS (col 'x') NOT NULL, t text DEFAULT 'x') SERVER "far away" OPTIONS (t 'y');
GRANT SELECT ON audit.far_table TO "readers group";
GRANT USAGE ON FOREIGN SERVER "far away" TO "shop app";
\if :postgres_fdw
CREATE EXTENSION postgres_fdw;
CREATE SERVER refuses FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1', dbname 'shop');
CREATE FOREIGN TABLE audit.refused (id int) SERVER refuses;
\endif

-- Event triggers: one forbids to drop the ledger, one is disabled.
CREATE FUNCTION audit.protect_ledger() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() WHERE object_name = 'ledger') THEN
        RAISE EXCEPTION 'nobody drops the ledger';
    END IF;
END $$;
CREATE EVENT TRIGGER protect_ledger ON sql_drop WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION audit.protect_ledger();
CREATE EVENT TRIGGER asleep ON ddl_command_end EXECUTE FUNCTION audit.protect_ledger();
ALTER EVENT TRIGGER asleep DISABLE;
ALTER EVENT TRIGGER protect_ledger ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER asleep IS 'zzz';

-- Of inserts alone: a table without a key could not be changed any more.
CREATE PUBLICATION all_tables FOR ALL TABLES WITH (publish = 'insert, truncate');
CREATE PUBLICATION "picked ""ones""" FOR TABLE "Order Data".customers WHERE (id > 5), TABLES IN SCHEMA audit
    WITH (publish = 'insert', publish_via_partition_root);
CREATE PUBLICATION columns FOR TABLE "Order Data".legacy (id, amount) WITH (publish = 'insert');
COMMENT ON PUBLICATION columns IS 'of columns';

-- Text search, a conversion, a transform, an access method, an operator class, a base type.
CREATE TEXT SEARCH DICTIONARY "Order Data".our_simple (TEMPLATE = simple, STOPWORDS = english);
CREATE TEXT SEARCH CONFIGURATION "Order Data".our_english (COPY = english);
ALTER TEXT SEARCH CONFIGURATION "Order Data".our_english ALTER MAPPING FOR word, asciiword WITH "Order Data".our_simple, simple;
CREATE CONVERSION "Order Data".our_conversion FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal), TO SQL WITH FUNCTION int4recv(internal));
CREATE ACCESS METHOD heap_too TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE audit.in_heap_too (id int) USING heap_too;
INSERT INTO audit.in_heap_too SELECT generate_series(1, 10);
CREATE OPERATOR FAMILY "Order Data".our_family USING btree;
CREATE OPERATOR CLASS "Order Data".our_ops FOR TYPE int USING btree FAMILY "Order Data".our_family AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(int, int);
CREATE INDEX ON audit.in_heap_too (id "Order Data".our_ops);
CREATE TYPE "Order Data".celsius;
CREATE FUNCTION "Order Data".celsius_in(cstring) RETURNS "Order Data".celsius LANGUAGE internal STRICT IMMUTABLE AS 'int4in';
CREATE FUNCTION "Order Data".celsius_out("Order Data".celsius) RETURNS cstring LANGUAGE internal STRICT IMMUTABLE AS 'int4out';
CREATE TYPE "Order Data".celsius (INPUT = "Order Data".celsius_in, OUTPUT = "Order Data".celsius_out, LIKE = int);
CREATE TABLE audit.weather (t "Order Data".celsius);
INSERT INTO audit.weather VALUES ('-273'), ('21');

-- Large objects: empty, with holes, of several pages, with owner, privileges and a comment.
SELECT lo_from_bytea(70001, ''), lo_from_bytea(70002, '\x00ff0a0d5c2e0a'::bytea),
    lo_from_bytea(70003, (SELECT string_agg(sha256(n::text::bytea), '') FROM generate_series(1, :large_object / 32) n))
\g /dev/null
SELECT lo_create(70004), lo_put(70004, 1000000, 'after a hole')
\g /dev/null
ALTER LARGE OBJECT 70002 OWNER TO shop_owner;
GRANT SELECT ON LARGE OBJECT 70002 TO "readers group";
GRANT SELECT, UPDATE ON LARGE OBJECT 70003 TO "shop app" WITH GRANT OPTION;
COMMENT ON LARGE OBJECT 70003 IS 'it''s large';
CREATE TABLE audit.documents (name text, content oid);
INSERT INTO audit.documents VALUES ('empty', 70001), ('odd bytes', 70002), ('long', 70003), ('holes', 70004);

\if :v18
CREATE TABLE audit.of_18 (id int4range, during daterange DEFAULT '[2026-01-01,)', a int CONSTRAINT named_not_null NOT NULL, twice int GENERATED ALWAYS AS (a * 2) VIRTUAL,
    CONSTRAINT never CHECK (a > 1000) NOT ENFORCED, PRIMARY KEY (id, during WITHOUT OVERLAPS));
INSERT INTO audit.of_18 (id, a) VALUES ('[1,5)', 1), ('[5,9)', 2);
ALTER TABLE audit.of_18 ADD CONSTRAINT late_not_null NOT NULL twice NOT VALID;
\endif
