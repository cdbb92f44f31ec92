-- How far each import has come: items of its source that are in the log.
create table refold_imports (
  name     text    primary key,
  imported integer not null
) strict, without rowid;
