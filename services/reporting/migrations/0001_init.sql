-- Everything that comes out of the log stands in one schema, together with the position in the log it was read to:
-- `figures` can be built anew beside itself and be swapped by renaming. Tables only, no sequences, no insertion times:
-- the same log gives the same rows. Unqualified names are found by the connection's search_path (figures, public).
create schema figures;

alter table inbox_watermark set schema figures;

-- One row a report: where it counts. Never a word, a receipt or an instant finer than the office's day.
create table figures.fact_report (
    report_id    uuid primary key,
    day          date     not null,
    office       text     not null,
    service      text     not null,
    channel      text     not null,
    lang         text     not null,
    kind         text     not null,
    rating       smallint check (rating between 1 and 5),
    cause_judged text     not null,
    cause        text     not null -- in force
) with (fillfactor = 85); -- room to change the cause in place

-- Where each report belongs, by the highest link_version; may be here before its report.
create table figures.fact_link (
    report_id    uuid primary key,
    signal_id    uuid   not null,
    link_version bigint not null,
    incident_id  uuid   -- null: it left
) with (fillfactor = 85);
create index fact_link_by_incident on figures.fact_link (incident_id) where incident_id is not null;

-- The highest version of each incident.
create table figures.fact_incident (
    incident_id    uuid primary key,
    version        bigint      not null,
    changed_at     timestamptz not null,
    state          text        not null,
    merged_into    uuid,
    cause          text        not null,
    offices        text[]      not null,
    started_at     timestamptz not null,
    candidate_at   timestamptz,
    confirmed_at   timestamptz,
    fixed_at       timestamptz check (fixed_at >= confirmed_at),
    cause_in_force text        -- what it gives to its reports; null: nothing (not confirmed, or merged into such a one)
) with (fillfactor = 70);
create index fact_incident_by_target on figures.fact_incident (merged_into) where merged_into is not null;
-- What people have to deal with; mere observations are many and are never timed.
create index fact_incident_by_start on figures.fact_incident (started_at)
 where candidate_at is not null or confirmed_at is not null;

create table figures.fact_heat (
    heat_id uuid primary key,
    service text not null
);

-- The figures by the finest cell. A row is there exactly if a report is.
create table figures.rollup_day (
    day              date   not null,
    office           text   not null,
    service          text   not null,
    channel          text   not null,
    lang             text   not null,
    kind             text   not null,
    n                bigint not null check (n >= 0),
    rating_1         bigint not null,
    rating_2         bigint not null,
    rating_3         bigint not null,
    rating_4         bigint not null,
    rating_5         bigint not null,
    cause_system     bigint not null,
    cause_process    bigint not null,
    cause_behaviour  bigint not null,
    cause_decision   bigint not null,
    cause_unclear    bigint not null,
    primary key (day, office, service, channel, lang, kind),
    constraint every_report_has_one_cause_in_force
        check (cause_system + cause_process + cause_behaviour + cause_decision + cause_unclear = n),
    constraint a_report_has_at_most_one_rating check (rating_1 + rating_2 + rating_3 + rating_4 + rating_5 <= n)
) with (fillfactor = 85);

-- The same over all days, offices and languages, and the causes as judged on arrival: the few rows that Prometheus
-- reads.
create table figures.rollup_total (
    service          text   not null,
    channel          text   not null,
    kind             text   not null,
    n                bigint not null check (n >= 0),
    rating_1         bigint not null,
    rating_2         bigint not null,
    rating_3         bigint not null,
    rating_4         bigint not null,
    rating_5         bigint not null,
    cause_system     bigint not null,
    cause_process    bigint not null,
    cause_behaviour  bigint not null,
    cause_decision   bigint not null,
    cause_unclear    bigint not null,
    judged_system    bigint not null,
    judged_process   bigint not null,
    judged_behaviour bigint not null,
    judged_decision  bigint not null,
    judged_unclear   bigint not null,
    primary key (service, channel, kind)
) with (fillfactor = 50);

create table figures.rollup_incident (
    state text   primary key,
    n     bigint not null check (n > 0)
) with (fillfactor = 50);

-- Histogram of the times incidents took; sums in whole microseconds, so that the order of adding does not matter.
create table figures.rollup_timing (
    measure      text             not null,
    le_seconds   double precision not null,
    n            bigint           not null check (n > 0),
    microseconds numeric          not null,
    primary key (measure, le_seconds)
) with (fillfactor = 50);

create table figures.rollup_heat (
    service text   primary key,
    n       bigint not null check (n > 0)
) with (fillfactor = 50);

-- The newest event of each topic that the figures contain.
create table figures.freshness (
    topic     text        primary key,
    newest_at timestamptz not null
) with (fillfactor = 50);
