-- A step of the demo begins: \set step 'What it does', then \ir step.sql.
\echo
\echo '==' :step
INSERT INTO demo.steps (step) VALUES (:'step');
