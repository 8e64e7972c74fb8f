"""The gateway: sessions per shard, dispatch, heartbeats, resume, and the ways in which a connection ends."""

from __future__ import annotations

import secrets
from typing import Any

from aiohttp import web

from loopback.connection import Connection
from loopback.payloads import JSON
from loopback.recording import GatewayOp, Log
from loopback.session import Session
from loopback.world import World

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE_STATE, RESUME, RECONNECT = 0, 1, 2, 3, 4, 6, 7
REQUEST_MEMBERS, INVALID_SESSION, HELLO, HEARTBEAT_ACK = 8, 9, 10, 11
UNKNOWN_OP, NOT_AUTHENTICATED, AUTHENTICATION_FAILED, ALREADY_AUTHENTICATED = 4001, 4003, 4004, 4005
INVALID_SHARD = 4010


class Gateway:
    """Sessions and connections; `ops` records what clients sent.

    `acknowledge` False withholds heartbeat acknowledgements; `heartbeat_interval_s` goes out with HELLO;
    `resumable` False answers every RESUME with an invalid session.
    """

    def __init__(self, world: World, token: str, keep: int | None) -> None:
        self.world = world
        self.token = token
        self.ops: Log[GatewayOp] = Log(keep)
        self.heartbeat_interval_s = 41.25
        self.acknowledge = True
        self.resumable = True
        self.resume_url = ""
        self._sessions: dict[str, Session] = {}
        self._connections: set[Connection] = set()

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serves one WebSocket from HELLO to its end."""
        socket = web.WebSocketResponse(compress=False, max_msg_size=0)
        connection = Connection(socket, request)
        await socket.prepare(request)
        self._connections.add(connection)
        try:
            await connection.send(HELLO, {"heartbeat_interval": int(self.heartbeat_interval_s * 1000), "_trace": []})
            await connection.receive_all(self._on_payload)
        finally:
            self._connections.discard(connection)
            if connection.session is not None and connection.session.connection is connection:
                connection.session.connection = None
        return socket

    def has_reached(self, client: Any) -> bool:
        """Tells if a client has received every event that was sent to its sessions."""
        connected = [session for session in self._sessions.values() if session.connection is not None]
        return all(client._get_websocket(shard_id=one.shard).sequence == one.sequence for one in connected)

    async def dispatch(self, event: str, data: JSON, shard: int = 0) -> None:
        """Sends an event to the session of a shard; while it is disconnected, the event waits for its RESUME.

        Raises:
            LookupError: no client ever identified that shard.
        """
        await self._session(shard).dispatch(event, data)

    async def tell(self, event: str, data: JSON, guild_id: int, intent: int) -> None:
        """Sends an event to the shard of a guild (0 for none) if that session's intents ask for it."""
        for session in tuple(self._sessions.values()):
            if session.intents & intent and session.shard == (guild_id >> 22) % session.shards:
                await session.dispatch(event, data)

    @property
    def shards_identified(self) -> int:
        """The shard count that the last client named."""
        return next((session.shards for session in reversed(self._sessions.values())), 0)

    def shards(self) -> list[int]:
        """The shards with a live connection."""
        return sorted(session.shard for session in self._sessions.values() if session.connection is not None)

    async def drop(self, shard: int = 0, code: int | None = None) -> None:
        """Ends a connection: with a close code, or (None) by cutting the socket without a word."""
        connection = self._connection(shard)
        if code is None:
            connection.abort()
        else:
            await connection.close(code)

    async def ask_reconnect(self, shard: int = 0) -> None:
        """Sends op 7, after which the client should come back and resume."""
        await self._connection(shard).send(RECONNECT, None)

    async def invalidate(self, shard: int = 0, *, resumable: bool = False) -> None:
        """Sends op 9; without `resumable` the session is gone and the client has to identify anew."""
        session = self._session(shard)
        if not resumable:
            self._sessions.pop(session.id)
        if session.connection is not None:
            await session.connection.send(INVALID_SESSION, resumable)

    async def close(self) -> None:
        """Ends all connections, as a server does that goes down."""
        for connection in tuple(self._connections):
            await connection.close(1001)

    def _session(self, shard: int) -> Session:
        for session in reversed(self._sessions.values()):
            if session.shard == shard:
                return session
        raise LookupError(f"shard {shard} has no session; live shards: {self.shards()}")

    def _connection(self, shard: int) -> Connection:
        connection = self._session(shard).connection
        if connection is None:
            raise LookupError(f"shard {shard} is not connected; live shards: {self.shards()}")
        return connection

    async def _on_payload(self, connection: Connection, payload: JSON) -> None:
        op, data = payload.get("op"), payload.get("d")
        shard = connection.session.shard if connection.session else 0
        self.ops.append(GatewayOp(shard, op if isinstance(op, int) else -1, data, connection.last_arrival_s))
        if not isinstance(data, dict):
            data = {}
        if op == HEARTBEAT:
            if self.acknowledge:
                await connection.send(HEARTBEAT_ACK, None)
        elif op == IDENTIFY:
            await self._identify(connection, data)
        elif op == RESUME:
            await self._resume(connection, data)
        elif connection.session is None:
            await connection.close(NOT_AUTHENTICATED)
        elif op == REQUEST_MEMBERS:
            await self._send_members(connection.session, data)
        elif op not in {PRESENCE, VOICE_STATE}:
            await connection.close(UNKNOWN_OP)

    async def _identify(self, connection: Connection, data: JSON) -> None:
        shard, shards = data.get("shard", (0, 1))
        if connection.session is not None:
            await connection.close(ALREADY_AUTHENTICATED)
        elif data["token"] != self.token:
            await connection.close(AUTHENTICATION_FAILED)
        elif not 0 <= shard < shards:
            await connection.close(INVALID_SHARD)
        else:
            session = Session(secrets.token_hex(16), shard, shards, connection, data.get("intents", 0))
            # A second identify of the same shard replaces the first: dispatch must not reach a dead session.
            self._sessions = {key: old for key, old in self._sessions.items() if old.shard != shard}
            self._sessions[session.id] = connection.session = session
            await self._greet(session)

    async def _greet(self, session: Session) -> None:
        guilds = [key for key in self.world.guilds if (int(key) >> 22) % session.shards == session.shard]
        ready = {
            "v": 10,
            "user": self.world.bot | {"verified": True, "mfa_enabled": True, "email": None},
            "guilds": [{"id": key, "unavailable": True} for key in guilds],
            "session_id": session.id,
            "resume_gateway_url": self.resume_url,
            "shard": [session.shard, session.shards],
            "application": {"id": self.world.application_id, "flags": 0},
        }
        await session.dispatch("READY", ready)
        for key in guilds:
            await session.dispatch("GUILD_CREATE", self.world.guild_create(key))

    async def _resume(self, connection: Connection, data: JSON) -> None:
        session = self._sessions.get(data.get("session_id", ""))
        if data["token"] != self.token:
            await connection.close(AUTHENTICATION_FAILED)
        elif session is None or not self.resumable:
            await connection.send(INVALID_SESSION, False)
        else:
            connection.session, session.connection = session, connection
            await session.replay(int(data["seq"] or 0))
            await session.dispatch("RESUMED", {"_trace": []})

    async def _send_members(self, session: Session, data: JSON) -> None:
        members = list(self.world.members[str(data["guild_id"])].values())
        wanted = {str(user_id) for user_id in data.get("user_ids") or ()}
        query = (data.get("query") or "").lower()
        found = [m for m in members if m["user"]["id"] in wanted or (not wanted and query in m["user"]["username"])]
        chunk: dict[str, Any] = {
            "guild_id": str(data["guild_id"]),
            "members": found,
            "chunk_index": 0,
            "chunk_count": 1,
            "presences": [],
            "not_found": [],
        }
        if data.get("nonce"):
            chunk["nonce"] = data["nonce"]
        await session.dispatch("GUILD_MEMBERS_CHUNK", chunk)
