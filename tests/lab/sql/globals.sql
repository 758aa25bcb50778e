-- Copyright: (c) 2026, holdfast.postgres contributors
-- GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later

-- Roles, tablespaces and databases.

-- Roles: names that need quoting everywhere, passwords that break naive quoting, every attribute.
CREATE ROLE shop_owner LOGIN CREATEDB PASSWORD 'it''s \a "secret" {{ 7*7 }}';
CREATE ROLE "shop app" LOGIN CONNECTION LIMIT 9 PASSWORD ' leading and trailing ';
CREATE ROLE "Größe ""Rolle""" LOGIN PASSWORD 'pässwörd';
CREATE ROLE "-dash role" LOGIN;
CREATE ROLE "readers group" NOLOGIN;
CREATE ROLE "writers group" NOLOGIN NOINHERIT;
CREATE ROLE temporary_worker LOGIN PASSWORD 'x' VALID UNTIL '2031-02-03 04:05:06+00';
CREATE ROLE for_ever LOGIN VALID UNTIL 'infinity';
CREATE ROLE role_manager NOLOGIN CREATEROLE;
CREATE ROLE copier LOGIN REPLICATION BYPASSRLS;
CREATE ROLE "{{ lookup('pipe', 'id') }} $(id)" NOLOGIN;
CREATE ROLE "sixty-three bytes long role name, the longest that is possible!" NOLOGIN;
-- A password kept as it was stored by a server of long ago. (Version 18 warns of md5; it keeps it.)
SET client_min_messages = error;
CREATE ROLE old_timer LOGIN PASSWORD 'md5aeef2abd6ba98c57ca07bc28ec4e2e39';
RESET client_min_messages;

GRANT "readers group" TO "shop app";
GRANT "readers group" TO "writers group" WITH ADMIN OPTION;
GRANT "writers group" TO "shop app", "Größe ""Rolle""";
GRANT pg_read_all_data TO copier;
GRANT shop_owner TO role_manager WITH ADMIN OPTION;
\if :v16
GRANT "readers group" TO temporary_worker WITH INHERIT FALSE, SET FALSE;
GRANT "writers group" TO "-dash role" WITH ADMIN TRUE, INHERIT TRUE, SET FALSE;
-- A membership that another role granted, which depends on the first.
GRANT "writers group" TO for_ever GRANTED BY "-dash role";
\endif

ALTER ROLE shop_owner SET search_path = "Order Data", public, "$user";
ALTER ROLE shop_owner SET work_mem = '13MB';
ALTER ROLE "shop app" SET application_name = 'it''s "odd" \ {{ name }}';
ALTER ROLE "shop app" SET "DateStyle" = 'German, DMY';
ALTER ROLE "Größe ""Rolle""" SET statement_timeout = '12min';
ALTER ROLE ALL SET log_min_duration_statement = '17s';
-- A parameter that no server knows, as extensions leave them behind.
ALTER ROLE copier SET holdfast.custom_setting = 'kept, ä';
GRANT SET ON PARAMETER log_statement TO "shop app";
GRANT ALTER SYSTEM ON PARAMETER work_mem TO role_manager WITH GRANT OPTION;

COMMENT ON ROLE shop_owner IS E'Owner''s comment\nwith a second line; DROP ROLE "none" -- and {{ jinja }}';
COMMENT ON ROLE "readers group" IS 'may read — all of it';

CREATE TABLESPACE "fast space" OWNER shop_owner LOCATION :'fast_space' WITH (random_page_cost = 1.25);
CREATE TABLESPACE db_space LOCATION :'db_space';
GRANT CREATE ON TABLESPACE "fast space" TO "shop app" WITH GRANT OPTION;
COMMENT ON TABLESPACE "fast space" IS 'quick; "quoted"';

-- Databases: names that are hard on shells, file names, conninfo parsers, option parsers and templates.
CREATE DATABASE shop OWNER shop_owner CONNECTION LIMIT 37 TEMPLATE template0;
CREATE DATABASE "Größe & ""Quotes""" OWNER "Größe ""Rolle""" TEMPLATE template0;
CREATE DATABASE "-leading dash" TEMPLATE template0 LOCALE 'C';
CREATE DATABASE "UPPER Case" TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' OWNER "-dash role";
CREATE DATABASE "upper case" TEMPLATE template0 TABLESPACE db_space;
CREATE DATABASE "../a=b $(id) {{ 7*7 }} %s" TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C';
CREATE DATABASE "other collation" TEMPLATE template0 :other_collation;
CREATE DATABASE replicated TEMPLATE template0;
CREATE DATABASE "read only" TEMPLATE template0;

REVOKE ALL ON DATABASE shop FROM PUBLIC;
GRANT CONNECT ON DATABASE shop TO "shop app" WITH GRANT OPTION;
GRANT CONNECT, TEMPORARY ON DATABASE shop TO "readers group";
GRANT CREATE ON DATABASE "Größe & ""Quotes""" TO "-dash role";
COMMENT ON DATABASE shop IS E'The shop''s "database"\nsecond line — ünïcödé, a back\\slash and a %s';
COMMENT ON DATABASE "-leading dash" IS '';
