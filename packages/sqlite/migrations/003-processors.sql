-- What of a partition is further than its checkpoint, how many holders in a row have crashed, and how often the events
-- behind the checkpoint were begun.
alter table refold_partitions add column ahead text;    -- JSON array of ranges with their positions, null if empty
alter table refold_partitions add column crashes integer not null default 0;
alter table refold_partitions add column attempts text; -- JSON object: counts by position, null if empty

alter table refold_generations add column shadow integer not null default 0 check (shadow in (0, 1));
alter table refold_generations add column replayed text not null default '[]'; -- JSON array of ranges with their positions

-- The processors that stand still.
create table refold_pauses (
  processor text primary key
) strict, without rowid;

create table refold_workers (
  name       text    primary key,
  processors text    not null, -- JSON array of names
  report     text    not null, -- JSON
  expires_at integer not null  -- milliseconds since the epoch
) strict, without rowid;

create table refold_dead_letters (
  processor       text    not null,
  generation      integer not null,
  position        integer not null,
  sequence        text    not null,
  slice           integer not null check (slice between 0 and 1023),
  event           text    not null, -- JSON
  error           text,             -- JSON
  attempts        integer not null,
  retries         integer not null,
  parked_at       integer not null, -- this and the times below: milliseconds since the epoch
  last_attempt_at integer,
  retry_at        integer,
  discarded_at    integer,
  discard_reason  text,
  primary key (processor, generation, position),
  foreign key (processor, generation) references refold_generations on delete cascade
) strict, without rowid;

-- From one sequence to the next in one step, however many letters wait in each.
create index refold_dead_letters_first on refold_dead_letters (processor, generation, slice, sequence, position)
where discarded_at is null;

create table refold_timers (
  processor  text    not null,
  generation integer not null,
  sequence   text    not null,
  name       text    not null,
  slice      integer not null check (slice between 0 and 1023),
  due_at     integer not null, -- milliseconds since the epoch
  data       text    not null, -- JSON
  primary key (processor, generation, sequence, name),
  foreign key (processor, generation) references refold_generations on delete cascade
) strict, without rowid;

create index refold_timers_due on refold_timers (processor, generation, due_at);
