create table users (id int primary key, email text);
copy users from stdin;
1	a@example.org
2	b@example.org
\.
create index concurrently users_email on users (email);
