DROP INDEX CONCURRENTLY users_name_idx, orders_id_idx;
SELECT 1;
