-- Copyright: (c) 2026, holdfast.postgres contributors
-- GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later

-- A database whose collation is neither C nor the server's own, as far as the server can offer one.

CREATE TABLE words (id int GENERATED ALWAYS AS IDENTITY, word text UNIQUE);
INSERT INTO words (word) SELECT w || n FROM unnest(ARRAY['Ähre', 'ahnen', 'Zebra', 'öl', 'Öl', '_x', '-x', 'É', 'e']) w, generate_series(1, 20) n;
CREATE TABLE by_word (w text) PARTITION BY RANGE (w);
CREATE TABLE by_word_low PARTITION OF by_word FOR VALUES FROM (MINVALUE) TO ('m');
CREATE TABLE by_word_high PARTITION OF by_word FOR VALUES FROM ('m') TO (MAXVALUE);
INSERT INTO by_word SELECT word FROM words;
