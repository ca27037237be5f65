-- ---------------------------------------------------------------------------------------------------- what would not work

create or replace function ezrec.tried(what text, court jsonb, said jsonb, out problem text, out code text,
  out by_constraint text) language plpgsql set search_path = '' as $$
begin
  begin
    if what = 'videos' then
      perform public.publish_video(one, '{}', court)
         from jsonb_array_elements(case jsonb_typeof(said) when 'array' then said else jsonb_build_array(said) end) as one;
    else
      perform public.ezrec_beat(court, said);
    end if;
    set constraints all immediate;
    raise exception 'undone' using errcode = 'EZ000';
  exception
    when sqlstate 'EZ000' then null;
    when others then
      get stacked diagnostics by_constraint = constraint_name;
      problem := sqlerrm;
      code := sqlstate;
  end;
end $$;
comment on function ezrec.tried is 'Why a row, or a list of films, cannot be put in; null if it can. It is taken out again.';

create or replace function ezrec.without(rule text, of_table text) returns text language sql stable
set search_path = '' as $$
  select case when exists (select from pg_catalog.pg_constraint
                            where conname = rule and conrelid = to_regclass('public.' || of_table))
    then format('alter table public.%I drop constraint %I;', of_table, rule) else format('drop index public.%I;', rule) end $$;
comment on function ezrec.without is 'The statement that takes a rule of a table away.';

create or replace function ezrec.no_value(of_table text, given jsonb) returns text language plpgsql stable
set search_path = '' as $$
declare
  one record;
begin
  for one in select key, value, format_type(atttypid, atttypmod) as type
               from jsonb_each_text(given) join pg_catalog.pg_attribute
                 on attrelid = to_regclass('public.' || of_table) and attname = key and attnum > 0 and not attisdropped
              where key not in ('user_id', 'booking_id') and value is not null loop
    begin
      execute format('select %L::%s', one.value, one.type);
    exception when data_exception then return one.key;
    end;
  end loop;
  return null;
end $$;
comment on function ezrec.no_value is 'A column whose type is not for such values at all; null: there is none.';

create or replace function ezrec.trials(what text, court jsonb, small jsonb, large jsonb, types jsonb)
returns table (about text, problem text, remedy text) language plpgsql set search_path = '' as $$
declare
  found_it record;
  one record;
  fits jsonb;
  unfit text;
