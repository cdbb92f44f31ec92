-- The log. Positions are given out inside the write transaction, of which SQLite allows one at a time: they grow in
-- commit order, from 1, without gaps.
create table refold_events (
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

create unique index refold_events_stream on refold_events (stream, revision);
create unique index refold_events_id on refold_events (id);

-- "insert or replace" deletes what is in its way without firing the trigger on delete.
create trigger refold_events_no_replace before insert on refold_events
when exists (
  select 1 from refold_events
  where position = new.position or id = new.id or (stream = new.stream and revision = new.revision)
)
begin
  select raise(abort, 'events are facts: they cannot be replaced');
end;

create trigger refold_events_no_update before update on refold_events
begin
  select raise(abort, 'events are facts: they cannot be updated');
end;

create trigger refold_events_no_delete before delete on refold_events
begin
  select raise(abort, 'events are facts: they cannot be deleted');
end;

-- One build of a processor's read models and checkpoints; see Generation in the core.
create table refold_generations (
  processor     text    not null,
  generation    integer not null,
  version       integer not null,
  status        text    not null check (status in ('building', 'live', 'retired', 'dropped')),
  collections   text    not null, -- JSON array of names
  started_after integer not null,
  primary key (processor, generation)
) strict, without rowid;

create unique index refold_generations_live on refold_generations (processor) where status = 'live';

-- Checkpoints and leases.
create table refold_partitions (
  processor        text    not null,
  generation       integer not null,
  first_slice      integer not null check (first_slice between 0 and 1023),
  last_slice       integer not null check (last_slice between first_slice and 1023),
  position         integer not null,
  token            integer not null default 0,
  holder           text,
  lease_expires_at integer, -- milliseconds since the epoch
  failure          text,    -- JSON
  primary key (processor, generation, first_slice),
  foreign key (processor, generation) references refold_generations on delete cascade
) strict, without rowid;

create table refold_snapshots (
  stream   text    primary key,
  revision integer not null,
  version  integer not null,
  state    text    not null -- JSON
) strict, without rowid;
