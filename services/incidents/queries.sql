-- name: lock_creation!
-- Serialises the founding of incidents over all processes until the end of the transaction.
select pg_advisory_xact_lock(6071201, 2);

-- name: list_known_signals
-- Which of these signals are stored already.
select id from signal where id = any(:ids::uuid[]);

-- name: list_groups
-- The incident that each known group belongs to, with its state.
select signal_group.id, signal_group.incident_id, incident.state
  from signal_group join incident on incident.id = signal_group.incident_id
 where signal_group.id = any(:ids::uuid[]);

-- name: list_incident_states
-- State and merge target of incidents by id.
select id, state, merged_into from incident where id = any(:ids::uuid[]);

-- name: list_recent_incidents
-- Per service and office asked for: the active incident last seen there since the given instant.
select distinct on (asked.service, asked.office) asked.service, asked.office, incident.id
  from unnest(:services::text[], :offices::text[]) as asked (service, office)
  join incident on incident.service = asked.service and asked.office = any(incident.offices)
 where incident.state = any(:states::text[]) and incident.last_seen_at >= :since
 order by asked.service, asked.office, incident.last_seen_at desc, incident.id;

-- name: list_representatives
-- The representatives last seen, newest first, for a process that starts.
select id, incident_id, sample, service, office, last_seen_at
  from signal_group where representative
 order by last_seen_at desc, id limit :max_rows;

-- name: get_last_founding$
-- The position of the youngest founding that has been committed.
select coalesce(max(founding), 0) from signal_group;

-- name: list_foundings_after
-- Groups that founded an incident since the given position.
select id, incident_id, founding, representative, sample, service, office, last_seen_at
  from signal_group where founding > :after order by founding;

-- name: lock_incidents
-- The incidents of a batch for update, in one order for all processes.
select * from incident where id = any(:ids::uuid[]) order by id for update;

-- name: take_title_numbers
-- How many incidents were ever called so, those that ask now included.
insert into incident_title as known (title, last)
select title, amount from unnest(:titles::text[], :amounts::integer[]) as wanted (title, amount) order by title
    on conflict (title) do update set last = known.last + excluded.last
returning title, last;

-- name: insert_incidents!
-- New incidents.
insert into incident (id, title, state, cause, cause_decided, service, severity, offices, langs, drivers, count_report,
                      count_error, count_heat, count_alert, first_seen_at, last_seen_at, transitions, state_since, version,
                      announced_at, traceparent)
select id, title, state, cause, cause_decided, service, severity, offices, langs, drivers, count_report, count_error,
       count_heat, count_alert, first_seen_at, last_seen_at, transitions, state_since, version, :now, traceparent
  from jsonb_to_recordset(:rows::jsonb) as row (
       id uuid, title text, state text, cause text, cause_decided boolean, service text, severity text, offices text[],
       langs text[], drivers jsonb, count_report integer, count_error integer, count_heat integer, count_alert integer,
       first_seen_at timestamptz, last_seen_at timestamptz, transitions jsonb, state_since timestamptz, version bigint,
       traceparent text);

-- name: update_incidents!
-- Changed incidents, locked before; `announced` tells whether the same transaction announces them.
update incident
   set title = row.title, state = row.state, merged_into = row.merged_into, cause = row.cause,
       cause_decided = row.cause_decided, severity = row.severity,
       owner = row.owner, offices = row.offices, langs = row.langs, drivers = row.drivers,
       count_report = row.count_report, count_error = row.count_error, count_heat = row.count_heat,
       count_alert = row.count_alert, first_seen_at = row.first_seen_at, last_seen_at = row.last_seen_at,
       transitions = row.transitions, state_since = row.state_since, version = row.version,
       traceparent = row.traceparent, pending = not row.announced,
       announced_at = case when row.announced then :now else incident.announced_at end
  from jsonb_to_recordset(:rows::jsonb) as row (
       id uuid, title text, state text, merged_into uuid, cause text, cause_decided boolean, service text,
       severity text, owner text, offices text[], langs text[], drivers jsonb, count_report integer,
       count_error integer, count_heat integer,
       count_alert integer, first_seen_at timestamptz, last_seen_at timestamptz, transitions jsonb,
       state_since timestamptz, version bigint, traceparent text, announced boolean)
 where incident.id = row.id;

-- name: insert_groups!
-- New groups; one that another process added meanwhile stays. A founding group of an ended incident moves to its new one.
insert into signal_group as known (id, kind, fingerprint, scope, grouping_version, incident_id, founding,
                                   representative, sample, service, office, last_seen_at)
select id, kind, fingerprint, scope, :grouping_version, incident_id,
       case when founding then nextval('founding_sequence') end, representative, sample, service, office, last_seen_at
  from jsonb_to_recordset(:rows::jsonb) as row (
       id uuid, kind text, fingerprint text, scope text, incident_id uuid, founding boolean, representative boolean,
       sample text, service text, office text, last_seen_at timestamptz)
 order by id
    on conflict (id) do update
   set incident_id = excluded.incident_id, founding = excluded.founding, last_seen_at = excluded.last_seen_at
 where excluded.founding is not null;

-- name: insert_signals!
-- New signals with their links.
insert into signal (id, kind, source_id, group_id, incident_id, at, received_at, service, office, lang, text, drivers,
                    layer, score, rule, terms, nearest, grouping_version, link_version, decision_id, linked_at)
select id, kind, source_id, group_id, incident_id, at, received_at, service, office, lang, text, drivers,
       layer, score, rule, terms, nearest, grouping_version, link_version, decision_id, linked_at
  from jsonb_to_recordset(:rows::jsonb) as row (
       id uuid, kind text, source_id text, group_id uuid, incident_id uuid, at timestamptz, received_at timestamptz,
       service text, office text, lang text, text text, drivers text[], layer text, score double precision, rule text,
       terms text[], nearest uuid[], grouping_version text, link_version integer, decision_id uuid,
       linked_at timestamptz);

