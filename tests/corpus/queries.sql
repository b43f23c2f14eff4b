SELECT 1;
select 1+1, 2-1, 3*-4, 5/+6, -7, +8, 9%10, 2^3, -(-1), - -1, a--comment
+b from t;
SELECT * FROM ONLY (customers) AS c (a, b) WHERE a=-1 AND b<>-2 OR c>=-3 AND d<=+4 AND e!=-5;
SELECT a@>b, a<@b, a->'x'->>0, a#>'{x}', a#>>'{y,z}', a?'k', a||b, a&&b, a~*'x', a!~~*'y', @-5, |/25, ||/27, !!5;
SELECT a <-> b, a <#> b, a ~>=~ b, a ^@ b, a ~<~ -1, x*-y, x@-y, x<->-y, x=~-y FROM points;
SELECT a OPERATOR(pg_catalog.+) b, c OPERATOR(shop.@#@) d;
SELECT 'it''s', 'a;b', '--no comment', '/* nor this */', E'tab\t quote\' backslash\\', e'\x41\u0041\U00000041\101';
SELECT 'standard \', 'next;';
SELECT 'split'
    ' over '   
  	'lines', 'and'
'again';
SELECT N'national', n'also', B'0101', b'', X'1F', x'dead', B'01'
'10';
SELECT U&'d\0061t\+000061', U&'d!0061ta!!' UESCAPE '!', u&'\D83D\DE00', U&"d\0061ta".U&"c*006f" UESCAPE '*';
SELECT $$dollar; 'quoted'$$, $a$ $$ $b$ $a$, $tag1$ tag $tag$ $tag1$, $é$ accents; $é$, $$$$, $_$_$_$;
SELECT $1, $2::int, $3+$4, a[$5], $10;
SELECT 1., .5, 1.5, 1e10, 1.5E-3, .5e+7, 123456789012345678901234567890, 0.1, 00012, 1.e5;
SELECT (ARRAY[1,2,3])[1:2], (ARRAY[[1,2],[3,4]])[1][2], a[1:], a[:2], a[:], '{1,2}'::int[];
SELECT (a).b, (a).*, (f(x)).c, t.*, "T"."C", s.t.c, (SELECT ARRAY(SELECT 1));
SELECT CAST(a AS numeric(10, 2)), a::text::int, int '1', date '2024-01-01', interval '1 day' year to month, float8 '1.5';
SELECT CASE WHEN a THEN b WHEN c THEN d ELSE e END, CASE a WHEN 1 THEN CASE 2 WHEN 3 THEN 4 END END AS end;
SELECT a AS begin, b AS case, c AS "select", d AS end, e commit, f AS transaction FROM t begin;
SELECT a::int AS index, "concurrently".b FROM s.t AS "concurrently";
SELECT x FROM t WHERE a BETWEEN 1 AND 2 AND b NOT IN (1, 2) AND c LIKE 'a!%' ESCAPE '!' AND d IS NOT NULL AND e ILIKE '%;%';
SELECT x FROM t WHERE a SIMILAR TO '(a|b)*' AND b = ANY ($1) AND c <> ALL (ARRAY[1]) AND EXISTS (SELECT 1) AND NOT d AND e ISNULL;
SELECT count(*) FILTER (WHERE a > 0), sum(b) OVER w, rank() OVER (PARTITION BY c ORDER BY d DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM t WINDOW w AS (ORDER BY e);
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x), string_agg(DISTINCT a, ';' ORDER BY a), array_agg(a) FROM t GROUP BY GROUPING SETS ((a), ROLLUP (b, c), ()) HAVING count(*) > 1;
SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, b USING >, c NULLS FIRST LIMIT ALL OFFSET 5 ROWS;
SELECT * FROM t ORDER BY 1 FETCH FIRST 5 ROWS ONLY FOR NO KEY UPDATE OF t SKIP LOCKED;
SELECT * FROM a NATURAL JOIN b LEFT JOIN c USING (id) AS j RIGHT OUTER JOIN d ON a.id = d.id CROSS JOIN e FULL JOIN f ON true;
SELECT * FROM a, LATERAL (SELECT * FROM b WHERE b.id = a.id) x, generate_series(1, 10) WITH ORDINALITY g (n, o), ROWS FROM (f(1), g(2)) AS r;
SELECT * FROM t TABLESAMPLE BERNOULLI (1.5) REPEATABLE (42), XMLTABLE('/a;b' PASSING d COLUMNS x int PATH '@x') q;
WITH RECURSIVE a AS (SELECT 1 n UNION ALL SELECT n+1 FROM a WHERE n<5) SEARCH DEPTH FIRST BY n SET o CYCLE n SET c USING p, b AS NOT MATERIALIZED (SELECT 2) SELECT * FROM a, b;
WITH moved AS (DELETE FROM a WHERE b < now() - interval '1 day' RETURNING *) INSERT INTO c SELECT * FROM moved;
(SELECT 1) UNION ALL (SELECT 2 ORDER BY 1) INTERSECT SELECT 3 EXCEPT DISTINCT VALUES (4), (5);
VALUES (1, 'a;'), (2, DEFAULT);
TABLE ONLY customers;
INSERT INTO t (a, b[1], c.d) OVERRIDING SYSTEM VALUE VALUES (1, 2, 3), (DEFAULT, NULL, ';');
INSERT INTO t DEFAULT VALUES RETURNING id, "createdAt";
INSERT INTO t AS x SELECT 1 ON CONFLICT (lower(a) COLLATE "C") WHERE b DO UPDATE SET a = EXCLUDED.a || ';', (b, c) = ROW (1, 2) WHERE x.a <> 'y';
INSERT INTO t VALUES (1) ON CONFLICT ON CONSTRAINT k DO NOTHING;
UPDATE ONLY t AS x SET a = a + 1, b = DEFAULT, (c, d) = (SELECT 1, 2), e[1] = 5 FROM u WHERE x.id = u.id RETURNING *;
UPDATE t SET a = $$;$$ WHERE CURRENT OF c;
DELETE FROM t USING u WHERE t.id = u.id AND u.x = 'a;b' RETURNING t.*;
MERGE INTO t USING u ON t.id = u.id WHEN MATCHED AND u.gone THEN DELETE WHEN MATCHED THEN UPDATE SET a = u.a WHEN NOT MATCHED THEN INSERT (id) VALUES (u.id);
SELECT EXTRACT(year FROM now()), POSITION('a' IN 'b;'), SUBSTRING('abc' FROM 1 FOR 2), TRIM(BOTH ' ' FROM x), OVERLAY('a' PLACING 'b' FROM 1), COALESCE(a, b), NULLIF(a, b), GREATEST(1, 2);
SELECT now() AT TIME ZONE 'UTC', current_date, localtimestamp(3), CURRENT_USER, current_schema, a COLLATE "de_DE";
SELECT xmlelement(name a, xmlattributes(b AS c), 'd;'), XMLPARSE(DOCUMENT '<a/>'), x IS DOCUMENT;
SELECT f(a := 1, b => 2, VARIADIC ARRAY[3]), f(ALL a), f(DISTINCT a), f(*);
SELECT ROW(1, 2) = (1, 2), (1, 2) OVERLAPS (3, 4), ROW(), (a, b) IN (SELECT 1, 2);
SELECT/**/1/* nested /* comment; */ still */+/**/2--;
-1;
SELECT 1 WHERE 'a'='b'OR'c'<>'d'and"x"IS NULL;
SELECT "a""b", """", " " FROM t;
