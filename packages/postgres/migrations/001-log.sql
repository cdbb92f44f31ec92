-- The log. {schema} stands for the quoted name of the schema, {schema in a literal} for the same within a string.
--
-- Positions are given out by {schema}.append under an advisory lock that is held until its transaction has ended: they
-- grow in commit order, from 1, without gaps, and no reader needs to wait for anybody.
create table {schema}.events (
  position    bigint      not null primary key check (position > 0),
  stream      text        not null collate "C",
  revision    bigint      not null check (revision >= 0),
  id          uuid        not null,
  type        text        not null collate "C",
  version     integer     not null,
  recorded_at timestamptz not null,
  data        json        not null,
  metadata    json
);

create unique index events_stream on {schema}.events (stream, revision);
create unique index events_id on {schema}.events (id);

-- Events that were moved out of the hot path, at the positions that they had. Nothing else differs.
create table {schema}.archived_events (like {schema}.events including all);

-- Streams that take no more events; their revision is that of their last event in the archive.
create table {schema}.archived_streams (
  stream      text        not null collate "C" primary key,
  archived_at timestamptz not null default now()
);

-- All events, archived or not: what a replay reads.
create view {schema}.log as
  select * from {schema}.events union all select * from {schema}.archived_events;

create function {schema}.refuse_change() returns trigger language plpgsql as $$
begin
  -- Only {schema}.archive sets this, in its own transaction, to move events.
  if tg_op = 'DELETE' and current_setting('refold.archiving', true) = 'on' then
    return old;
  end if;
  raise exception 'events are facts: they cannot be updated or deleted'
    using errcode = 'integrity_constraint_violation', hint = 'append an event that says what changed';
end $$;

create trigger events_are_facts before update or delete on {schema}.events
  for each row execute function {schema}.refuse_change();
create trigger events_are_facts_all before truncate on {schema}.events
  execute function {schema}.refuse_change();
create trigger events_are_facts before update or delete on {schema}.archived_events
  for each row execute function {schema}.refuse_change();
create trigger events_are_facts_all before truncate on {schema}.archived_events
  execute function {schema}.refuse_change();

-- The advisory lock that gives out positions. Two-part keys: the first part is "Refo", the second the table's oid.
create function {schema}.lock_log(wait_ms integer) returns void language plpgsql as $$
declare
  key integer := ('{schema in a literal}.events'::regclass::oid::bigint - 2147483648)::integer;
  before text;
begin
  -- Nobody is overtaken by this: it fails while others wait.
  if pg_try_advisory_xact_lock(1382377071, key) then return; end if;
  before := current_setting('lock_timeout');
  perform set_config('lock_timeout', wait_ms::text, true);
  perform pg_advisory_xact_lock(1382377071, key);
  perform set_config('lock_timeout', before, true);
end $$;

-- The position of the last event.
create function {schema}.head() returns bigint language sql stable as $$
  select greatest(
    coalesce((select max(position) from {schema}.events), 0),
    coalesce((select max(position) from {schema}.archived_events), 0)
  )
$$;

-- The revision of a stream without events in the hot table: -1 if there is none, and below -9 for an archived stream, which
-- takes no events (-10 for revision 0, -11 for 1, and so on).
create function {schema}.revision_in_archive(name text) returns bigint language plpgsql stable as $$
declare
  last bigint;
begin
  select a.revision into last from {schema}.archived_events a where a.stream = name order by a.revision desc limit 1;
  if last is null then return -1; end if;
  if exists (select from {schema}.archived_streams s where s.stream = name) then return -10 - last; end if;
  return last;
end $$;

-- Moves the events of a stream below a revision to the archive; null moves them all and closes the stream, if it exists.
-- Returns how many it moved. It holds up appends as an append does.
create function {schema}.archive(name text, below bigint, wait_ms integer) returns bigint language plpgsql as $$
declare
  moved bigint;
begin
  perform {schema}.lock_log(wait_ms);
  perform set_config('refold.archiving', 'on', true);
  with gone as (
    delete from {schema}.events e where e.stream = name and (below is null or e.revision < below) returning e.*
  )
  insert into {schema}.archived_events select * from gone;
  get diagnostics moved = row_count;
  perform set_config('refold.archiving', '', true);
  if below is null and exists (select from {schema}.archived_events a where a.stream = name) then
    insert into {schema}.archived_streams (stream) values (name) on conflict do nothing;
  end if;
  return moved;
