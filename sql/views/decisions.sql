-- Every decision that was published, whatever its outcome.
SELECT * FROM approved WHERE problem IS NULL
UNION ALL
SELECT * FROM blocked WHERE problem IS NULL
