-- Copyright: (c) 2026, holdfast.postgres contributors
-- GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later

-- Names that need quoting, and values that are hard to write down and read back.

SET client_min_messages = warning;
SET TIME ZONE 'UTC';
CREATE SCHEMA "Größe ""Schema""" AUTHORIZATION "Größe ""Rolle""";
GRANT ALL ON SCHEMA "Größe ""Schema""" TO "-dash role";
SET search_path = "Größe ""Schema""";
SET ROLE "Größe ""Rolle""";

CREATE TABLE "-dash" (id int);
CREATE TABLE "UPPER" (id int);
CREATE TABLE "upper" (id int);
CREATE TABLE "with space; DROP TABLE x; --" (id int);
CREATE TABLE "a.b" ("c.d" int);
CREATE TABLE "*?[x]|(y)$^" (id int);
CREATE TABLE "{{ 7 * 7 }} {% raw %}" ("{{ lookup('env', 'HOME') }}" text);
CREATE TABLE "%s %(name)s $1 $HOME `id`" (id int);
CREATE TABLE "back\slash 'and' /slash/../.." (id int);
CREATE TABLE "tab	in a name" (id int);
CREATE TABLE "😀 emoji, 漢字, עברית" (id int);
CREATE TABLE "ünïcödé name of 63 bytes, öööööööööööööööööööö" ("ü" int CONSTRAINT "ü > ""0""" CHECK ("ü" > 0));
CREATE TABLE "table" ("select" int, "from" int, "user" int, "ORDER" int);
CREATE TABLE t (t int, "t.t" int, tableoid_ int);
CREATE TABLE U&"line\000Abreak" (U&"column\000Abreak" int DEFAULT 7);
COMMENT ON TABLE U&"line\000Abreak" IS E'line\nbreak';
SELECT format('INSERT INTO %s SELECT FROM generate_series(1, 3)', oid::regclass) FROM pg_class
    WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND relkind = 'r'
\gexec
UPDATE "{{ 7 * 7 }} {% raw %}" SET "{{ lookup('env', 'HOME') }}" = '{{ 6 * 7 }} {% endraw %}';

