-- Copyright: (c) 2026, holdfast.postgres contributors
-- GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later

-- SQL_ASCII: text that is valid in no encoding, and values whose writing the database's settings change.

SET client_min_messages = warning;
CREATE TABLE raw (id int PRIMARY KEY, t text);
INSERT INTO raw SELECT n, 'byte ' || convert_from(set_byte('\x00', 0, n), 'SQL_ASCII') || ' end' FROM generate_series(1, 255) n;
CREATE TABLE settings_matter (d date, i interval, f float8, b bytea);
INSERT INTO settings_matter VALUES ('2026-02-01', '1 year 2 mons -3 days 04:05:06.789', 1.0 / 3, '\x005c27ff'), ('1999-12-31', '-1 day', 1e300, '');
