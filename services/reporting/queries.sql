-- Every query of reporting. Table names are unqualified: the connection's search_path says which build of the figures
-- is meant, the live one or the one that a rebuild makes beside it.

-- name: lock_figures$
-- One writer at a time: a report and its link may arrive at the same moment by two connections, and each must see
-- the other. Held until the transaction ends; each build of the figures has a lock of its own.
select pg_advisory_xact_lock(6071203, hashtext(current_schema()));

-- name: load_reports
-- For each id: is the report counted already, and which cause does its incident give?
select asked.report_id, report.report_id is not null as known, incident.cause_in_force
  from unnest(:report_ids::uuid[]) as asked (report_id)
  left join fact_report as report on report.report_id = asked.report_id
  left join fact_link as link on link.report_id = asked.report_id
  left join fact_incident as incident on incident.incident_id = link.incident_id;

-- name: insert_reports!
-- Adds the facts of new reports.
insert into fact_report (report_id, day, office, service, channel, lang, kind, rating, cause_judged, cause)
select * from unnest(
    :report_ids::uuid[], :days::date[], :offices::text[], :services::text[], :channels::text[], :langs::text[],
    :kinds::text[], :ratings::smallint[], :causes_judged::text[], :causes::text[]
);

-- name: load_links
-- For each report: the link held, the facts (null when it has not arrived yet), and the cause its new incident gives.
select asked.report_id, link.signal_id, link.link_version, link.incident_id,
       report.day, report.office, report.service, report.channel, report.lang, report.kind,
       report.cause_judged, report.cause, incident.cause_in_force
  from unnest(:report_ids::uuid[], :incident_ids::uuid[]) as asked (report_id, incident_id)
  left join fact_link as link on link.report_id = asked.report_id
  left join fact_report as report on report.report_id = asked.report_id
  left join fact_incident as incident on incident.incident_id = asked.incident_id;

-- name: upsert_links!
-- Writes the newer links; the caller has compared the versions under the lock.
insert into fact_link (report_id, signal_id, link_version, incident_id)
select * from unnest(:report_ids::uuid[], :signal_ids::uuid[], :link_versions::bigint[], :incident_ids::uuid[])
    on conflict (report_id) do update
   set signal_id = excluded.signal_id, link_version = excluded.link_version, incident_id = excluded.incident_id;

-- name: update_causes!
-- Changes the cause in force of single reports.
update fact_report as report
   set cause = moved.cause
  from unnest(:report_ids::uuid[], :causes::text[]) as moved (report_id, cause)
 where report.report_id = moved.report_id;

-- name: load_incidents
-- The incidents asked for, all that were merged into them (over any number of steps), and all that these and the new
-- targets were merged into: everything that can decide which cause they give.
with recursive merged as (
    select id from unnest(:incident_ids::uuid[]) as asked (id)
     union
    select incident.incident_id from fact_incident as incident join merged on incident.merged_into = merged.id
), target as (
    select id from merged
     union
    select id from unnest(:target_ids::uuid[]) as asked (id)
     union
    select incident.merged_into
      from fact_incident as incident join target on incident.incident_id = target.id
     where incident.merged_into is not null
)
select incident.* from fact_incident as incident join target on incident.incident_id = target.id;

