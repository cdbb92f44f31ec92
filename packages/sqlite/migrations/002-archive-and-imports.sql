-- Events that were moved out of the hot path, at the positions that they had. Nothing else differs.
create table refold_archived_events (
  position    integer primary key,
  stream      text    not null,
  revision    integer not null,
  id          text    not null,
  type        text    not null,
  version     integer not null,
  recorded_at integer not null, -- milliseconds since the epoch
  data        text    not null, -- JSON
  metadata    text,             -- JSON object, null if empty
  category    text    generated always as (substr(stream, 1, instr(stream || '-', '-') - 1)) virtual
) strict;

create unique index refold_archived_events_stream on refold_archived_events (stream, revision);
create unique index refold_archived_events_id on refold_archived_events (id);

-- Streams that take no more events until they are reopened.
create table refold_archived_streams (
  stream      text    primary key,
  archived_at integer not null -- milliseconds since the epoch
) strict, without rowid;

-- An id is taken, wherever its event is.
create trigger refold_events_no_archived_id before insert on refold_events
when exists (select 1 from refold_archived_events where id = new.id)
begin
  select raise(abort, 'events are facts: one with this id is in the archive');
end;

-- An event leaves the hot path only when it is in the archive, and comes there only from the hot path: it is never lost,
-- changed or made up.
drop trigger refold_events_no_delete;

create trigger refold_events_no_delete before delete on refold_events
when not exists (
  select 1 from refold_archived_events
  where position = old.position and id = old.id and stream = old.stream and revision = old.revision
)
begin
  select raise(abort, 'events are facts: they cannot be deleted');
end;

create trigger refold_archived_events_only_moved before insert on refold_archived_events
when not exists (
  select 1 from refold_events
  where position = new.position and id = new.id and stream = new.stream and revision = new.revision and type = new.type
    and version = new.version and recorded_at = new.recorded_at and data = new.data and metadata is new.metadata
) or exists (select 1 from refold_archived_events where position = new.position)
begin
  select raise(abort, 'events are facts: only the log''s own can be archived');
end;

create trigger refold_archived_events_no_update before update on refold_archived_events
begin
  select raise(abort, 'events are facts: they cannot be updated');
end;

create trigger refold_archived_events_no_delete before delete on refold_archived_events
begin
  select raise(abort, 'events are facts: they cannot be deleted');
end;

-- How far each import has come: items of its source that are in the log.
create table refold_imports (
  name     text    primary key,
  imported integer not null
) strict, without rowid;
