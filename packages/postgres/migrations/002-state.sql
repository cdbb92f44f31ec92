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

-- How far each import has come: items of its source that are in the log.
create table {schema}.imports (
  name        text        not null collate "C" primary key,
  imported    bigint      not null,
  updated_at  timestamptz not null default now()
);

-- Begins a chunk of an import, whose events the client then gives their places and copies in: takes the lock of appends, and
-- answers [items imported so far, head, time of the last event, time now, whether any stream is archived], times in
-- milliseconds.
create function {schema}.begin_import(import_name text, wait_ms integer) returns json language plpgsql as $$
declare
  last record;
  archived record;
begin
  perform {schema}.lock_log(wait_ms);
  select e.position, e.recorded_at into last from {schema}.events e order by e.position desc limit 1;
  select a.position, a.recorded_at into archived from {schema}.archived_events a order by a.position desc limit 1;
  return json_build_array(
    coalesce((select i.imported from {schema}.imports i where i.name = import_name), 0),
    greatest(last.position, archived.position, 0),
    coalesce(extract(epoch from greatest(last.recorded_at, archived.recorded_at)) * 1000, 0),
    floor(extract(epoch from clock_timestamp()) * 1000),
    exists (select from {schema}.archived_streams));
end $$;

-- The revisions of streams, in their order; see revision_in_archive for those below -1.
create function {schema}.revisions(streams text[]) returns json language sql stable as $$
  select coalesce(json_agg(coalesce(
    (select e.revision from {schema}.events e where e.stream = s.name order by e.revision desc limit 1),
    {schema}.revision_in_archive(s.name)) order by s.n), '[]')
  from unnest(streams) with ordinality as s(name, n)
$$;

-- Ends a chunk of an import whose events are copied in. Returns an id among them that is in the archive too: the
-- transaction must then be undone.
create function {schema}.end_import(import_name text, items bigint, before bigint, head bigint, channel text)
returns uuid language plpgsql as $$
declare
  archived uuid;
begin
  if exists (select from {schema}.archived_events) then
    select e.id into archived from {schema}.events e join {schema}.archived_events a using (id)
      where e.position > before limit 1;
  end if;
  insert into {schema}.imports as i (name, imported) values (import_name, items)
    on conflict (name) do update set imported = excluded.imported, updated_at = now();
  if channel is not null then
    perform pg_notify(channel, head::text);
  end if;
  return archived;
end $$;
