-- EZREC's memory. Instants in columns that end in _at are UTC µs, in _us run-monotonic µs. Paths are relative to the
-- data folder. A row that names a file is written after the file is closed and fsynced; see docs/design.md, "Promises".
-- Version 5. Every later version adds its step to MIGRATIONS in store/database.py.

CREATE TABLE booking (                      -- what the sources ask for, validated
    id         TEXT PRIMARY KEY,
    source     TEXT NOT NULL,               -- only this source may change or drop the row
    starts_at  INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL CHECK (ends_at > starts_at),
    status     TEXT NOT NULL,
    row        TEXT NOT NULL,               -- the row as it came, JSON
    seen_at    INTEGER NOT NULL,            -- when it came to be as it is
    reported   INTEGER NOT NULL DEFAULT 0   -- its source wants to know what becomes of it
) STRICT;

CREATE TABLE film (                         -- one booking's product; stays as history when everything else is gone
    booking_id    TEXT PRIMARY KEY,
    recording_id  TEXT NOT NULL UNIQUE,     -- names its folder; made here, never from a row
    generation    INTEGER NOT NULL DEFAULT 1,
    stage         TEXT NOT NULL,
    starts_at     INTEGER NOT NULL,         -- the window: the booking's times with pre- and post-roll
    ends_at       INTEGER NOT NULL,
    recipe        TEXT,                     -- JSON, frozen when the first chunk is planned
    object_key    TEXT,                     -- of this generation; stored before anything is uploaded
    upload_id     TEXT,
    url           TEXT,                     -- where the stored film is found
    bytes         INTEGER,
    sha256        TEXT,                     -- composite: sha256 over the parts' binary sha256s, a dash, their number
    attempts      INTEGER NOT NULL DEFAULT 0,
    retry_at      INTEGER,
    parked_step   TEXT,                     -- the step that was parked first: a person must send it on its way again
    parked_reason TEXT,
    certificate   TEXT,                     -- JSON
    changed_at    INTEGER NOT NULL,         -- when it took its last step
    sums          TEXT,                     -- JSON: SHA-256 of each part of the closed film, as it was joined
    also_parked   TEXT,                     -- JSON: step → reason, of the other steps that are parked
    passing       TEXT                      -- JSON: step → when a step that is parked is tried again by itself
) STRICT;

CREATE TABLE run (                          -- one unbroken life of the recorder on one monotonic clock
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    boot_id    TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    recovered_at INTEGER                    -- when it was found again after the store was lost or damaged
) STRICT;

CREATE TABLE recovery (                     -- the store was lost or damaged, and made anew
    at     INTEGER PRIMARY KEY,             -- nothing that lies before it is told as failed
    reason TEXT NOT NULL
) STRICT;

CREATE TABLE offset (                       -- UTC = monotonic + wall_offset_us, from from_us on
    run            INTEGER NOT NULL REFERENCES run (id),
    from_us        INTEGER NOT NULL,
    wall_offset_us INTEGER NOT NULL,
    PRIMARY KEY (run, from_us)
) STRICT;

CREATE TABLE span (                         -- a film's window as it lies on a run
    film          TEXT NOT NULL REFERENCES film (booking_id) ON DELETE CASCADE,
    run           INTEGER NOT NULL REFERENCES run (id),
    start_offset_us INTEGER NOT NULL,       -- UTC minus monotonic when the film began on this run: its start keeps it
    start_us      INTEGER NOT NULL,
    end_us        INTEGER NOT NULL,
    anchor_us     INTEGER NOT NULL,         -- tick 0; stays when the start is moved
    reach_from_us INTEGER NOT NULL,         -- every time that the window ever touched
    reach_to_us   INTEGER NOT NULL,
    PRIMARY KEY (film, run)
) STRICT;

CREATE TABLE segment (                      -- a closed, fsynced file with some seconds of one camera
    camera   TEXT NOT NULL,
    run      INTEGER NOT NULL REFERENCES run (id),
    start_us INTEGER NOT NULL,
    end_us   INTEGER NOT NULL,
    frames   INTEGER NOT NULL,
    dropped  INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    path     TEXT NOT NULL UNIQUE,
    gaps     TEXT NOT NULL DEFAULT '[]',    -- JSON [[from_us, to_us], …]: inside the file, where no frame came
    doomed   INTEGER NOT NULL DEFAULT 0,    -- its file is being deleted: the row goes last
    PRIMARY KEY (run, camera, start_us)
) STRICT;

CREATE TABLE chunk (                        -- written before it is rendered
    film       TEXT NOT NULL REFERENCES film (booking_id) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    number     INTEGER NOT NULL,            -- from 1; 0 is the intro and has no row
    run        INTEGER NOT NULL,
    start_us   INTEGER NOT NULL,
    first_tick INTEGER NOT NULL,            -- on the span's grid
    ticks      INTEGER NOT NULL CHECK (ticks > 0),
    state      TEXT NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'rendered')),
    path       TEXT NOT NULL,
    bytes      INTEGER NOT NULL DEFAULT 0,
    fallback   TEXT NOT NULL DEFAULT 'full',  -- the rung of the ladder it is (or was) rendered on
    attempts   INTEGER NOT NULL DEFAULT 0,    -- on this rung
    report     TEXT,                        -- JSON, the worker's
    PRIMARY KEY (film, generation, number)
) STRICT;

CREATE TABLE part (                         -- a numbered range of the film that the storage confirmed
    film       TEXT NOT NULL REFERENCES film (booking_id) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    offset     INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    md5        TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    PRIMARY KEY (film, generation, number)
) STRICT;

CREATE TABLE video (                        -- the local `videos` table: one row per published film
    booking_id   TEXT PRIMARY KEY,
    recording_id TEXT NOT NULL UNIQUE,
    row          TEXT NOT NULL              -- JSON
) STRICT;

CREATE TABLE outbox (                       -- what has still to be reported; a booking's in the order of their ids
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    booking_id    TEXT NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('status', 'video', 'abort')),
    body          TEXT NOT NULL,            -- JSON
    attempts      INTEGER NOT NULL DEFAULT 0,
    retry_at      INTEGER,
    parked_reason TEXT                      -- refused for good: waits for a person, what follows it goes on
) STRICT;

CREATE TABLE event (                        -- a film's story for people; no step is decided by it
    id         INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    booking_id TEXT,
    kind       TEXT NOT NULL,
    detail     TEXT NOT NULL DEFAULT '{}'   -- JSON
) STRICT;

CREATE INDEX event_of_booking ON event (booking_id, id);
CREATE INDEX film_by_stage ON film (stage);  -- the recorder asks for the few that have work left, twice a second
CREATE INDEX outbox_of_booking ON outbox (booking_id, id);
CREATE INDEX segment_by_time ON segment (run, end_us);