CREATE TABLE "values" (what text PRIMARY KEY, f4 real, f8 float8, n numeric, at timestamptz, plain timestamp, d date, i interval);
INSERT INTO "values" VALUES
    ('NaN', 'NaN', 'NaN', 'NaN', NULL, NULL, NULL, NULL),
    ('infinity', 'inf', 'inf', 'inf', 'infinity', 'infinity', 'infinity', NULL),
    ('-infinity', '-inf', '-inf', '-inf', '-infinity', '-infinity', '-infinity', NULL),
    ('minus zero', '-0', '-0', '-0', 'epoch', 'epoch', 'epoch', '0'),
    ('smallest', '1e-45', '5e-324', 1e-1000, '4714-11-24 00:00:00+00 BC', '4714-11-24 BC', '4714-11-24 BC', '-178000000 years'),
    ('largest', '3.4028235e38', '1.7976931348623157e308', 9e1000, '294276-12-31 23:59:59.999999+00', '294276-12-31', '5874897-12-31',
        '178000000 years -3 mons 4 days -00:00:00.000001'),
    ('exact', 0.1, 0.1::float8 + 0.2, 0.10000000000000000000, '2026-03-29 02:30:00+01', '2026-03-29 02:30', '0044-03-15 BC', '1 mon -1 day'),
    ('null', NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE texts (id int PRIMARY KEY, t text);
INSERT INTO texts VALUES (1, ''), (2, NULL), (3, '\N'), (4, '\.'), (5, E'\\.\n'), (6, E'tab\ttab'), (7, E'\r\n\r'), (8, E'\\'),
    (9, E'\b\f\v\x01\x7f'), (10, 'ä € 😀 e' || U&'\0301'), (11, '"quoted",comma;semi'), (12, 'NULL'), (13, '{{ x }}'),
    (14, E'--\n-- PostgreSQL database dump complete\n--\n'), (15, E'COPY t FROM stdin;\n1\n\\.\n'), (16, repeat(' ', 9)),
    (17, U&'\FEFF with a byte order mark'), (18, U&'\2028 line separator'), (19, E'\\restrict x\n\\unrestrict x\n\\connect postgres');
CREATE TABLE fixed (c char(5), v varchar(3), b bit(3), vb bit varying, n name, one "char");
INSERT INTO fixed VALUES ('a', 'abc', B'101', B'', 'name', 'x'), ('', '', B'000', B'1', '', ''), (NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE bytes (b int PRIMARY KEY, data bytea);
INSERT INTO bytes SELECT n, set_byte('\x00', 0, n) FROM generate_series(0, 255) n;
INSERT INTO bytes SELECT 256, string_agg(data, '' ORDER BY b) FROM bytes;
INSERT INTO bytes VALUES (257, '');

CREATE TABLE arrays (id int, a int[], b text[][], c numrange[], d bytea[], e "values"[]);
INSERT INTO arrays VALUES (1, '{}', '{}', '{}', '{}', '{}'), (2, '{NULL,1}', '{{"a,b","NULL"},{NULL,"\"}\""}}',
    ARRAY['(,)'::numrange, 'empty', '[1.5,)'], ARRAY['\x00'::bytea, '\x5c'], ARRAY(SELECT v FROM "values" v ORDER BY what)),
    (3, '[-2:0]={7,8,9}', '[0:0][5:6]={{x,y}}', NULL, NULL, NULL);

CREATE TABLE documents (j json, b jsonb, path jsonpath, v tsvector, q tsquery);
INSERT INTO documents VALUES ('{"a":1,  "a":2, "u":"\u00e4 \u0041"}', '{"big":12345678901234567890.10, "n":null, "e":{}, "q":"\""}',
    '$.a[*] ? (@ > 1)', to_tsvector('english', 'The quick ''brown'' foxes:3'), 'fox & !dog <-> ''it''''s'''), ('null', '[]', NULL, '', '');

CREATE TABLE assorted (m money, u uuid, ip inet, net cidr, mac macaddr8, p point, pg polygon, c circle, l line, x xid8, lsn pg_lsn,
    ts tsrange, tm tsmultirange, timetz timetz, tid tid, snap pg_snapshot, reg regclass, fn regprocedure, role regrole);
INSERT INTO assorted VALUES (-1234.56, '00000000-0000-0000-0000-000000000000', '::1/64', '10.0.0.0/8', '08:00:2b:01:02:03:04:05',
    '(NaN,-0)', '((0,0),(1,1),(1,0))', '<(0,0),Infinity>', '{1,-1,0}', '18446744073709551615', 'FFFFFFFF/FFFFFFFF',
    '[-infinity,infinity]', '{[2026-01-01,2026-01-02),(2026-02-01,)}', '24:00:00-12:34:56', '(4294967295,65535)', '10:20:10,14,15',
    '"{{ 7 * 7 }} {% raw %}"', 'pg_catalog.now()', '"-dash role"');
INSERT INTO assorted DEFAULT VALUES;

\if :xml
CREATE TABLE xmls (x xml);
INSERT INTO xmls VALUES ('<?xml version="1.0"?><a b="ä">&amp;<![CDATA[ <]]> ]]&gt;</a>'), ('content only <b/> &lt;');
\endif
\if :icu
CREATE COLLATION "German phonebook" (provider = icu, locale = 'de-u-co-phonebk');
CREATE COLLATION ignore_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE collated (a text COLLATE "German phonebook", b text COLLATE ignore_case UNIQUE);
INSERT INTO collated VALUES ('Müller', 'X'), ('Mueller', 'y');
CREATE INDEX ON collated (a);
\endif
RESET ROLE;

-- Many small tables: the catalogue counts as well as the bytes.
SELECT format($s$CREATE TABLE public.%1$I (id int PRIMARY KEY, n int DEFAULT %2$s); INSERT INTO public.%1$I VALUES (%2$s)$s$,
    'many ' || n, n) FROM generate_series(1, :many_tables) n
\gexec