-- name: insert_decisions!
-- New lines of the decision log.
insert into decision (id, incident_id, at, actor, kind, reason, before, after, version)
select id, incident_id, at, actor, kind, reason, before, after, version
  from jsonb_to_recordset(:rows::jsonb) as row (
       id uuid, incident_id uuid, at timestamptz, actor text, kind text, reason text, before jsonb, after jsonb,
       version bigint);

-- name: take_pending_incidents
-- Incidents whose counts changed and were not announced for a while; others in work are left to their holders.
select * from incident
 where pending and announced_at <= :before
 order by announced_at limit :max_rows for update skip locked;

-- name: mark_announced!
-- The counts of these incidents are announced.
update incident set pending = false, announced_at = :now where id = any(:ids::uuid[]);

-- name: get_incident^
-- One incident.
select * from incident where id = :id;

-- name: get_named_incident^
-- One incident, or what it was merged into in the end.
with recursive named as (
    select incident.*, 1 as hop from incident where id = :id
    union all
    select next.*, named.hop + 1
      from named join incident as next on next.id = named.merged_into
     where named.hop < 8
)
select * from named order by hop desc limit 1;

-- name: lock_incident^
-- One incident, held until the end of the transaction.
select * from incident where id = :id for update;

-- name: list_decisions
-- The decision log of one incident, oldest first, after the given position.
select * from decision
 where incident_id = :incident_id and sequence > :after
 order by sequence limit :max_rows;

-- name: count_decisions$
-- Lines in the decision log of one incident.
select count(*) from decision where incident_id = :incident_id;

-- name: list_decisions_after_version
-- What was decided about an incident since the given version.
select * from decision where incident_id = :incident_id and version > :version order by sequence;

-- name: list_signals
-- Signals of one incident, newest first, of the offices that may be seen (null: all), after the given one.
-- A signal without an office belongs to all offices of its incident, and that one was seen already.
select * from signal
 where incident_id = :incident_id
   and (:offices::text[] is null or office is null or office = any(:offices::text[]))
   and (:after_at::timestamptz is null or (at, id) < (:after_at::timestamptz, :after_id::uuid))
 order by at desc, id desc limit :max_rows;

-- name: count_signals$
-- Signals of one incident of the offices that may be seen (null: all), by the same rule.
select count(*) from signal
 where incident_id = :incident_id
   and (:offices::text[] is null or office is null or office = any(:offices::text[]));

-- name: count_incidents_by_state
-- For the metrics.
select state, count(*) as incidents from incident group by state;

-- name: accept_events
-- Remembers events at the edge; returns those that were not known.
insert into accepted_event (id, accepted_at)
select id, :now from unnest(:ids::uuid[]) as offered (id) order by id
    on conflict do nothing
returning id;

-- name: forget_accepted_events$
-- Deletes a bounded number of ids older than the given instant; returns how many.
with forgotten as (
    delete from accepted_event
     where id = any(array(select id from accepted_event where accepted_at < :before limit :max_rows))
    returning 1
)
select count(*) from forgotten;

-- name: count_incidents$
-- How many incidents the filters leave; a filter that is null leaves all.
select count(*)
  from incident
 where (:states::text[] is null or state = any(:states::text[]))
   and (:service::text is null or service = :service)
   and (:office::text is null or :office = any(offices))
   and (:seen_by::text[] is null or offices && :seen_by::text[])
   and (:words::text is null or strpos(lower(title), lower(:words)) > 0)
   and (:fixed_since::timestamptz is null or state <> 'fixed' or state_since >= :fixed_since);

-- name: list_incidents_by_last_seen
-- Incidents by when they were last seen, latest first.
select *
  from incident
 where (:states::text[] is null or state = any(:states::text[]))
   and (:service::text is null or service = :service)
   and (:office::text is null or :office = any(offices))
   and (:seen_by::text[] is null or offices && :seen_by::text[])
   and (:words::text is null or strpos(lower(title), lower(:words)) > 0)
   and (:fixed_since::timestamptz is null or state <> 'fixed' or state_since >= :fixed_since)
   and (:after_value::timestamptz is null or (last_seen_at, id) < (:after_value::timestamptz, :after_id::uuid))
 order by last_seen_at desc, id desc limit :max_rows;

-- name: list_incidents_by_first_seen
-- Incidents by when they were first seen, latest first.
select *
  from incident
 where (:states::text[] is null or state = any(:states::text[]))
   and (:service::text is null or service = :service)
   and (:office::text is null or :office = any(offices))
   and (:seen_by::text[] is null or offices && :seen_by::text[])
   and (:words::text is null or strpos(lower(title), lower(:words)) > 0)
   and (:fixed_since::timestamptz is null or state <> 'fixed' or state_since >= :fixed_since)
   and (:after_value::timestamptz is null or (first_seen_at, id) < (:after_value::timestamptz, :after_id::uuid))
 order by first_seen_at desc, id desc limit :max_rows;

-- name: list_incidents_by_signals
-- Incidents by the number of their signals, largest first.
select *
  from incident
 where (:states::text[] is null or state = any(:states::text[]))
   and (:service::text is null or service = :service)
   and (:office::text is null or :office = any(offices))
   and (:seen_by::text[] is null or offices && :seen_by::text[])
   and (:words::text is null or strpos(lower(title), lower(:words)) > 0)
   and (:fixed_since::timestamptz is null or state <> 'fixed' or state_since >= :fixed_since)
   and (:after_value::bigint is null or (signals, id) < (:after_value::bigint, :after_id::uuid))
 order by signals desc, id desc limit :max_rows;