begin
  found_it := ezrec.tried(what, court, small);
  if found_it.problem is null and what = 'videos' then  -- a second film of the same day, as long and as large
    found_it := ezrec.tried(what, court, jsonb_build_array(small, small || '{"recording_id": "~~", "booking_id": "~~",
      "storage_path": "b", "video_url": "b", "filename": "b"}'));
  end if;
  if found_it.problem is not null then
    if found_it.code = '23503' then
      return;  -- the owner or booking of a trial is not there; a real one is
    end if;
    about := what;
    problem := found_it.problem;
    unfit := case when found_it.code like '22%' then ezrec.no_value(what, small) end;
    if types ? unfit then
      about := what || '.' || unfit;
    end if;
    remedy := case when types ? unfit then format('alter table public.%I alter column %I type %s;', what, unfit,
      types ->> unfit) when found_it.by_constraint <> '' then ezrec.without(found_it.by_constraint, what) else 'let the columns that EZREC does not know be null, or give them a default' end;
    return next;
    return;
  end if;
  fits := ezrec.fitted(what, small || large);
  for one in select key, value from jsonb_each(large) loop
    found_it := ezrec.tried(what, court, small || jsonb_build_object(one.key, one.value));
    about := what || '.' || one.key;
    if found_it.problem is not null then
      problem := found_it.problem;
      remedy := case when found_it.by_constraint <> '' then ezrec.without(found_it.by_constraint, what) else format('alter table public.%I alter column %I type %s;', what, one.key,
                types ->> one.key) end;
      return next;
    elsif fits ? one.key and fits -> one.key = 'null' and ezrec.columns(what) ->> one.key <> 'uuid' then
      problem := format('its type %s cannot hold what may come, such as %s: it is left empty then',
                        ezrec.columns(what) ->> one.key, left(one.value #>> '{}', 40));
      remedy := format('alter table public.%I alter column %I type %s;', what, one.key, types ->> one.key);
      return next;
    end if;
  end loop;
end $$;
comment on function ezrec.trials is 'Which columns of a table would not take the largest values that can come.';

create or replace function ezrec.status_trials(options jsonb) returns table (about text, problem text, remedy text)
language plpgsql set search_path = '' as $$
declare
  word text;
  why text;
  one record;
begin
  begin
    create temporary table ezrec_trial (like public.bookings including constraints);
    for one in select attname from pg_catalog.pg_attribute
                where attrelid = 'pg_temp.ezrec_trial'::regclass and attnum > 0 and attnotnull and not attisdropped loop
      execute format('alter table pg_temp.ezrec_trial alter column %I drop not null', one.attname);
    end loop;
    foreach word in array array['recording', 'completed', 'video_processed', 'video_uploaded', 'failed'] loop
      begin
        if ezrec.word(word, options) <> '' then
          execute format('insert into pg_temp.ezrec_trial (status) values (%L)', ezrec.word(word, options));
        end if;
      exception when others then
        why := concat_ws('; ', why, format('%L: %s', ezrec.word(word, options), sqlerrm));
      end;
    end loop;
    raise exception 'undone' using errcode = 'EZ000';
  exception
    when sqlstate 'EZ000' then null;
    when insufficient_privilege then null;
  end;
  if why is not null then
    about := 'bookings.status';
    problem := 'it does not take these words, and films are published without them: ' || why;
    remedy := 'let it take them, or say the venue''s own words for them in the setting bookings.status_words';
    return next;
  end if;
end $$;
comment on function ezrec.status_trials is 'Which of our words a booking''s status cannot be.';

create or replace function ezrec.problems(owner text, camera text, options jsonb)
returns table (about text, problem text, remedy text) language plpgsql set search_path = '' as $$
declare
  court constant jsonb := jsonb_build_object('user_id', owner, 'camera_id', camera, 'options', options);
  own constant jsonb := jsonb_build_object('user_id', owner, 'camera_id', camera);
  key constant text := repeat('x', 1024);  -- the longest that S3 takes
begin
  return query select * from ezrec.status_trials(options);
  return query select * from ezrec.trials('videos', court,
    own || jsonb_build_object('recording_id', '~', 'booking_id', '~', 'storage_path', 'a', 'video_url', 'a',
      'poster_url', null, 'duration_seconds', 1, 'file_size', 1, 'filename', 'a', 'date', '2026-11-20',
      'uploaded_at', '2026-11-20T19:00:05.123+00:00'),
    jsonb_build_object('recording_id', repeat('r', 22), 'booking_id', repeat('b', 145), 'storage_path', key,
      'video_url', 'https://' || key, 'poster_url', 'https://' || key, 'duration_seconds', 90000.5,
      'file_size', 5497558138880, 'filename', repeat('f', 200)),
    '{"recording_id": "text", "booking_id": "text", "storage_path": "text", "video_url": "text", "poster_url": "text",
      "duration_seconds": "double precision", "file_size": "bigint", "filename": "text"}');
  return query select * from ezrec.trials('system_status', court, own || '{"version": "0"}',
    jsonb_build_object('cpu_percent', 99.5, 'memory_percent', 99.5, 'memory_mb', 16000.5, 'disk_free_mb', 99999999.5,
      'disk_percent', 99.5, 'temperature_c', 99.5, 'current_booking_id', repeat('b', 145), 'last_error', key,
      'uptime_s', 1000000000, 'throttled', 'under-voltage now', 'cameras', '{"left": {}}'::jsonb, 'preflight', '{}'::jsonb,
      'queues', '{"films": {}}'::jsonb, 'degraded', '["upload"]'::jsonb),
    '{"cpu_percent": "double precision", "memory_percent": "double precision", "memory_mb": "double precision",
      "disk_free_mb": "double precision", "disk_percent": "double precision", "temperature_c": "double precision",
      "current_booking_id": "text", "last_error": "text", "uptime_s": "double precision", "throttled": "text",
      "cameras": "jsonb", "preflight": "jsonb", "queues": "jsonb", "degraded": "jsonb"}');
end $$;
comment on function ezrec.problems is 'What of a court''s rows this project would not take. Nothing is changed.';

create or replace function ezrec.rows_of_nothing(owner text, camera text) returns table (about text, problem text, remedy text)
language plpgsql stable set search_path = '' as $$
declare
  film constant jsonb := ezrec.columns('videos');
  link constant jsonb := ezrec.columns('shared_links');
  found_it record;
begin
  if not film ?& array['user_id', 'camera_id', 'recording_id', 'booking_id', 'storage_path'] then
    return;
  end if;
  execute format($f$ select count(*) - count(distinct one.storage_path) as many from public.videos as one
    where one.user_id = $1::%s and one.camera_id = $2::%s and one.storage_path is not null $f$,
    film ->> 'user_id', film ->> 'camera_id') into found_it using owner, camera;
  if found_it.many > 0 then
    about := 'videos rows';
    problem := format('%s of this court''s films stand there twice: another row names the same object', found_it.many);
    remedy := format('delete from public.videos as old using public.videos as new where old.storage_path = new.storage_path '
      'and old.user_id = new.user_id and old.camera_id = new.camera_id and old.user_id = %L and old.camera_id = %L '
      'and (old.uploaded_at, old.recording_id) < (new.uploaded_at, new.recording_id);', owner, camera);
    return next;
  end if;
  execute format($f$ select count(*) as many from public.videos as one
    where one.user_id = $1::%s and one.camera_id = $2::%s and one.booking_id is not null
      and not exists (select from public.bookings as mine
                       where mine.id::text = split_part(one.booking_id::text, '@', 1)) $f$,
    film ->> 'user_id', film ->> 'camera_id') into found_it using owner, camera;
  if found_it.many > 0 then
    about := 'videos rows';
    problem := format('%s of this court''s films name a booking that is not there: it was deleted, or made at the court',
                      found_it.many);
    remedy := format('let them be, or look at them: select recording_id, booking_id from public.videos as one '
      'where user_id = %L and camera_id = %L and not exists (select from public.bookings '
      'where id::text = split_part(one.booking_id::text, ''@'', 1));', owner, camera);
    return next;
  end if;
  if not link ?& array['user_id', 'camera_id', 'recording_id'] then
    return;
  end if;
  execute format($f$ select count(*) as many from public.shared_links as one
    where one.user_id = $1::%1$s and one.camera_id = $2::%2$s and one.recording_id is not null
      and not exists (select from public.videos as film where film.recording_id = one.recording_id
                         and film.user_id = $1::%3$s and film.camera_id = $2::%4$s) $f$,
    link ->> 'user_id', link ->> 'camera_id', film ->> 'user_id', film ->> 'camera_id') into found_it using owner, camera;
  if found_it.many > 0 then
    about := 'shared_links rows';
    problem := format('%s of this court''s links lead to films that are not there', found_it.many);
    remedy := format('delete from public.shared_links as one where user_id = %L and camera_id = %L and recording_id is not '
      'null and not exists (select from public.videos as film where film.recording_id = one.recording_id '
      'and film.user_id::text = one.user_id::text and film.camera_id::text = one.camera_id::text);', owner, camera);
    return next;
  end if;
end $$;
comment on function ezrec.rows_of_nothing is
  'Which films and links of a court stand there twice or point nowhere. Nothing is changed.';

create or replace function ezrec.bookings_of_nobody(owner text, camera text, also text[], options jsonb)
returns table (about text, problem text, remedy text) language plpgsql stable set search_path = '' as $$
declare
  called_off constant text[] := case when options ? 'cancelled_words' then ezrec.words_of(options -> 'cancelled_words')
    else array['cancelled', 'canceled', 'rejected', 'no_show'] end;
  has constant jsonb := ezrec.columns('bookings');
  starts constant text := case when has ? 'start_time' then 'start_time' else 'starts_at' end;
  ahead constant text := case when has ->> starts like 'timestamp%' then format('one.%I > now()', starts)
    when has ->> 'date' in ('date', 'timestamp without time zone', 'timestamp with time zone')
    then 'one.date >= current_date' else 'true' end;
  one record;
begin
  about := 'bookings rows';
  for one in select array_agg(said ->> 'id' order by said ->> 'id') as ids from ezrec.bookings_of(owner, camera, also, 400)
              where lower(coalesce(said ->> 'status', '')) <> all (called_off)
              group by said - 'id' - 'status' having count(*) > 1 loop
    problem := format('the bookings %s are for the same time: each gets a film', array_to_string(one.ids, ', '));
    remedy := format('delete from public.bookings where id::text in (%s);',
                     (select string_agg(quote_literal(id), ', ') from unnest(one.ids[2:]) as id));
    return next;
  end loop;
  for one in execute format($f$ select one.camera_id::text as court, count(*) as many from public.bookings as one
      where one.user_id = $1::%s and one.camera_id is not null and one.camera_id::text <> all ($3 || $2) and (%s)
        and not exists (select from public.system_status as box
                         where box.user_id::text = $1 and box.camera_id::text = one.camera_id::text)
      group by 1 $f$, has ->> 'user_id', ahead) using owner, camera, also loop
    problem := format('no box reports for the court %s, so nobody records its bookings ahead: %s', one.court, one.many);
    remedy := format('let that court''s box have site.camera_id = %1$L, or, if this court is meant: update public.bookings '
      'set camera_id = %2$L where user_id = %3$L and camera_id = %1$L;', one.court, camera, owner);
    return next;
  end loop;
end $$;
comment on function ezrec.bookings_of_nobody is
  'Which bookings ahead are there twice, and which of an owner''s no box records. Nothing is changed.';

create or replace function public.ezrec_check(court jsonb) returns table (about text, problem text, remedy text)
language plpgsql security definer set search_path = '' as $$
declare
  who constant record := ezrec.caller(court);
begin
  return query select * from ezrec.problems(who.user_id, who.camera_id, who.options);
  return query select * from ezrec.open_doors();
  return query select * from ezrec.rows_of_nothing(who.user_id, who.camera_id);
  return query select * from ezrec.bookings_of_nobody(who.user_id, who.camera_id, who.also, who.options);
end $$;