-- name: upsert_incidents!
-- Writes the newer versions; the caller has compared the versions under the lock. Offices are joined by a line feed.
insert into fact_incident (
    incident_id, version, changed_at, state, merged_into, cause, offices,
    started_at, candidate_at, confirmed_at, fixed_at, cause_in_force
)
select incident_id, version, changed_at, state, merged_into, cause, string_to_array(offices, e'\n'),
       started_at, candidate_at, confirmed_at, fixed_at, cause_in_force
  from unnest(
    :incident_ids::uuid[], :versions::bigint[], :changed_ats::timestamptz[], :states::text[], :merged_intos::uuid[],
    :causes::text[], :offices::text[], :started_ats::timestamptz[], :candidate_ats::timestamptz[],
    :confirmed_ats::timestamptz[], :fixed_ats::timestamptz[], :causes_in_force::text[]
  ) as newer (incident_id, version, changed_at, state, merged_into, cause, offices,
              started_at, candidate_at, confirmed_at, fixed_at, cause_in_force)
    on conflict (incident_id) do update
   set version = excluded.version, changed_at = excluded.changed_at, state = excluded.state,
       merged_into = excluded.merged_into, cause = excluded.cause, offices = excluded.offices,
       started_at = excluded.started_at, candidate_at = excluded.candidate_at,
       confirmed_at = excluded.confirmed_at, fixed_at = excluded.fixed_at, cause_in_force = excluded.cause_in_force;

-- name: update_incident_causes!
-- Changes what incidents give to their reports when not they but the target of their merge has changed.
update fact_incident as incident
   set cause_in_force = changed.cause
  from unnest(:incident_ids::uuid[], :causes::text[]) as changed (incident_id, cause)
 where incident.incident_id = changed.incident_id;

-- name: move_reports
-- Gives the reports of changed incidents their new cause and returns how many moved in each cell. The rule comes from
-- the domain as a table: one row an incident, one column (the cause in force) for each cause judged on arrival.
-- Reads the reports of these incidents alone, by index.
with decided as materialized (
    select report.*,
           case report.cause_judged
               when 'system' then changed.system when 'process' then changed.process
               when 'behaviour' then changed.behaviour when 'decision' then changed.decision
               when 'unclear' then changed.unclear
           end as cause_after
      from unnest(:incident_ids::uuid[], :system::text[], :process::text[], :behaviour::text[], :decision::text[],
                  :unclear::text[]) as changed (incident_id, system, process, behaviour, decision, unclear)
      join fact_link as link on link.incident_id = changed.incident_id
      join fact_report as report on report.report_id = link.report_id
), moved as (
    select * from decided where cause <> cause_after
), written as (
    update fact_report as report set cause = moved.cause_after from moved where report.report_id = moved.report_id
)
select day, office, service, channel, lang, kind, cause as cause_before, cause_after, count(*) as reports
  from moved
 group by day, office, service, channel, lang, kind, cause, cause_after;

-- name: add_to_rollup_day!
-- Adds the deltas of one batch by cell.
insert into rollup_day as held (
    day, office, service, channel, lang, kind, n, rating_1, rating_2, rating_3, rating_4, rating_5,
    cause_system, cause_process, cause_behaviour, cause_decision, cause_unclear
)
select * from unnest(
    :days::date[], :offices::text[], :services::text[], :channels::text[], :langs::text[], :kinds::text[],
    :n::bigint[], :rating_1::bigint[], :rating_2::bigint[], :rating_3::bigint[], :rating_4::bigint[],
    :rating_5::bigint[], :cause_system::bigint[], :cause_process::bigint[], :cause_behaviour::bigint[],
    :cause_decision::bigint[], :cause_unclear::bigint[]
)
on conflict (day, office, service, channel, lang, kind) do update set
    n = held.n + excluded.n, rating_1 = held.rating_1 + excluded.rating_1,
    rating_2 = held.rating_2 + excluded.rating_2, rating_3 = held.rating_3 + excluded.rating_3,
    rating_4 = held.rating_4 + excluded.rating_4, rating_5 = held.rating_5 + excluded.rating_5,
    cause_system = held.cause_system + excluded.cause_system,
    cause_process = held.cause_process + excluded.cause_process,
    cause_behaviour = held.cause_behaviour + excluded.cause_behaviour,
    cause_decision = held.cause_decision + excluded.cause_decision,
    cause_unclear = held.cause_unclear + excluded.cause_unclear;

