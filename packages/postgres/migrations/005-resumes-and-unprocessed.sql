-- How often each processor was told to go on.
create table {schema}.resumes (
  processor text   not null collate "C" primary key,
  times     bigint not null
);

-- What the generation before had left unprocessed when this one took its place.
create table {schema}.unprocessed (
  processor  text    not null collate "C",
  generation integer not null,
  position   bigint  not null,
  slice      integer not null check (slice between 0 and 1023),
  primary key (processor, generation, position),
  foreign key (processor, generation) references {schema}.generations on delete cascade
);
