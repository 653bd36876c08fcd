SELECT
    e.atomic_number, e.name, e.symbol, s.name, e.group_id, e.period, e.block, e.atomic_weight, p.melting_point,
    p.boiling_point, e.discoverers, e.discovery_year, e.name_origin, e.description, e.uses, e.sources
FROM elements e
JOIN series s ON s.id = e.series_id
-- Allotropes melt at different temperatures; where there are several, none is the element's own.
LEFT JOIN (
    SELECT atomic_number, MIN(melting_point) AS melting_point, MIN(boiling_point) AS boiling_point
    FROM phasetransitions GROUP BY atomic_number HAVING COUNT(*) = 1
) p USING (atomic_number)
ORDER BY e.atomic_number