-- name: add_to_rollup_total!
-- Adds the same deltas over all days, offices and languages.
insert into rollup_total as held (
    service, channel, kind, n, rating_1, rating_2, rating_3, rating_4, rating_5, cause_system, cause_process,
    cause_behaviour, cause_decision, cause_unclear, judged_system, judged_process, judged_behaviour,
    judged_decision, judged_unclear
)
select * from unnest(
    :services::text[], :channels::text[], :kinds::text[], :n::bigint[], :rating_1::bigint[],
    :rating_2::bigint[], :rating_3::bigint[], :rating_4::bigint[], :rating_5::bigint[], :cause_system::bigint[],
    :cause_process::bigint[], :cause_behaviour::bigint[], :cause_decision::bigint[], :cause_unclear::bigint[],
    :judged_system::bigint[], :judged_process::bigint[], :judged_behaviour::bigint[],
    :judged_decision::bigint[], :judged_unclear::bigint[]
)
on conflict (service, channel, kind) do update set
    n = held.n + excluded.n, rating_1 = held.rating_1 + excluded.rating_1,
    rating_2 = held.rating_2 + excluded.rating_2, rating_3 = held.rating_3 + excluded.rating_3,
    rating_4 = held.rating_4 + excluded.rating_4, rating_5 = held.rating_5 + excluded.rating_5,
    cause_system = held.cause_system + excluded.cause_system,
    cause_process = held.cause_process + excluded.cause_process,
    cause_behaviour = held.cause_behaviour + excluded.cause_behaviour,
    cause_decision = held.cause_decision + excluded.cause_decision,
    cause_unclear = held.cause_unclear + excluded.cause_unclear,
    judged_system = held.judged_system + excluded.judged_system,
    judged_process = held.judged_process + excluded.judged_process,
    judged_behaviour = held.judged_behaviour + excluded.judged_behaviour,
    judged_decision = held.judged_decision + excluded.judged_decision,
    judged_unclear = held.judged_unclear + excluded.judged_unclear;

-- name: add_to_rollup_incident!
-- Moves incidents between states; a state that nobody is in has no row.
merge into rollup_incident as held
using (select * from unnest(:states::text[], :n::bigint[]) as delta (state, n)) as delta
   on held.state = delta.state
 when matched and held.n + delta.n = 0 then delete
 when matched then update set n = held.n + delta.n
 when not matched then insert (state, n) values (delta.state, delta.n);

-- name: add_to_rollup_timing!
-- Moves incidents between the buckets of the histograms; a bucket that holds nothing has no row.
merge into rollup_timing as held
using (select * from unnest(:measures::text[], :le_seconds::float8[], :n::bigint[], :microseconds::bigint[])
              as delta (measure, le_seconds, n, microseconds)) as delta
   on held.measure = delta.measure and held.le_seconds = delta.le_seconds
 when matched and held.n + delta.n = 0 then delete
 when matched then update set n = held.n + delta.n, microseconds = held.microseconds + delta.microseconds
 when not matched then insert (measure, le_seconds, n, microseconds)
      values (delta.measure, delta.le_seconds, delta.n, delta.microseconds);

-- name: count_heat!
-- Remembers presses by id and counts those that are new.
with fresh as (
    insert into fact_heat (heat_id, service)
    select * from unnest(:heat_ids::uuid[], :services::text[])
        on conflict do nothing
    returning service
)
insert into rollup_heat as held (service, n)
select service, count(*) from fresh group by service
    on conflict (service) do update set n = held.n + excluded.n;

-- name: touch_freshness!
-- Remembers the newest event of a topic.
insert into freshness as held (topic, newest_at) values (:topic, :newest_at)
    on conflict (topic) do update set newest_at = excluded.newest_at where held.newest_at < excluded.newest_at;

-- name: get_data_as_of^
-- What the figures contain: the newest event, and the position of every partition, at the moment of reading.
select (select max(newest_at) from freshness) as newest_at,
       clock_timestamp() as read_at,
       (select coalesce(jsonb_object_agg(topic, positions), '{}')
          from (select topic, jsonb_object_agg(partition, next_offset order by partition) as positions
                  from inbox_watermark group by topic) as by_topic) as positions;

