-- name: insert_outbox!
-- Adds the rows of one transaction in one statement, in the order of the arrays.
insert into outbox (event_id, topic, key, headers, payload)
select event_id, topic, key, headers, payload
  from unnest(:event_ids::uuid[], :topics::text[], :keys::text[], :headers::bytea[], :payloads::bytea[])
       with ordinality as row (event_id, topic, key, headers, payload, position)
 order by position;

-- name: try_relay_lock$
-- True when this connection is the one active relay of its database.
select pg_try_advisory_lock(6071201, 1);

-- name: list_outbox
-- The oldest rows: at most so many, and at most so many bytes beyond the first.
select id, topic, key, headers, payload
  from (select id, topic, key, headers, payload,
               sum(coalesce(octet_length(payload), 0)) over (order by id) - coalesce(octet_length(payload), 0) as before
          from (select id, topic, key, headers, payload from outbox order by id limit :max_rows) as oldest) as sized
 where before < :max_bytes
 order by id;

-- name: delete_outbox!
-- Forgets rows that the broker has acknowledged.
delete from outbox where id = any(:ids::bigint[]);

-- name: measure_outbox^
-- Depth (counted up to 100,000) and the age of the oldest row in seconds.
select (select count(*) from (select 1 from outbox limit 100000) as counted) as depth,
       coalesce((select extract(epoch from clock_timestamp() - created_at) from outbox order by id limit 1), 0)::float8
           as oldest_age_seconds;

-- name: list_watermarks
-- The next offset to read of each known partition of a topic.
select partition, next_offset from inbox_watermark where cluster_id = :cluster_id and topic = :topic;

-- name: add_watermarks!
-- First sight of partitions; a row that is already there stays.
insert into inbox_watermark (cluster_id, topic, partition, next_offset)
select :cluster_id, :topic, partition, next_offset
  from unnest(:partitions::integer[], :next_offsets::bigint[]) as first (partition, next_offset)
    on conflict do nothing;

-- name: move_watermarks
-- Compare and set: returns the partitions that moved; one that is missing was moved by somebody else.
update inbox_watermark as mark
   set next_offset = move.new_offset, moved_at = now()
  from unnest(:partitions::integer[], :old_offsets::bigint[], :new_offsets::bigint[])
       as move (partition, old_offset, new_offset)
 where mark.cluster_id = :cluster_id and mark.topic = :topic
   and mark.partition = move.partition and mark.next_offset = move.old_offset
returning mark.partition;

-- name: set_watermark!
-- Accepts a topic made anew: reading begins again at the given offset.
update inbox_watermark set next_offset = :next_offset, moved_at = now()
 where cluster_id = :cluster_id and topic = :topic and partition = :partition;

-- name: remember_events
-- Remembers the ids of one batch; returns those that were not known.
insert into inbox_event (topic, event_id)
select :topic, event_id from unnest(:event_ids::uuid[]) as seen (event_id)
    on conflict do nothing
returning event_id;

-- name: forget_events!
-- Deletes a bounded number of ids older than the given age.
delete from inbox_event
 where ctid = any(array(select ctid from inbox_event where seen_at < now() - :older_than::interval limit :max_rows));

-- name: list_resent
-- The offsets of one dead-letter partition that were sent again.
select "offset" from dead_letter_resent
 where cluster_id = :cluster_id and topic = :topic and partition = :partition;

-- name: remember_resent!
-- Remembers dead letters that were sent again.
insert into dead_letter_resent (cluster_id, topic, partition, "offset")
select :cluster_id, :topic, :partition, sent from unnest(:offsets::bigint[]) as resent (sent)
    on conflict (cluster_id, topic, partition, "offset") do update set resent_at = now();
