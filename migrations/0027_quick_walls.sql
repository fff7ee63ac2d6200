-- As 0013 did for the tables of its time: these walls read the setting once for each statement, and are
-- no equalities.
DO $$
DECLARE
    walled text;
BEGIN
    FOREACH walled IN ARRAY ARRAY['agents', 'agent_absences', 'handover_offers', 'changes']
    LOOP
        EXECUTE format(
            'ALTER POLICY %I ON %I USING (workspace_id IS NOT DISTINCT FROM (
                 SELECT nullif(current_setting(''app.workspace_id'', true), '''')::uuid))',
            walled || '_wall', walled);
    END LOOP;
END
$$;
