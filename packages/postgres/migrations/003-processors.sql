-- ahead: what is further than the checkpoint, an array of ranges with their positions, null if empty.
-- crashes: how many holders in a row were gone without giving their lease back.
-- attempts: how often events behind the checkpoint were begun, counts by position, null if empty.
-- open: whether leases are given, which is not so while the processor is paused, nor when the generation is retired. It
-- stands in the row so that whoever has waited for the row sees it as it is.
alter table {schema}.partitions
  add column ahead    jsonb,
  add column crashes  integer not null default 0,
  add column attempts jsonb,
  add column open     boolean not null default true;

update {schema}.partitions p set open = false
from {schema}.generations g
where g.processor = p.processor and g.generation = p.generation and g.status = 'retired';

alter table {schema}.generations
  add column shadow   boolean not null default false,
  add column replayed json    not null default '[]';

-- The processors that stand still.
create table {schema}.pauses (
  processor text        not null collate "C" primary key,
  since     timestamptz not null default now()
);

create table {schema}.workers (
  name       text        not null collate "C" primary key,
  processors text[]      not null,
  report     json        not null,
  expires_at timestamptz not null
) with (fillfactor = 50);

create table {schema}.dead_letters (
  processor       text        not null collate "C",
  generation      integer     not null,
  position        bigint      not null,
  sequence        text        not null collate "C",
  slice           integer     not null check (slice between 0 and 1023),
  event           json        not null,
  error           json,
  attempts        integer     not null,
  retries         integer     not null,
  parked_at       timestamptz not null,
  last_attempt_at timestamptz,
  retry_at        timestamptz,
  discarded_at    timestamptz,
  discard_reason  text,
  primary key (processor, generation, position),
  foreign key (processor, generation) references {schema}.generations on delete cascade
);

-- From one sequence to the next in one step, however many letters wait in each.
create index dead_letters_first on {schema}.dead_letters (processor, generation, slice, sequence, position)
where discarded_at is null;

create table {schema}.timers (
  processor  text        not null collate "C",
  generation integer     not null,
  sequence   text        not null collate "C",
  name       text        not null collate "C",
  slice      integer     not null check (slice between 0 and 1023),
  due_at     timestamptz not null,
  data       json        not null,
  primary key (processor, generation, sequence, name),
  foreign key (processor, generation) references {schema}.generations on delete cascade
);

create index timers_due on {schema}.timers (processor, generation, due_at);
