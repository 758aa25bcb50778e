-- Copyright: (c) 2026, holdfast.postgres contributors
-- GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later

-- Names, text and a function in LATIN1.

SET client_min_messages = warning;
CREATE TABLE "Größe" ("Maß" text PRIMARY KEY);
INSERT INTO "Größe" SELECT chr(n) FROM generate_series(160, 255) n;
COMMENT ON TABLE "Größe" IS 'äöüß ÿ';
CREATE FUNCTION "grüßen"() RETURNS text LANGUAGE sql AS $$SELECT 'Grüße'$$;
-- Roles are shared by all databases: of those, only ASCII names mean the same in each encoding.
ALTER TABLE "Größe" OWNER TO "-dash role";
