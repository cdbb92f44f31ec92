-- One build of a processor's read models and checkpoints; see Generation in the core.
create table {schema}.generations (
  processor     text     not null collate "C",
  generation    integer  not null,
  version       integer  not null,
  status        text     not null check (status in ('building', 'live', 'retired', 'dropped')),
  collections   text[]   not null,
  started_after bigint   not null,
  primary key (processor, generation)
);

create unique index generations_live on {schema}.generations (processor) where status = 'live';

-- Checkpoints and leases. The database's clock tells when a lease expires.
create table {schema}.partitions (
  processor        text        not null collate "C",
  generation       integer     not null,
  first_slice      integer     not null check (first_slice between 0 and 1023),
  last_slice       integer     not null check (last_slice between first_slice and 1023),
  position         bigint      not null,
  token            bigint      not null default 0,
  holder           text,
  lease_expires_at timestamptz,
  failure          json,
  primary key (processor, generation, first_slice),
  foreign key (processor, generation) references {schema}.generations on delete cascade
) with (fillfactor = 50);

create table {schema}.snapshots (
  stream   text    not null collate "C" primary key,
  revision bigint  not null,
  version  integer not null,
  state    json    not null
);

-- How far each import has come: events of its source that are in the log.
create table {schema}.imports (
  name        text        not null collate "C" primary key,
  imported    bigint      not null,
  updated_at  timestamptz not null default now()
);
