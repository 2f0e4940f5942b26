"""The own GraphQL executor, and the twelve documents stock clients send."""

from collections.abc import AsyncIterator
from typing import Any

import graphql as reference
import httpx
import pytest

from rollbackd.sandbox.errors import GraphqlError
from rollbackd.sandbox.graphql_parser import parse
from rollbackd.sandbox.graphql_run import FieldType, Types, run
from rollbackd.sandbox.server import Sandbox
from tests.sandbox.conftest import QUICK

NODES = "nodes{id version description reason status imageRef stable createdAt user{id email name}}"
DOCUMENTS = {
    "G1": (
        'query($org: ID, $after: String){apps(type:"container", first:200, after:$after,'
        " organizationId:$org){pageInfo{hasNextPage endCursor} nodes{id name deployed hostname"
        " platformVersion network status organization{slug name}"
        " currentRelease{createdAt status}}}}"
    ),
    "G2": (
        "query($appName: String!){appcompact: app(name:$appName){id internalNumericId name hostname"
        " cnameTarget deployed network status appUrl platformVersion organization{id"
        " internalNumericId slug paidPlan} postgresAppRole: role{name}}}"
    ),
    "G3": "query($appName: String!){app(name:$appName){currentRelease:"
    " currentReleaseUnprocessed{version}}}",
    "G4": "query($appName: String!, $limit: Int!){app(name:$appName){releases:"
    f" releasesUnprocessed(first:$limit){{{NODES}}}}}}}",
    "G5": "query FlyctlConfigCurrentRelease($appName: String!){app(name:$appName)"
    "{currentReleaseUnprocessed{configDefinition}}}",
    "G6": "query($appName: String!){appbasic: app(name:$appName){id name platformVersion"
    " organization{id internalNumericId slug rawSlug paidPlan}}}",
    "G7": "query($machineId: String!){gqlmachine: machine(machineId:$machineId){id name"
    " app{name organization{id slug}}}}",
    "G9": "query($appName: String!){apphostissues: app(name:$appName){hostIssues{nodes{internalId"
    " message createdAt updatedAt}}}}",
    "G10": "query($appName: String!, $imageRef: String!){app(name:$appName){id"
    " image(ref:$imageRef){id digest ref compressedSize: compressedSizeFull manifest}}}",
    "G11": "query($appName: String!){app(name:$appName){egressIpAddresses{nodes{id ip version"
    " region updatedAt}}}}",
    "G12": "query($slug: String!){organization(slug:$slug){id internalNumericId slug rawSlug name"
    " type billable}}",
    "full": "query($appName:String!,$n:Int!){app(name:$appName){id name status deployed"
    " currentReleaseUnprocessed{id version status imageRef createdAt}"
    " releases: releasesUnprocessed(first:$n){nodes{id version status description reason stable"
    " imageRef revertedTo deploymentStrategy createdAt updatedAt user{email} configDefinition}}}}",
}


@pytest.fixture(scope="module")
async def box() -> AsyncIterator[Sandbox]:
    """One for the whole file: these tests only look, or add what no other one sees."""
    async with Sandbox(machines=1, **QUICK) as one:
        await one.ready()
        yield one


async def ask(api: httpx.AsyncClient, box: Sandbox, query: str, **more: Any) -> dict[str, Any]:
    variables = {
        "appName": "shop",
        "limit": 25,
        "n": 25,
        "machineId": box.machines[0].id,
        "imageRef": "registry.fly.io/shop:good",
        "slug": box.urls.org,
        "after": "",
    } | more
    answer = await api.post("/graphql", json={"query": query, "variables": variables})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_every_document_of_the_minimal_surface_is_answered(
    api: httpx.AsyncClient, box: Sandbox, name: str
) -> None:
    answer = await ask(api, box, DOCUMENTS[name])

    assert "errors" not in answer
    (field,) = parse(DOCUMENTS[name]).operations[0].selections
    assert list(answer["data"]) == [field.alias]  # type: ignore[union-attr]  # no fragments here


