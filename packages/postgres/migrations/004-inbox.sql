-- The messages that each inbox has received, by id.
create table {schema}.received_ids (
  inbox       text        not null collate "C",
  source      text        not null collate "C",
  id          text        not null collate "C",
  received_at timestamptz not null default clock_timestamp(),
  primary key (inbox, source, id)
);

create index received_ids_age on {schema}.received_ids (inbox, received_at);

-- How far each inbox has received the messages of a source and key.
create table {schema}.received_sequences (
  inbox       text        not null collate "C",
  source      text        not null collate "C",
  key         text        not null collate "C",
  sequence    text        not null collate "C",
  received_at timestamptz not null default clock_timestamp(),
  primary key (inbox, source, key)
);

create index received_sequences_age on {schema}.received_sequences (inbox, received_at);
