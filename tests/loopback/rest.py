"""The REST side: reads a request, applies planned faults and limits first, answers, and records it."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import struct
import time
from email.utils import formatdate
from typing import Any

from aiohttp import BodyPartReader, web

from loopback import routes_channel, routes_interaction, routes_state
from loopback.buckets import Buckets
from loopback.calls import Call, Refused, Reply, Route
from loopback.exchanges import EPHEMERAL, Exchanges
from loopback.faults import Fault, Faults
from loopback.gateway import Gateway
from loopback.limits import REQUEST_BYTES
from loopback.payloads import JSON
from loopback.recording import Log, Request, UploadedFile, Violation
from loopback.world import World

API = "/api/v10"
ROUTES: list[Route] = [*routes_state.ROUTES, *routes_channel.ROUTES, *routes_interaction.ROUTES]
GUILD_MESSAGES, DIRECT_MESSAGES = 1 << 9, 1 << 12


class Rest:
    """The API's state besides the world: who may call, what was called, what shall go wrong."""

    def __init__(self, world: World, gateway: Gateway, *, shards: int, keep: int | None) -> None:
        self.world = world
        self.gateway = gateway
        self.shards = shards
        self.gateway_url = ""
        self.cdn_url = ""
        self.echoes = True
        self.exchanges = Exchanges()
        self.faults = Faults()
        self.buckets = Buckets(world.now_s)
        self.requests: Log[Request] = Log(keep)
        self.violations: Log[Violation] = Log(keep)

    def add_to(self, app: web.Application) -> None:
        """Registers all routes, the content server, and an answer for unknown addresses."""
        for route in ROUTES:
            app.router.add_route(route.method, API + route.template, self._endpoint(route))
        app.router.add_get("/cdn/attachments/{channel_id}/{file_id}/{name}", self._get_file)
        unknown = Route("*", "(unknown)", _unknown, needs_bot_token=False)
        app.router.add_route("*", API + "/{tail:.*}", self._endpoint(unknown))

    async def echo(self, event: str, message: JSON) -> None:
        """Tells the bot of a message of its own, as Discord does if the intents ask for it."""
        if not self.echoes or message["flags"] & EPHEMERAL:
            return
        guild_id = self.world.channels[message["channel_id"]].get("guild_id")
        place = {"guild_id": guild_id} if guild_id else {}
        if event == "MESSAGE_DELETE":
            message = {"id": message["id"], "channel_id": message["channel_id"]}
        intent = GUILD_MESSAGES if guild_id else DIRECT_MESSAGES
        await self.gateway.tell(event, message | place, int(guild_id or 0), intent)

    def _endpoint(self, route: Route) -> Any:
        async def answer(request: web.Request) -> web.StreamResponse:
            return await self._serve(route, request)

        return answer

    async def _serve(self, route: Route, request: web.Request) -> web.StreamResponse:
        arrived_s = time.perf_counter()
        name = f"{request.method} {route.template}"
        body, files = await _read(request)
        call = Call(self, name, dict(request.match_info), dict(request.query), body, files)
        fault = self.faults.take(name)
        if fault is not None and fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault is None or fault.kind in {"slow", "answer_lost"}:
            response = await self._answer(route, call, request)
        else:
            response = self._fail(fault, call, request)
        self._record(call, route, request, response.status, arrived_s, fault)
        if fault is not None and fault.kind in {"connection_reset", "answer_lost"}:
            _reset(request)
        return response

    async def _answer(self, route: Route, call: Call, request: web.Request) -> web.Response:
        verdict = self.buckets.spend(call.route, call.parameters)
        if not verdict.allowed:
            return self._too_many(verdict.retry_after_s, "user", verdict.headers)
        try:
            self._admit(route, request)
            reply = await route.handler(call)
        except Refused as refused:
            for where, code, message in refused.violations:
                self.violations.append(Violation(call.route, where, code, message))
            reply = Reply(refused.status, refused.body)
        return self._response(reply, verdict.headers)

    def _admit(self, route: Route, request: web.Request) -> None:
        if (request.content_length or 0) > REQUEST_BYTES:
            raise Refused(413, 40005, "Request entity too large", violates=True)
        if route.needs_bot_token and request.headers.get("Authorization") != f"Bot {self.gateway.token}":
            raise Refused(401, 0, "401: Unauthorized")

    def _fail(self, fault: Fault, call: Call, request: web.Request) -> web.Response:
        if fault.kind == "rate_limited":
            spent = {} if fault.scope == "global" else self.buckets.spend(call.route, call.parameters).headers
            if spent and fault.scope == "user":
                spent |= {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": f"{fault.retry_after_s:.3f}"}
            return self._too_many(fault.retry_after_s, fault.scope, spent)
        if fault.kind == "server_error":
            # Discord's proxy answers these, not its API: plain text, and no rate limit headers.
            return web.Response(status=fault.status, text="upstream connect error", headers=self._common())
        return web.Response(status=502, headers=self._common())  # never arrives: the socket is reset first

    def _too_many(self, retry_after_s: float, scope: str, headers: dict[str, str]) -> web.Response:
        body = {"message": "You are being rate limited.", "retry_after": retry_after_s, "global": scope == "global"}
        headers = headers | {"Retry-After": str(math.ceil(retry_after_s)), "X-RateLimit-Scope": scope}
        if scope == "global":
            headers["X-RateLimit-Global"] = "true"
        return self._response(Reply(429, body), headers)

    def _response(self, reply: Reply, headers: dict[str, str]) -> web.Response:
        headers = self._common() | headers
        if reply.status == 204:
            return web.Response(status=204, headers=headers)
        # Exactly this type: discord.py compares the whole header, and aiohttp would add a charset to text.
        return web.Response(
            status=reply.status, body=json.dumps(reply.body).encode(), content_type="application/json", headers=headers
        )

    def _common(self) -> dict[str, str]:
        # Via is what discord.py looks for in a 429: without it, it takes the answer for a ban by the proxy.
        return {"Date": formatdate(self.world.now_s(), usegmt=True), "Via": "1.1 google"}

    def _record(
        self, call: Call, route: Route, request: web.Request, status: int, arrived_s: float, fault: Fault | None
    ) -> None:
        self.requests.append(
            Request(
                method=request.method,
                path=request.path.removeprefix(API),
                template=route.template,
                status=status,
                body=call.body,
                files=call.files,
                query=call.query,
                headers=dict(request.headers),
                arrived_s=arrived_s,
                answered_s=time.perf_counter(),
                fault=fault.kind if fault else None,
            )
        )

    async def _get_file(self, request: web.Request) -> web.Response:
        stored = self.world.files.get(request.match_info["file_id"])
        if stored is None:
            return web.Response(status=404)
        return web.Response(body=stored[1], content_type=stored[0].partition(";")[0])


async def _read(request: web.Request) -> tuple[Any, tuple[UploadedFile, ...]]:
    """The JSON body (None if there is none) and the uploaded files."""
    if not request.content_type.startswith("multipart/"):
        raw = await request.read()
        return (json.loads(raw) if raw else None), ()
    body, files = None, []
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        data = bytes(await part.read())
        if part.name == "payload_json":
            body = json.loads(data)
        else:
            kind = part.headers.get("Content-Type", "application/octet-stream")
            files.append(UploadedFile(part.name or "", part.filename or "", kind, data))
    return body, tuple(files)


async def _unknown(call: Call) -> Reply:
    raise Refused(404, 0, "404: Not Found")


def _reset(request: web.Request) -> None:
    """Ends the TCP connection with RST instead of FIN: no lingering, and away."""
    if request.transport is None:
        return
    raw = request.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
