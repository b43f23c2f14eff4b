"""psycopg 3: prepared statements, a pipeline with an error in it, COPY."""
import psycopg

with psycopg.connect() as connection:
    connection.execute("create table psycopg3 (id int primary key, name text)")
    for number in (1, 2):
        connection.execute("insert into psycopg3 values (%s, %s)", (number, "n"), prepare=True)
    with connection.cursor().copy("copy psycopg3 from stdin") as copy:
        copy.write_row((3, "three"))
    connection.commit()
    try:
        with connection.pipeline():
            connection.execute("select count(*) from psycopg3", prepare=True)
            connection.execute("insert into psycopg3 values (1, 'again')", prepare=True)
            connection.execute("select 'skipped'", prepare=True)
    except psycopg.errors.UniqueViolation:
        connection.rollback()
    try:
        connection.execute("create index concurrently psycopg3_name on psycopg3 (name)", prepare=True)
    except psycopg.errors.ActiveSqlTransaction:
        connection.rollback()
