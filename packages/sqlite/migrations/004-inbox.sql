-- The messages that each inbox has received, by id.
create table refold_received_ids (
  inbox       text    not null,
  source      text    not null,
  id          text    not null,
  received_at integer not null, -- milliseconds since the epoch
  primary key (inbox, source, id)
) strict, without rowid;

create index refold_received_ids_age on refold_received_ids (inbox, received_at);

-- How far each inbox has received the messages of a source and key.
create table refold_received_sequences (
  inbox       text    not null,
  source      text    not null,
  key         text    not null,
  sequence    text    not null,
  received_at integer not null, -- milliseconds since the epoch
  primary key (inbox, source, key)
) strict, without rowid;

create index refold_received_sequences_age on refold_received_sequences (inbox, received_at);
