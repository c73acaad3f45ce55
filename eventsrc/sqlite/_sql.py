"""The SQL of the SQLite store: its tables and its statements."""

from __future__ import annotations

from typing import Final

from eventsrc.sqlite._schema import Schema

STAMP: Final = 0x65737263
"""The application_id of a store's file: "esrc"."""

SCRIPTS: Final = (
    # Streams and kinds have small numbers: rows are short, and the index of events is half as large as
    # with names. An event is found by its position in the feed, and by stream and version; the first
    # event of an append by the append's id, if the caller chose that.
    """
    CREATE TABLE eventsrc_store (id TEXT NOT NULL);
    CREATE TABLE eventsrc_stream (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    );
    CREATE TABLE eventsrc_kind (
        id INTEGER PRIMARY KEY,
        type TEXT NOT NULL,
        schema INTEGER NOT NULL,
        codec TEXT NOT NULL,
        UNIQUE (type, schema, codec)
    );
    CREATE TABLE eventsrc_event (
        position INTEGER PRIMARY KEY,
        stream INTEGER NOT NULL REFERENCES eventsrc_stream,
        version INTEGER NOT NULL,
        kind INTEGER NOT NULL REFERENCES eventsrc_kind,
        recorded_at INTEGER NOT NULL,
        data BLOB NOT NULL,
        data_crc INTEGER NOT NULL,
        rest BLOB NOT NULL
    );
    CREATE UNIQUE INDEX eventsrc_event_by_stream ON eventsrc_event (stream, version);
    CREATE TABLE eventsrc_append (
        id BLOB PRIMARY KEY,
        position INTEGER NOT NULL REFERENCES eventsrc_event
    ) WITHOUT ROWID;
    CREATE TABLE eventsrc_snapshot (
        stream TEXT NOT NULL,
        fold TEXT NOT NULL,
        fold_version INTEGER NOT NULL,
        version INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (stream, fold, fold_version)
    );
    CREATE VIEW eventsrc_events AS
        SELECT position, name AS stream, version, type, schema,
            CAST(data AS TEXT) AS data,
            CAST(substr(rest, 25) AS TEXT) AS metadata,
            hex(substr(rest, 1, 16)) AS append_id,
            strftime('%Y-%m-%dT%H:%M:%fZ', recorded_at / 1e6, 'unixepoch') AS recorded_at
        FROM eventsrc_event
        JOIN eventsrc_stream ON eventsrc_stream.id = stream
        JOIN eventsrc_kind ON eventsrc_kind.id = kind;
    """,
    # What the release of 0.1 has that commit 4fdead8 had not.
    """
    CREATE TABLE eventsrc_epoch (number INTEGER PRIMARY KEY, position INTEGER NOT NULL);
    INSERT INTO eventsrc_epoch VALUES (1, 0);

    -- A store that is emptied, as by a test suite between its tests, begins another epoch: so what
    -- processes know of its kinds, whose numbers are given anew, is not relied on. Snapshots, which
    -- are states of streams that are gone, go with them.
    CREATE TRIGGER eventsrc_emptied AFTER DELETE ON eventsrc_kind
    WHEN NOT EXISTS (SELECT 1 FROM eventsrc_kind)
    BEGIN
        INSERT INTO eventsrc_epoch
        SELECT
            max(
                (SELECT coalesce(max(number), 0) + 1 FROM eventsrc_epoch),
                CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
            ),
            (SELECT coalesce(max(position), 0) FROM eventsrc_event);
        DELETE FROM eventsrc_snapshot;
        DELETE FROM eventsrc_tagged;
    END;

    -- The tags of events, by which they are found across streams. Kinds are declared with some; one of
    -- which each event has them is whole, and the others are so up to a position of the feed.
    ALTER TABLE eventsrc_kind ADD COLUMN tags TEXT NOT NULL DEFAULT '';
    ALTER TABLE eventsrc_kind ADD COLUMN is_whole INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE eventsrc_kind ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE eventsrc_tagged (
        tag TEXT NOT NULL,
        position INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        PRIMARY KEY (tag, position)
    ) WITHOUT ROWID;

    -- The store's secret, of which ids are made that the store chooses. Those that were made without it
    -- are found by the index.
    ALTER TABLE eventsrc_store ADD COLUMN key BLOB;
    UPDATE eventsrc_store SET key = randomblob(32);
    INSERT OR IGNORE INTO eventsrc_append
    SELECT substr(rest, 1, 16), position FROM eventsrc_event
    WHERE substr(rest, 17, 4) = x'00000000' AND substr(rest, 7, 1) BETWEEN x'80' AND x'8f';
    """,
)