end $$;

-- Lets an archived stream take events again. What was moved stays in the archive.
create function {schema}.reopen(name text, wait_ms integer) returns void language plpgsql as $$
begin
  perform {schema}.lock_log(wait_ms);
  delete from {schema}.archived_streams s where s.stream = name;
end $$;

-- Appends a group of requests in one transaction, each with an outcome of its own. A request is one or several appends
-- that happen together or not at all; an append is some events for one stream.
--
--   requests, of_streams, expected, counts: one entry an append: the number of its request (those of one stand together),
--     the index of its stream in `streams`, what it expects (a revision, or -1 no stream, -2 any stream that exists,
--     -3 nothing), and how many events it has
--   of_appends, numbers, event_streams, ids, types, versions, data, metadata: one entry an event: the index of its append,
--     its number in that from 0, and itself
--
-- Returns [head, recorded at in milliseconds, first positions, first revisions], the last two with one entry an append:
-- the position is null for what was not written, and the revision then that of the stream (see revision_in_archive for
-- those below -1). An id that is there already raises a unique violation.
create function {schema}.append(
  requests integer[], of_streams integer[], expected bigint[], counts integer[], streams text[],
  of_appends integer[], numbers integer[], event_streams text[], ids uuid[], types text[], versions integer[],
  data text[], metadata text[], wait_ms integer, channel text
) returns json language plpgsql as $$
declare
  last record;
  head bigint;
  head_before bigint;
  written_at timestamptz;
  revisions bigint[];
  positions bigint[] := array_fill(null::bigint, array[cardinality(requests)]);
  first_revisions bigint[] := array_fill(null::bigint, array[cardinality(requests)]);
  first_append integer := 1;
  next_append integer;
  good boolean;
  revision bigint;
begin
  perform {schema}.lock_log(wait_ms);

  select e.position, e.recorded_at into last from {schema}.events e order by e.position desc limit 1;
  head := coalesce(last.position, 0);
  -- Times never go backward, whatever the clock does.
  written_at := greatest(date_trunc('milliseconds', clock_timestamp()), last.recorded_at);
  select a.position, a.recorded_at into last from {schema}.archived_events a
    where a.position > head order by a.position desc limit 1;
  if found then
    head := last.position;
    written_at := greatest(written_at, last.recorded_at);
  end if;
  head_before := head;

  revisions := array(
    select coalesce(
      (select e.revision from {schema}.events e where e.stream = s.name order by e.revision desc limit 1),
      {schema}.revision_in_archive(s.name))
    from unnest(streams) with ordinality as s(name, n) order by s.n);

  while first_append <= cardinality(requests) loop
    good := true;
    next_append := first_append;
    while next_append <= cardinality(requests) and requests[next_append] = requests[first_append] loop
      revision := revisions[of_streams[next_append]];
      first_revisions[next_append] := revision;
      good := good and (counts[next_append] = 0 or (revision >= -1 and (expected[next_append] in (revision, -3)
        or (expected[next_append] = -2 and revision >= 0))));
      next_append := next_append + 1;
    end loop;
    for i in first_append .. next_append - 1 loop
      continue when not good;
      positions[i] := head + 1;
      first_revisions[i] := revisions[of_streams[i]] + 1;
      head := head + counts[i];
      revisions[of_streams[i]] := revisions[of_streams[i]] + counts[i];
    end loop;
    first_append := next_append;
  end loop;

  if head > head_before then
    if exists (select from {schema}.archived_events)
      and exists (select from {schema}.archived_events a where a.id = any(ids)) then
      raise unique_violation using message = 'an event with this id is in the archive', constraint = 'events_id';
    end if;
    insert into {schema}.events (position, stream, revision, id, type, version, recorded_at, data, metadata)
      select positions[e.append] + e.number, e.stream, first_revisions[e.append] + e.number, e.id, e.type, e.version,
        written_at, e.data::json, e.metadata::json
      from unnest(of_appends, numbers, event_streams, ids, types, versions, data, metadata)
        as e(append, number, stream, id, type, version, data, metadata)
      where positions[e.append] is not null;
    if channel is not null then
      perform pg_notify(channel, head::text);
    end if;
  end if;
  return json_build_array(head, extract(epoch from written_at) * 1000, positions, first_revisions);
