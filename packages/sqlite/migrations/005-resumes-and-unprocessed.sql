-- How often each processor was told to go on.
create table refold_resumes (
  processor text    primary key,
  times     integer not null
) strict, without rowid;

-- What the generation before had left unprocessed when this one took its place.
create table refold_unprocessed (
  processor  text    not null,
  generation integer not null,
  position   integer not null,
  slice      integer not null check (slice between 0 and 1023),
  primary key (processor, generation, position),
  foreign key (processor, generation) references refold_generations on delete cascade
) strict, without rowid;