SCHEMA: Final = Schema("store", SCRIPTS, STAMP)

STORE: Final = "SELECT id, key FROM eventsrc_store"
ADD_STORE: Final = "INSERT INTO eventsrc_store VALUES (?, randomblob(32))"

# by the primary key, as in all that ask for the number of the last epoch on their way
EPOCHS: Final = "SELECT number, position FROM eventsrc_epoch ORDER BY number"
ADD_EPOCH: Final = "INSERT INTO eventsrc_epoch VALUES (?, ?)"

# by eventsrc_stream's unique name, then eventsrc_event_by_stream
HEAD: Final = """
    SELECT id, (SELECT max(version) FROM eventsrc_event WHERE stream = eventsrc_stream.id), epoch
    FROM (SELECT max(number) AS epoch FROM eventsrc_epoch) LEFT JOIN eventsrc_stream ON name = ?
"""
# by eventsrc_event_by_stream
POSITION: Final = """
    SELECT position FROM eventsrc_event
    WHERE stream = (SELECT id FROM eventsrc_stream WHERE name = ?) AND version = ?
"""

# by eventsrc_event_by_stream
READ_DATA: Final = """
    SELECT kind, data, data_crc FROM eventsrc_event
    WHERE stream = ? AND version > ? AND version <= ?
    ORDER BY version
"""
READ: Final = """
    SELECT version, kind, position, recorded_at, data, data_crc, rest FROM eventsrc_event
    WHERE stream = ? AND version > ?
    ORDER BY version LIMIT ?
"""
READ_BACKWARDS: Final = """
    SELECT version, kind, position, recorded_at, data, data_crc, rest FROM eventsrc_event
    WHERE stream = ? AND version < ?
    ORDER BY version DESC LIMIT ?
"""

# by the primary key; CROSS JOIN keeps SQLite from beginning with the streams
END: Final = """
    SELECT coalesce(max(position), 0), (SELECT max(number) FROM eventsrc_epoch) FROM eventsrc_event
"""
FEED: Final = """
    SELECT position, name, version, kind, recorded_at, data, data_crc, rest
    FROM eventsrc_event CROSS JOIN eventsrc_stream ON eventsrc_stream.id = stream
    WHERE position > :after AND position <= :until
        AND (:prefix = '' OR (name >= :prefix AND name < :beyond))
        AND (:types IS NULL OR kind IN (
            SELECT id FROM eventsrc_kind WHERE type IN (SELECT value FROM json_each(:types))
        ))
    ORDER BY position LIMIT :limit
"""
FEED_DATA: Final = """
    SELECT name, version, kind, data, data_crc
    FROM eventsrc_event CROSS JOIN eventsrc_stream ON eventsrc_stream.id = stream
    WHERE position > ? AND position <= ?
    ORDER BY position
"""
COUNT: Final = "SELECT count(*) FROM eventsrc_event WHERE position > ? AND position <= ?"
KINDS: Final = "SELECT id, type, schema, codec FROM eventsrc_kind"
KIND: Final = """
    SELECT id, tags, is_whole FROM eventsrc_kind WHERE type = ? AND schema = ? AND codec = ?
"""

# by the primary key of eventsrc_append
FIND_KEYED: Final = "SELECT position FROM eventsrc_append WHERE id = ?"
# by the primary key: one row
FIND_OWN: Final = "SELECT position FROM eventsrc_event WHERE position = ? AND substr(rest, 1, 20) = ?"
# by the primary key: the events of an append stand together
OF_APPEND: Final = """
    SELECT position, name, version, kind, recorded_at, data, data_crc, rest
    FROM eventsrc_event CROSS JOIN eventsrc_stream ON eventsrc_stream.id = stream
    WHERE position >= ? ORDER BY position
"""

