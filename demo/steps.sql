-- How long each step took. The last one ends here.
\echo
\echo '== Seconds per step'
SELECT split_part(step, ':', 1) AS step, round(extract(epoch FROM COALESCE(lead(began) OVER (ORDER BY no), clock_timestamp()) - began), 2) AS seconds
FROM demo.steps
ORDER BY no;