end $$;

-- Appends one event: what `append` does with a group of one, and answers the same, in about half the time.
create function {schema}.append_one(
  of_stream text, expected bigint, new_id uuid, new_type text, new_version integer, new_data text, new_metadata text,
  wait_ms integer, channel text
) returns json language plpgsql as $$
declare
  head bigint;
  archived_head bigint;
  written_at timestamptz;
  last_revision bigint;
begin
  -- As lock_log begins, without the call: that alone would take a third of the function's time.
  if not pg_try_advisory_xact_lock(
    1382377071, ('{schema in a literal}.events'::regclass::oid::bigint - 2147483648)::integer)
  then
    perform {schema}.lock_log(wait_ms);
  end if;

  select hot.position, archived.position,
      greatest(date_trunc('milliseconds', clock_timestamp()), hot.recorded_at, archived.recorded_at),
      (select e.revision from {schema}.events e where e.stream = of_stream order by e.revision desc limit 1)
    into head, archived_head, written_at, last_revision
    from (select) one
    left join (select e.position, e.recorded_at from {schema}.events e order by e.position desc limit 1) hot on true
    left join (select e.position, e.recorded_at from {schema}.archived_events e order by e.position desc limit 1) archived
      on true;
  head := coalesce(greatest(head, archived_head), 0);
  if archived_head is not null and last_revision is null then
    last_revision := {schema}.revision_in_archive(of_stream);
  end if;
  last_revision := coalesce(last_revision, -1);

  if last_revision < -1 or not (expected in (last_revision, -3) or (expected = -2 and last_revision >= 0)) then
    return json_build_array(head, extract(epoch from written_at) * 1000, array[null::bigint], array[last_revision]);
  end if;
  if archived_head is not null and exists (select from {schema}.archived_events a where a.id = new_id) then
    raise unique_violation using message = 'an event with this id is in the archive', constraint = 'events_id';
  end if;
  insert into {schema}.events (position, stream, revision, id, type, version, recorded_at, data, metadata)
    values (head + 1, of_stream, last_revision + 1, new_id, new_type, new_version, written_at, new_data::json,
      new_metadata::json);
  if channel is not null then
    perform pg_notify(channel, (head + 1)::text);
  end if;
  return ('[' || head + 1 || ',' || date_part('epoch', written_at) * 1000 || ',[' || head + 1 || '],[' || last_revision + 1
    || ']]')::json;
end $$;

-- Makes a transaction of the user's ready for an append: all others wait for it from then on, so one that nobody goes on
-- with is ended by the server (0 for no bound). Under any other isolation the append would not see what it waited for.
create function {schema}.enter_transaction(idle_ms integer) returns void language plpgsql as $$
declare
  isolation text := current_setting('transaction_isolation');
  bound interval := current_setting('idle_in_transaction_session_timeout');
begin
  if isolation <> 'read committed' then
    raise invalid_transaction_state using message = isolation;
  end if;
  if idle_ms > 0 and (bound = interval '0' or bound > idle_ms * interval '1 millisecond') then
    perform set_config('idle_in_transaction_session_timeout', idle_ms::text, true);
  end if;
end $$;

-- Appends inside a transaction of the user's, one request. What fails is undone for this append alone, within this one
-- statement, and answered as {"code": …, "message": …}; what is refused leaves no lock behind.
create function {schema}.append_within(
  requests integer[], of_streams integer[], expected bigint[], counts integer[], streams text[],
  of_appends integer[], numbers integer[], event_streams text[], ids uuid[], types text[], versions integer[],
  data text[], metadata text[], wait_ms integer, channel text, idle_ms integer
) returns json language plpgsql as $$
declare
  answer json;
begin
  perform {schema}.enter_transaction(idle_ms);
  answer := {schema}.append(requests, of_streams, expected, counts, streams, of_appends, numbers, event_streams, ids,
    types, versions, data, metadata, wait_ms, channel);
  if (answer->2)::text !~ '[0-9]' then
    raise exception sqlstate 'RF000' using message = answer::text;
  end if;
  return answer;
exception
  when sqlstate 'RF000' then return sqlerrm::json;
  when others then return json_build_object('code', sqlstate, 'message', sqlerrm);
end $$;
