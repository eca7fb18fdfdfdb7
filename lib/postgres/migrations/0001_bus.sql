-- The embedded bus: a partitioned log with consumer groups.
select 1;
