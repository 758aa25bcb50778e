-- Copyright: (c) 2026, holdfast.postgres contributors
-- GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later

-- One table: for the databases whose difficulty lies elsewhere.

CREATE TABLE kept (id int PRIMARY KEY, t text);
INSERT INTO kept SELECT n, 'row ' || n FROM generate_series(1, 10) n;
