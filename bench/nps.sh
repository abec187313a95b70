# The Net Promoter Score of ten million answers.

rows=$(scaled 10000000)
begin "nps: nps(score) of $rows answers"
fresh nps template1
sql nps -c 'CREATE EXTENSION loyalty' \
	-c 'CREATE TABLE answers (score int NOT NULL) WITH (parallel_workers = 2)' \
	-c "INSERT INTO answers SELECT floor(random() * 11) FROM generate_series(1, $rows)" -c 'VACUUM ANALYZE answers'

filters='100.0 * (count(*) FILTER (WHERE score >= 9) - count(*) FILTER (WHERE score <= 6))
	/ (count(*) FILTER (WHERE score BETWEEN 0 AND 10))'
for workers in 0 2; do
	export PGOPTIONS="$options -c max_parallel_workers_per_gather=$workers"
	for ((run = 1; run <= 2 * RUNS + 1; run++)); do
		timed "nps.$workers.nps" nps <<<'SELECT loyalty.nps(score) FROM answers;'
		timed "nps.$workers.count" nps <<<'SELECT count(score) FROM answers;'
		timed "nps.$workers.filter" nps <<<"SELECT $filters FROM answers;"
	done
	with=$([ $workers = 0 ] && echo serial || echo "$workers workers")
	line "time / count(score)'s, $with" "$(ratio "nps.$workers.nps.time" "nps.$workers.count.time")" '<=' 1.10
	line "time / that of three count(*) FILTER, $with" "$(ratio "nps.$workers.nps.time" "nps.$workers.filter.time")" '<' 1
done
export PGOPTIONS=$options
same nps 'the score' 'SELECT round(loyalty.nps(score)::numeric, 9) FROM answers' "SELECT round($filters, 9) FROM answers"
drop nps
