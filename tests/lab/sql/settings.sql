-- Copyright: (c) 2026, holdfast.postgres contributors
-- GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later

-- Settings of databases, last because they would hinder the filling: a session that restores meets them all.

ALTER DATABASE shop SET search_path = "Order Data", public;
ALTER DATABASE shop SET timezone = 'Asia/Kathmandu';
ALTER ROLE "shop app" IN DATABASE shop SET work_mem = '7MB';
ALTER ROLE "shop app" IN DATABASE "Größe & ""Quotes""" SET search_path = '"Größe ""Schema"""', '';
ALTER DATABASE "read only" SET default_transaction_read_only = on;
ALTER DATABASE "read only" ALLOW_CONNECTIONS true CONNECTION LIMIT 0;
-- All of these change how values are written and read.
ALTER DATABASE "../a=b $(id) {{ 7*7 }} %s" SET "DateStyle" = 'SQL, DMY';
ALTER DATABASE "../a=b $(id) {{ 7*7 }} %s" SET "IntervalStyle" = 'sql_standard';
ALTER DATABASE "../a=b $(id) {{ 7*7 }} %s" SET bytea_output = 'escape';
ALTER DATABASE "../a=b $(id) {{ 7*7 }} %s" SET extra_float_digits = -5;
ALTER DATABASE "../a=b $(id) {{ 7*7 }} %s" SET escape_string_warning = off;
ALTER DATABASE "../a=b $(id) {{ 7*7 }} %s" SET quote_all_identifiers = on;
ALTER DATABASE "../a=b $(id) {{ 7*7 }} %s" SET client_min_messages = error;
ALTER DATABASE "UPPER Case" SET client_encoding = 'LATIN1';
ALTER DATABASE "UPPER Case" SET row_security = off;
