CREATE FUNCTION add(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT a + b;';
CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at THEN
        NEW.updated_at := now();
    END IF;
    RETURN NEW; -- that's all
END;
$$;
CREATE FUNCTION nested() RETURNS void AS $outer$
DECLARE
    sql text := $inner$ CREATE INDEX CONCURRENTLY i ON t (a); $inner$;
    r record;
BEGIN
    FOR r IN SELECT * FROM pg_class WHERE relname ~ '^t;' LOOP
        EXECUTE format($f$ANALYZE %I$f$, r.relname);
        CASE r.relkind WHEN 'r' THEN NULL; ELSE RAISE NOTICE 'kind %; $', r.relkind; END CASE;
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    RAISE;
END
$outer$ LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp COST 100;
CREATE FUNCTION one() RETURNS int LANGUAGE sql RETURN 1;
CREATE FUNCTION pick(x int) RETURNS text LANGUAGE sql RETURN CASE WHEN x > 0 THEN 'a' ELSE 'b' END;
CREATE FUNCTION sub() RETURNS int RETURN (SELECT max(id) FROM t);
CREATE PROCEDURE insert_both(a integer, b integer)
LANGUAGE SQL
BEGIN ATOMIC
    INSERT INTO tbl VALUES (a);
    INSERT INTO tbl VALUES (b);
END;
CREATE OR REPLACE FUNCTION grade(points int) RETURNS text
BEGIN ATOMIC
    SELECT CASE WHEN points > 90 THEN 'A' WHEN points > 80 THEN CASE points % 2 WHEN 0 THEN 'B+' ELSE 'B' END ELSE 'C' END;
END;
CREATE FUNCTION columns_called_end() RETURNS SETOF int BEGIN ATOMIC
    SELECT 1 end;
    SELECT t.end FROM (SELECT 2 AS end) t;
    SELECT 3 AS case;
    SELECT 4 case;
END;
CREATE PROCEDURE nothing() BEGIN ATOMIC END;
CREATE PROCEDURE empties() BEGIN /* x */ ATOMIC ;; SELECT 1;; END;
CREATE FUNCTION gives_back() RETURNS int BEGIN ATOMIC
    UPDATE t SET a = a + 1 WHERE b = 'end;' RETURNING a;
    RETURN 1;
END;
create function f(begin int, atomic int) returns int begin atomic select begin + atomic; end;
CREATE FUNCTION with_rule() RETURNS void BEGIN ATOMIC
    CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2);
END;
CREATE FUNCTION outer_function() RETURNS void BEGIN ATOMIC
    CREATE FUNCTION inner_function() RETURNS int BEGIN ATOMIC SELECT 1; END;
    SELECT 2;
END;
CREATE FUNCTION set_begin() RETURNS int SET a.b TO begin BEGIN ATOMIC SELECT 1; END;
CREATE FUNCTION table_returning(OUT a int, INOUT b text DEFAULT 'x;y', VARIADIC c int[] = '{}') RETURNS record LANGUAGE c AS 'lib', 'symbol';
CREATE FUNCTION t() RETURNS TABLE (a int, b text) LANGUAGE sql AS $_$ SELECT 1, 'a' $_$ ROWS 10;
CREATE FUNCTION escaped() RETURNS text LANGUAGE sql AS E'SELECT \'a;b\'';
CREATE FUNCTION in_two_lines() RETURNS text LANGUAGE sql AS 'SELECT '
    '''a;b''';
DO $$ BEGIN PERFORM 1; END $$;
DO LANGUAGE plpgsql $do$
BEGIN
    EXECUTE 'CREATE INDEX CONCURRENTLY i ON t (a)';
END
$do$;
CALL insert_both(1, b => 2);
ALTER FUNCTION add(int, int) OWNER TO bob;
ALTER ROUTINE add SET work_mem TO '64MB';
DROP FUNCTION IF EXISTS add(int, int), touch CASCADE;
DROP PROCEDURE nothing();
CREATE TRIGGER touch BEFORE INSERT OR UPDATE OF a, b ON t FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION touch('a;', 1);
CREATE CONSTRAINT TRIGGER ct AFTER DELETE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE PROCEDURE f();
CREATE TRIGGER s AFTER UPDATE ON t REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION f();
CREATE EVENT TRIGGER et ON ddl_command_start WHEN TAG IN ('CREATE INDEX', 'DROP INDEX') EXECUTE FUNCTION f();
CREATE RULE r1 AS ON INSERT TO v DO INSTEAD NOTHING;
CREATE RULE r2 AS ON UPDATE TO v WHERE OLD.a <> NEW.a DO ALSO (INSERT INTO log VALUES (NEW.a); DELETE FROM t WHERE a = OLD.a);
CREATE OR REPLACE RULE "R;3" AS ON DELETE TO v DO INSTEAD (
    UPDATE t SET gone = true WHERE id = OLD.id;
    NOTIFY gone;
    INSERT INTO log SELECT (1 + (2 * 3)), ';';
);
CREATE RULE r4 AS ON SELECT TO v DO INSTEAD SELECT * FROM t;
CREATE RULE r5 AS ON INSERT TO v DO ALSO (; SELECT 1;;);
DROP RULE r1 ON v;
CREATE AGGREGATE my_sum (int) (sfunc = int4pl, stype = int, initcond = '0');
CREATE OPERATOR === (leftarg = box, rightarg = box, function = area_equal, commutator = ===, negator = !==, restrict = eqsel);
CREATE OPERATOR shop.@#@ (rightarg = int8, procedure = fact);
DROP OPERATOR === (box, box);
CREATE CAST (bigint AS int4) WITH FUNCTION int4(bigint) AS ASSIGNMENT;
CREATE LANGUAGE plsample HANDLER plsample_call_handler;
