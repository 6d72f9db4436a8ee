-- A person's word on the cause outlasts every automatic one, `unclear` too; muting comes with its own issue.

alter table incident add column cause_decided boolean not null default false;
update incident set cause_decided = true
 where exists (select 1 from decision where decision.incident_id = incident.id and decision.kind = 'cause');
alter table incident drop column muted_until;
