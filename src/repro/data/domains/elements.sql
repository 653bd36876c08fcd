-- What is known of each element, by the names that chemistry.yaml has for it. Temperatures are in kelvin.
SELECT
    e.atomic_number AS number, e.name, lower(e.name) AS lower, e.symbol, lower(s.name) AS series, e.group_id AS "group",
    e.period, coalesce('group ' || e.group_id || ', ', '') || 'period ' || e.period AS place, e.block,
    e.atomic_weight AS weight, p.melting_point AS melting, p.boiling_point AS boiling, e.discoverers,
    e.discovery_year AS discovered, e.name_origin AS origin, e.description, e.uses, e.sources AS occurrence
FROM elements e
JOIN series s ON s.id = e.series_id
-- Allotropes melt at different temperatures; where there are several, none is the element's own.
LEFT JOIN (
    SELECT atomic_number, MIN(melting_point) AS melting_point, MIN(boiling_point) AS boiling_point
    FROM phasetransitions GROUP BY atomic_number HAVING COUNT(*) = 1
) p USING (atomic_number)
ORDER BY e.atomic_number
