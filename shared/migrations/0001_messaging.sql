-- The plumbing's tables of every service: what is to be sent, what has been seen, how far each partition was read.

create table outbox (
    id         bigint generated always as identity primary key,
    event_id   uuid        not null,
    topic      text        not null,
    key        text,       -- null: a dead letter whose key was no text; its bytes travel in the header dlq_key
    headers    bytea       not null, -- JSON [[name, value as latin-1 text or null], …]; published as they are
    payload    bytea,      -- published untouched; null: a dead letter without a body
    created_at timestamptz not null default clock_timestamp(),
    -- The broker refuses records beyond 1 MiB; such a row could never leave and would hold up all behind it.
    constraint outbox_fits_a_record check (coalesce(octet_length(payload), 0) + octet_length(headers) <= 1000000)
);
-- Rows live for milliseconds: vacuum must follow at once, or the relay walks over dead ones.
alter table outbox set (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 50000
);

create table inbox_event (
    topic    text        not null,
    event_id uuid        not null,
    seen_at  timestamptz not null default now(),
    primary key (event_id, topic)
);
create index inbox_event_by_age on inbox_event (seen_at);

create table inbox_watermark (
    cluster_id  text        not null,
    topic       text        not null,
    partition   integer     not null,
    next_offset bigint      not null check (next_offset >= 0),
    moved_at    timestamptz not null default now(),
    primary key (cluster_id, topic, partition)
) with (fillfactor = 50);

create table dead_letter_resent (
    cluster_id  text   not null,
    topic       text   not null, -- the dead-letter topic
    partition   integer not null,
    "offset"    bigint not null,
    resent_at   timestamptz not null default now(),
    primary key (cluster_id, topic, partition, "offset")
);
