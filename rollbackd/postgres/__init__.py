"""What we ask of Postgres and do there. Needs the extra `rollbackd[postgres]`: psycopg."""
