-- Incidents: suspected faults, the technical groups and signals they hold, and every decision about them.

create table incident (
    id             uuid        primary key,
    title          text        not null,
    state          text        not null check (state in ('observed', 'candidate', 'confirmed', 'mitigating', 'fixed',
                                                         'closed', 'regressed', 'rejected', 'merged')),
    merged_into    uuid        references incident (id),
    cause          text        not null,
    -- whether a person set the cause: confirming then leaves it, even `unclear`
    cause_decided  boolean     not null default false,
    service        text        not null,
    severity       text        not null check (severity in ('low', 'medium', 'high', 'critical')),
    owner          text,       -- opaque subject id; never leaves this database by Kafka, metric or figure
    offices        text[]      not null default '{}',
    langs          text[]      not null default '{}',
    drivers        jsonb       not null default '{}',
    count_report   integer     not null default 0,
    count_error    integer     not null default 0,
    count_heat     integer     not null default 0,
    count_alert    integer     not null default 0,
    signals        integer     generated always as (count_report + count_error + count_heat + count_alert) stored,
    first_seen_at  timestamptz not null,
    last_seen_at   timestamptz not null,
    transitions    jsonb       not null,
    state_since    timestamptz not null,
    public_text    jsonb       not null default '{}',
    version        bigint      not null check (version > 0),
    -- Mere counts are announced at most once a second: they set `pending`, a task announces and clears it.
    pending        boolean     not null default false,
    announced_at   timestamptz not null,
    traceparent    text,       -- of the latest cause, so that a count announced later still belongs to a trace
    -- A merged incident says where it went, and only a merged one does.
    constraint merged_says_where check ((state = 'merged') = (merged_into is not null))
) with (fillfactor = 80);
create index incident_by_last_seen on incident (last_seen_at desc, id desc);
create index incident_by_service on incident (service, state, last_seen_at desc);
create index incident_by_state on incident (state);
create index incident_pending on incident (announced_at) where pending;

-- Title numbers: the row lock serialises two incidents that would be called the same.
create table incident_title (
    title text    primary key,
    last  integer not null
);

-- Only taken under the lock of creation, so that its order is the order of commits.
create sequence founding_sequence;

create table signal_group (
    id               uuid        primary key, -- derived from kind, scope, fingerprint and version
    kind             text        not null,
    fingerprint      text        not null,
    scope            text        not null,
    grouping_version text        not null,
    incident_id      uuid        not null references incident (id),
    founding         bigint,     -- position among the groups that founded an incident; null: joined one
    representative   boolean     not null, -- compared with new texts
    sample           text        not null, -- masked words
    service          text        not null,
    office           text,
    last_seen_at     timestamptz not null,
    unique (kind, scope, fingerprint, grouping_version)
) with (fillfactor = 80);
create unique index signal_group_founding on signal_group (founding) where founding is not null;
create index signal_group_of_incident on signal_group (incident_id);
create index signal_group_representatives on signal_group (last_seen_at desc) where representative;

create table decision (
    id          uuid        primary key,
    incident_id uuid        not null references incident (id),
    at          timestamptz not null,
    actor       text        not null, -- opaque subject id, or 'system'
    kind        text        not null,
    reason      text,
    before      jsonb       not null,
    after       jsonb       not null,
    version     bigint      not null, -- the incident's version after it
    sequence    bigint      generated always as identity
);
create index decision_of_incident on decision (incident_id, sequence);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the decision log is append-only' using errcode = 'restrict_violation';
end
$$;
create trigger decision_is_append_only before update or delete on decision
    for each row execute function refuse_change();
create trigger decision_is_never_emptied before truncate on decision
    for each statement execute function refuse_change();

create table signal (
    id               uuid        primary key, -- the report's, the error's, or that of a heat slot
    kind             text        not null check (kind in ('report', 'error', 'heat', 'alert')),
    source_id        text        not null,
    group_id         uuid,       -- null: nothing to recognise it by
    incident_id      uuid        references incident (id), -- null: stored, belongs to no incident
    at               timestamptz not null,
    received_at      timestamptz not null,
    service          text        not null,
    office           text,
    lang             text,
    text             text        not null,
    drivers          text[]      not null default '{}',
    layer            text,
    score            double precision,
    rule             text,
    terms            text[]      not null default '{}',
    nearest          uuid[]      not null default '{}',
    grouping_version text,
    link_version     integer     not null default 0,
    decision_id      uuid,
    linked_at        timestamptz,
    constraint linked_signals_say_why check (incident_id is null or (layer is not null and link_version > 0))
);
create index signal_of_incident on signal (incident_id, at desc, id desc);

-- What the edge has accepted in the last days: a repeated event changes nothing.
create table accepted_event (
    id          uuid        primary key,
    accepted_at timestamptz not null
);
create index accepted_event_by_age on accepted_event (accepted_at);
