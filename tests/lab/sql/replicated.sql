-- Copyright: (c) 2026, holdfast.postgres contributors
-- GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later

-- Replication: what this database has forbids to drop it, until subscription and slot are gone.

SET client_min_messages = error;
CREATE TABLE public.feed (id int PRIMARY KEY, t text);
INSERT INTO public.feed VALUES (1, 'one');
CREATE PUBLICATION feed FOR TABLE public.feed;
CREATE SUBSCRIPTION "a ""sub""" CONNECTION 'host=127.0.0.1 port=1 dbname=x password=''subscription secret''' PUBLICATION feed
    WITH (connect = false, enabled = false, slot_name = NONE, streaming = on);
COMMENT ON SUBSCRIPTION "a ""sub""" IS 'follows nothing';
SELECT pg_create_logical_replication_slot('lab_logical', 'pgoutput')
\g /dev/null
SELECT pg_create_physical_replication_slot('lab_physical')
\g /dev/null
