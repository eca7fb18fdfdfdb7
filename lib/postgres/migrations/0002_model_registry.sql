-- The built-in model registry.
select 1;
