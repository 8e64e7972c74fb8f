"""The route helper over a real socket: what is read, what is refused, and how it is said."""


async def test_the_document_is_served_and_kept_nowhere(served):
    async with served() as web:
        answer = await web.get("/openapi.json")
        assert answer.status == 200
        assert answer.json()["openapi"] == "3.1.0"
        assert answer.headers["Cache-Control"] == "no-store"


async def test_seeded_operations_are_in_the_store(seeded):
    async with seeded() as web:
        assert (await web.monitor.query.summary()).total.operations == 900