-- name: list_satisfaction
-- Ratings by any of the dimensions; a dimension not asked for is null. From inclusive, to exclusive.
select case when :by_office then office end as office,
       case when :by_service then service end as service,
       case when :by_channel then channel end as channel,
       case when :by_lang then lang end as lang,
       case when :by_week then date_trunc('week', day::timestamp)::date end as week,
       sum(rating_1)::bigint as rating_1, sum(rating_2)::bigint as rating_2, sum(rating_3)::bigint as rating_3,
       sum(rating_4)::bigint as rating_4, sum(rating_5)::bigint as rating_5
  from rollup_day
 where (:from_day::date is null or day >= :from_day) and (:to_day::date is null or day < :to_day)
   and (:offices::text[] is null or office = any(:offices))
   and (:services::text[] is null or service = any(:services))
   and (:channels::text[] is null or channel = any(:channels))
   and (:langs::text[] is null or lang = any(:langs))
 group by 1, 2, 3, 4, 5
having sum(rating_1 + rating_2 + rating_3 + rating_4 + rating_5) > 0
 order by 1, 2, 3, 4, 5
 limit :max_groups;

-- name: list_causes
-- Complaints by cause in force, by any of the dimensions; a dimension not asked for is null.
select case when :by_office then office end as office,
       case when :by_service then service end as service,
       case when :by_channel then channel end as channel,
       case when :by_lang then lang end as lang,
       case when :by_week then date_trunc('week', day::timestamp)::date end as week,
       sum(cause_system)::bigint as system, sum(cause_process)::bigint as process,
       sum(cause_behaviour)::bigint as behaviour, sum(cause_decision)::bigint as decision,
       sum(cause_unclear)::bigint as unclear
  from rollup_day
 where kind = 'complaint'
   and (:from_day::date is null or day >= :from_day) and (:to_day::date is null or day < :to_day)
   and (:offices::text[] is null or office = any(:offices))
   and (:services::text[] is null or service = any(:services))
   and (:channels::text[] is null or channel = any(:channels))
   and (:langs::text[] is null or lang = any(:langs))
 group by 1, 2, 3, 4, 5
 order by 1, 2, 3, 4, 5
 limit :max_groups;

-- name: get_timings^
-- Times of the incidents that started in the period and concern one of the offices; open ones are counted apart.
-- Percentiles are those of the discrete distribution (a time that really occurred), in seconds.
select count(confirmed_at) as acknowledged,
       percentile_disc(array[0.5, 0.9]) within group (
           order by greatest(0, extract(epoch from confirmed_at - started_at))::float8
       ) filter (where confirmed_at is not null) as acknowledge_seconds,
       count(*) filter (where confirmed_at is null and state in ('observed', 'candidate')) as waiting,
       count(fixed_at) as fixed,
       percentile_disc(array[0.5, 0.9]) within group (
           order by extract(epoch from fixed_at - confirmed_at)::float8
       ) filter (where fixed_at is not null) as fix_seconds,
       count(*) filter (where confirmed_at is not null and fixed_at is null
                          and state in ('confirmed', 'mitigating', 'regressed')) as unfixed,
       count(*) filter (where fixed_at is not null and state in ('regressed', 'confirmed', 'mitigating')) as came_back
  from fact_incident
 where (candidate_at is not null or confirmed_at is not null)
   and (:from_at::timestamptz is null or started_at >= :from_at)
   and (:to_at::timestamptz is null or started_at < :to_at)
   and (:offices::text[] is null or offices && :offices);

-- name: list_totals
select * from rollup_total;

-- name: list_incident_states
select state, n from rollup_incident;

-- name: list_timing_buckets
select measure, le_seconds, n, microseconds from rollup_timing;

-- name: list_heat
select service, n from rollup_heat;

-- name: list_freshness
select topic, newest_at from freshness;