async def test_g2_keys_are_the_aliases_and_big_numbers_are_text(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    app = (await ask(api, box, DOCUMENTS["G2"]))["data"]["appcompact"]

    assert app["postgresAppRole"] is None
    assert app["organization"]["internalNumericId"] == "1"
    assert app["internalNumericId"] == 1


async def test_g5_with_its_operation_name_gives_the_definition_as_object(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    words = {
        "query": DOCUMENTS["G5"],
        "variables": {"appName": "shop"},
        "operationName": "FlyctlConfigCurrentRelease",
    }
    answer = (await api.post("/graphql", json=words)).json()

    definition = answer["data"]["app"]["currentReleaseUnprocessed"]["configDefinition"]
    assert definition["app"] == "shop"
    assert definition["services"][0]["http_checks"][0]["path"] == "/healthz"


async def test_g8_an_unknown_repository_is_said_in_the_words_flyctl_tolerates(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    query = (
        "query($image: String!, $flyVersion: String){latestImageDetails(image:$image,"
        " flyVersion:$flyVersion){registry repository tag version digest}}"
    )
    answer = await ask(api, box, query, image="shop:good", flyVersion="")

    assert "Unknown repository" in answer["errors"][0]["message"]


async def test_g10_gives_the_reference_back_and_the_size_as_text(
    api: httpx.AsyncClient, box: Sandbox
) -> None:
    image = (await ask(api, box, DOCUMENTS["G10"]))["data"]["app"]["image"]

    assert image["ref"] == "registry.fly.io/shop:good"
    assert image["compressedSize"].isdigit()


async def test_an_unknown_app_is_an_error_on_http_200(api: httpx.AsyncClient, box: Sandbox) -> None:
    answer = await ask(api, box, DOCUMENTS["G2"], appName="none")

    assert answer["data"] is None
    assert answer["errors"][0]["message"] == "Could not find App"
    assert answer["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_apps_come_in_pages(api: httpx.AsyncClient, box: Sandbox) -> None:
    for name in ("b", "c"):
        box.platform.new_app(name)
    query = (
        "query($after: String){apps(first:2, after:$after){nodes{name}"
        " pageInfo{hasNextPage endCursor}}}"
    )
    headers = {"Authorization": f"Bearer {box.urls.org_token}"}
    api.headers.update(headers)

    first = (await ask(api, box, query))["data"]["apps"]
    second = (await ask(api, box, query, after=first["pageInfo"]["endCursor"]))["data"]["apps"]

    assert [node["name"] for node in first["nodes"] + second["nodes"]] == ["b", "c", "shop"]
    assert (first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"]) == (True, False)


TYPES: Types = {
    "Query": {
        "thing": FieldType(
            resolve=lambda _, a: a, type="Thing", arguments=frozenset({"a", "b", "c"})
        ),
        "things": FieldType(resolve=lambda *_: [{"a": 1}, {"a": 2}], type="Thing"),
        "none": FieldType(resolve=lambda *_: None, type="Thing"),
    },
    "Thing": {
        "a": FieldType(resolve=lambda s, _: s.get("a")),
        "b": FieldType(resolve=lambda s, _: s.get("b")),
        "needs": FieldType(resolve=lambda s, _: s, required=frozenset({"x"})),
    },
}


def execute(text: str, **variables: object) -> dict[str, Any]:
    roots = {"Query": None, "Mutation": None}
    return run(parse(text), types=TYPES, roots=roots, operation_name=None, variables=variables)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{thing(a:"x\\n\\"y"){a}}', {"thing": {"a": 'x\n"y'}}),
        ("{one:thing(a:1){a} two:thing(a:-2.5){a}}", {"one": {"a": 1}, "two": {"a": -2.5}}),
        (
            "{thing(a:[1,[true,null]],b:{c:ENUM,d:{e:1}}){a b}}",
            {"thing": {"a": [1, [True, None]], "b": {"c": "ENUM", "d": {"e": 1}}}},
        ),
        ("query Q($v:Int=7,$w:[Int!]!=[1]){thing(a:$v,b:$w){a b}}", {"thing": {"a": 7, "b": [1]}}),
        ("{things{a}}", {"things": [{"a": 1}, {"a": 2}]}),
        ("{none{a}}", {"none": None}),
        (
            "{thing(a:1){...F ... on Thing{b}}} fragment F on Thing{a}",
            {"thing": {"a": 1, "b": None}},
        ),
        ("{thing(a:1){...on Other{b} a}}", {"thing": {"a": 1}}),
        ("{thing(a:1){a @skip(if:true) b @include(if:true)}}", {"thing": {"b": None}}),
        ("{thing(a:1){a} thing(a:1){b}}", {"thing": {"a": 1, "b": None}}),
        (
            "{__typename thing{__typename}}",
            {"__typename": "Query", "thing": {"__typename": "Thing"}},
        ),
        ("# a comment\n{thing(a:1,){a,}}", {"thing": {"a": 1}}),
    ],
)
def test_documents_are_executed_as_written(text: str, expected: object) -> None:
    assert execute(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{unknown{a}}", "doesn't exist on type 'Query'"),
        ("{thing(z:1){a}}", "doesn't accept argument 'z'"),
        ("{thing{needs}}", "missing required arguments: x"),
        ("{thing}", "Selections of field"),
        ("{thing{a{b}}}", "Selections of field"),
        ("query($v:Int!){thing(a:$v){a}}", "invalid value"),
        ("{thing(a:$v){a}}", "not declared"),
        ("{thing{...F}} ", "not defined"),
        ("{thing{...F}} fragment F on Thing{...F}", "cycle"),
        ("query A{thing{a}} query B{thing{a}}", "operation name"),
        ("{thing{a}", "Parse error"),
        ("{thing{}}", "Parse error"),
        ("{thing(a:){a}}", "Parse error"),
        ("subscription{thing{a}}", "Parse error"),
        ("{thing{a}} ?", "Parse error"),
        ("", "operation name"),
        ("{" * 60, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    if message == "nested too deeply":
        text = "{a" * 60 + "}" * 60
    with pytest.raises(GraphqlError, match=message):
        execute(text)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_reference_parser_reads_the_same_selections(name: str) -> None:
    def names(selections: Any) -> list[Any]:
        return [
            (one.alias.value if one.alias else one.name.value, names(one.selection_set.selections))
            if one.selection_set
            else (one.alias.value if one.alias else one.name.value, [])
            for one in selections
        ]

    def own(selections: Any) -> list[Any]:
        return [(one.alias, own(one.selections or [])) for one in selections]

    theirs = reference.parse(DOCUMENTS[name]).definitions[0]
    ours = parse(DOCUMENTS[name]).operations[0]

    assert own(ours.selections) == names(theirs.selection_set.selections)  # type: ignore[attr-defined]
