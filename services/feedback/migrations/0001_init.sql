-- Reports with their masked words, and what feedback knows of incidents so that it can answer without them.

create table report (
    report_id      uuid        primary key,
    -- Keyed hash of the receipt. The receipt is derived from the idempotency key, so one key is one row by this alone.
    receipt_hash   bytea       not null,
    -- Keyed hash of the body, to tell a retry from another report under the same key.
    body_hash      bytea       not null,
    office         text        not null,
    service        text        not null,
    channel        text        not null,
    lang           text        not null,
    kind           text        not null,
    rating         smallint,
    drivers        text[]      not null,
    text           text        not null, -- masked; the original is stored nowhere
    joins_incident uuid,
    cause          text        not null,
    blames_person  boolean     not null,
    submitted_at   timestamptz not null,
    constraint report_receipt_once unique (receipt_hash),
    constraint report_receipt_hash_is_sha256 check (octet_length(receipt_hash) = 32),
    constraint report_body_hash_is_sha256 check (octet_length(body_hash) = 32),
    constraint report_rating_is_one_to_five check (rating between 1 and 5),
    -- An empty report says nothing to anybody.
    constraint report_says_something check (rating is not null or text <> '')
);

-- Where each report belongs by the highest version known. No foreign key: after a restore, links may come first.
create table report_link (
    report_id    uuid        primary key,
    link_version integer     not null,
    incident_id  uuid, -- null: left its incident
    linked_at    timestamptz not null
);

-- The highest version known of each incident.
create table incident_projection (
    incident_id   uuid        primary key,
    version       integer     not null,
    state         text        not null,
    merged_into   uuid,
    title         text        not null,
    service       text        not null,
    reports       integer     not null,
    first_seen_at timestamptz not null,
    entered       jsonb       not null, -- [[state, instant], …], oldest first
    words         jsonb       not null  -- {language: [title, text, workaround]}
);
-- Readers in memory ask for what is or may become public; the others are many and never shown.
create index incident_projection_shown on incident_projection (state)
    where state in ('confirmed', 'mitigating', 'regressed', 'fixed');