ADD_STREAM: Final = "INSERT INTO eventsrc_stream (name) VALUES (?)"
ADD_KIND: Final = """
    INSERT INTO eventsrc_kind (type, schema, codec, tags, is_whole) VALUES (?, ?, ?, ?, ?)
"""
ADD_APPEND: Final = "INSERT INTO eventsrc_append VALUES (?, ?)"
ADD_EVENT: Final = "INSERT INTO eventsrc_event VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
# Nothing is stored if what is known of the tables is no more so: they may have been emptied since.
ADD_EVENT_IN: Final = """
    INSERT INTO eventsrc_event
    SELECT position, stream, version, kind, recorded_at, data, data_crc, rest
    FROM (
        SELECT ? AS position, ? AS stream, ? AS version, ? AS kind, ? AS recorded_at, ? AS data,
            ? AS data_crc, ? AS rest, ? AS epoch, ? AS name
    ) AS came
    WHERE (SELECT max(position) FROM eventsrc_event) = came.position - 1
        AND (SELECT max(number) FROM eventsrc_epoch) = came.epoch
        AND (SELECT name FROM eventsrc_stream WHERE id = came.stream) = came.name
        AND EXISTS (
            SELECT 1 FROM eventsrc_event WHERE stream = came.stream AND version = came.version - 1
        )
        AND NOT (SELECT is_whole FROM eventsrc_kind WHERE id = came.kind)
"""
# As ADD_EVENT_IN, of an event with the tags that those of its kind are declared with.
ADD_TAGGED_EVENT_IN: Final = """
    INSERT INTO eventsrc_event
    SELECT position, stream, version, kind, recorded_at, data, data_crc, rest
    FROM (
        SELECT ? AS position, ? AS stream, ? AS version, ? AS kind, ? AS recorded_at, ? AS data,
            ? AS data_crc, ? AS rest, ? AS epoch, ? AS name, ? AS tags
    ) AS came
    WHERE (SELECT max(position) FROM eventsrc_event) = came.position - 1
        AND (SELECT max(number) FROM eventsrc_epoch) = came.epoch
        AND (SELECT name FROM eventsrc_stream WHERE id = came.stream) = came.name
        AND EXISTS (
            SELECT 1 FROM eventsrc_event WHERE stream = came.stream AND version = came.version - 1
        )
        AND EXISTS (
            SELECT 1 FROM eventsrc_kind
            WHERE id = came.kind AND tags = came.tags AND (is_whole OR tags = '')
        )
"""

ADD_TAG: Final = "INSERT OR IGNORE INTO eventsrc_tagged VALUES (?, ?, ?)"
DECLARATIONS: Final = "SELECT id, type, tags, is_whole, indexed FROM eventsrc_kind"
# by the primary key of eventsrc_tagged
TAGGED: Final = """
    SELECT position, kind FROM eventsrc_tagged WHERE tag = ? AND position > ? ORDER BY position
"""
# by the primary keys of eventsrc_event and eventsrc_stream
STREAM_AT: Final = """
    SELECT name FROM eventsrc_event JOIN eventsrc_stream ON eventsrc_stream.id = stream
    WHERE position = ?
"""
AT: Final = """
    SELECT position, name, version, kind, recorded_at, data, data_crc, rest
    FROM eventsrc_event JOIN eventsrc_stream ON eventsrc_stream.id = stream
    WHERE position = ?
"""
# by the primary key of eventsrc_event; CROSS JOIN keeps SQLite from beginning with the streams
BETWEEN: Final = """
    SELECT position, kind, name
    FROM eventsrc_event CROSS JOIN eventsrc_stream ON eventsrc_stream.id = stream
    WHERE position > ? AND position <= ? ORDER BY position
"""
DATA_BETWEEN: Final = """
    SELECT position, kind, data FROM eventsrc_event
    WHERE position > ? AND position <= ? ORDER BY position
"""
FORGET_TAGS: Final = "DELETE FROM eventsrc_tagged WHERE kind = ?"
DECLARE: Final = "UPDATE eventsrc_kind SET tags = ?, is_whole = ?, indexed = ? WHERE id = ?"

# by the primary key
RECORDS: Final = """
    SELECT position, name, version, kind, recorded_at, data, data_crc, rest
    FROM eventsrc_event CROSS JOIN eventsrc_stream ON eventsrc_stream.id = stream
    WHERE position BETWEEN ? AND ? ORDER BY position
"""
SET_STORE: Final = "UPDATE eventsrc_store SET id = ?, key = ?"
CLEAR_EPOCHS: Final = "DELETE FROM eventsrc_epoch"

LOAD_SNAPSHOT: Final = """
    SELECT version, data FROM eventsrc_snapshot WHERE stream = ? AND fold = ? AND fold_version = ?
"""
SAVE_SNAPSHOT: Final = """
    INSERT INTO eventsrc_snapshot VALUES (:stream, :fold, :fold_version, :version, :data)
    ON CONFLICT DO UPDATE SET version = excluded.version, data = excluded.data
    WHERE excluded.version > eventsrc_snapshot.version
"""
