-- name: insert_reports
-- One statement for a whole batch: the new reports and two events for each. Returns the ids that were new.
-- Rows go in by hash, so that two instances with the same keys wait for one another and never block in a ring.
with arrived as (
    select *
      from unnest(:report_ids::uuid[], :receipt_hashes::bytea[], :body_hashes::bytea[], :offices::text[],
                  :services::text[], :channels::text[], :langs::text[], :kinds::text[], :ratings::smallint[],
                  :drivers::text[], :texts::text[], :joins_incidents::uuid[], :causes::text[],
                  :blame_persons::boolean[], :submitted_ats::timestamptz[],
                  :facts_ids::uuid[], :facts_headers::bytea[], :facts::bytea[],
                  :words_ids::uuid[], :words_headers::bytea[], :words::bytea[])
           as row (report_id, receipt_hash, body_hash, office, service, channel, lang, kind, rating, drivers, text,
                   joins_incident, cause, blames_person, submitted_at,
                   facts_id, facts_headers, facts, words_id, words_headers, words)
), stored as (
    insert into report (report_id, receipt_hash, body_hash, office, service, channel, lang, kind, rating, drivers,
                        text, joins_incident, cause, blames_person, submitted_at)
    select report_id, receipt_hash, body_hash, office, service, channel, lang, kind, rating,
           string_to_array(drivers, ','), text, joins_incident, cause, blames_person, submitted_at
      from arrived
     order by receipt_hash
        on conflict (receipt_hash) do nothing
    returning report_id
), announced as (
    insert into outbox (event_id, topic, key, headers, payload)
    select event.id, event.topic, arrived.report_id::text, event.headers, event.payload
      from arrived
      join stored using (report_id)
     cross join lateral (values ('feedback.submitted.v1', facts_id, facts_headers, facts),
                                ('feedback.worded.v1', words_id, words_headers, words))
           as event (topic, id, headers, payload)
)
select report_id from stored;

-- name: list_by_receipt_hashes
-- What is stored under these hashes, to answer retries.
select receipt_hash, body_hash, report_id
  from report where receipt_hash = any(:receipt_hashes::bytea[]);

-- name: get_by_receipt_hash^
-- The report of one receipt with its link.
select report.report_id, report.lang, report.submitted_at, link.incident_id, link.linked_at
  from report
  left join report_link as link using (report_id)
 where receipt_hash = :receipt_hash;

-- name: upsert_links!
-- Keeps the highest version of each report's link, whatever the order of arrival, also within one batch.
insert into report_link (report_id, link_version, incident_id, linked_at)
select distinct on (report_id) report_id, link_version, incident_id, linked_at
  from unnest(:report_ids::uuid[], :link_versions::integer[], :incident_ids::uuid[], :linked_ats::timestamptz[])
       as link (report_id, link_version, incident_id, linked_at)
 order by report_id, link_version desc
    on conflict (report_id) do update
   set link_version = excluded.link_version, incident_id = excluded.incident_id, linked_at = excluded.linked_at
 where report_link.link_version < excluded.link_version;

-- name: upsert_incidents!
-- Keeps the highest version of each incident, whatever the order of arrival, also within one batch.
insert into incident_projection (incident_id, version, state, merged_into, title, service, reports, first_seen_at,
                                 entered, words)
select distinct on (incident_id) incident_id, version, state, merged_into, title, service, reports, first_seen_at,
       entered::jsonb, words
  from unnest(:incident_ids::uuid[], :versions::integer[], :states::text[], :merged_intos::uuid[], :titles::text[],
              :services::text[], :reports::integer[], :first_seen_ats::timestamptz[], :entered::text[],
              :words::jsonb[])
       as incident (incident_id, version, state, merged_into, title, service, reports, first_seen_at, entered, words)
 order by incident_id, version desc
    on conflict (incident_id) do update
   set version = excluded.version, state = excluded.state, merged_into = excluded.merged_into,
       title = excluded.title, service = excluded.service, reports = excluded.reports,
       first_seen_at = excluded.first_seen_at, entered = excluded.entered, words = excluded.words
 where incident_projection.version < excluded.version;

-- name: list_shown_incidents
-- The incidents that are public, or were until 14 days after their fix; the domain decides which.
select incident_id, version, state, merged_into, title, service, reports, first_seen_at, entered, words
  from incident_projection
 where state in ('confirmed', 'mitigating', 'regressed', 'fixed');

-- name: list_merge_chain
-- One incident and those that it was merged into, one after the other.
with recursive chain as (
    select incident_projection.*, 1 as hop from incident_projection where incident_id = :incident_id
    union all
    select next.*, chain.hop + 1
      from chain join incident_projection as next on next.incident_id = chain.merged_into
     where chain.hop < 16
)
select incident_id, version, state, merged_into, title, service, reports, first_seen_at, entered, words from chain;

-- name: measure_incidents^
-- Number and fingerprint of the incidents of list_shown_incidents: both equal, nothing to read again. Every version of
-- an incident has its own hash, and the partial index leads past the many that are never shown.
select count(*) as incidents, coalesce(bit_xor(hashtextextended(incident_id::text, version)), 0)::bigint as fingerprint
  from incident_projection
 where state in ('confirmed', 'mitigating', 'regressed', 'fixed');
