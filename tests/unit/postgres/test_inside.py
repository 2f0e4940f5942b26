"""What lies in some schemas is told from what does not, whatever kind of object it is."""

from rollbackd.postgres.fingerprint import made_of
from rollbackd.postgres.inside import inside, outside

HERE = {
    ("schema", "public"): "",
    ("table", "public.orders"): "",
    ("column", 'public."a b".total'): "numeric",
    ("acl", "anon on table public.orders"): "SELECT",
    ("owner", "function public.f(integer)"): "postgres",
    ("schema", '"odd name"'): "",
    ("policy", '"odd name".t.calm'): "",
}
ELSEWHERE = {
    ("table", "publics.orders"): "",
    ("table", "other.public"): "",
    ("extension", "pgcrypto"): "in public_too",
}
NEVER = {
    ("settings", "all in this database"): "x",
    ("acl", "anon on database itself"): "CONNECT",
    ("publication", "all of public.orders"): "",
}


def test_schemas_are_told_by_their_whole_names() -> None:
    whole = made_of(HERE | ELSEWHERE | NEVER)
    schemas = ("public", "odd name")

    assert inside(whole, schemas).objects == HERE
    assert outside(whole, schemas).objects == ELSEWHERE
