"""Builders for the interactions that a person causes: commands, autocomplete, components, modals."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from typing import Any

from loopback import payloads
from loopback.payloads import JSON
from loopback.world import World

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 2, 3, 4, 5
CHAT_INPUT, USER, MESSAGE = 1, 2, 3
_OPTION_TYPES = ((bool, 5), (int, 4), (float, 10), (str, 3))  # bool before int, because it is one


@dataclass(frozen=True)
class Option:
    """An option whose type Python does not show: 6 user, 7 channel, 8 role, 9 mentionable, 11 attachment."""

    type: int
    value: Any


def _option(name: str, value: Any) -> JSON:
    if isinstance(value, Option):
        return {"name": name, "type": value.type, "value": value.value}
    for python_type, option_type in _OPTION_TYPES:
        if isinstance(value, python_type):
            return {"name": name, "type": option_type, "value": value}
    raise TypeError(f"option {name}={value!r}: give str, int, float, bool or Option(type, value)")


def _token(interaction_id: str) -> str:
    """A token as long and as shaped as Discord's, so that what redacts tokens is put to the test."""
    return (
        base64.urlsafe_b64encode(f"interaction:{interaction_id}:{secrets.token_hex(50)}".encode()).decode().rstrip("=")
    )


@dataclass(frozen=True)
class Asker:
    """One person in one channel; each method returns an INTERACTION_CREATE payload of theirs."""

    world: World
    user: JSON
    channel: JSON

    def slash(self, name: str, options: dict[str, Any] | None = None, *, resolved: JSON | None = None) -> JSON:
        """A slash command; `name` is the qualified name with spaces, `perf alerts list`."""
        given = [_option(key, value) for key, value in (options or {}).items()]
        data = self._command(name, CHAT_INPUT, given)
        return self._interaction(COMMAND, data | ({"resolved": resolved} if resolved else {}))

    def autocomplete(self, name: str, focused: str, typed: Any, others: dict[str, Any] | None = None) -> JSON:
        """A keystroke in the option `focused` of a slash command."""
        given = [_option(key, value) for key, value in (others or {}).items()]
        return self._interaction(
            AUTOCOMPLETE, self._command(name, CHAT_INPUT, [*given, _option(focused, typed) | {"focused": True}])
        )

    def user_menu(self, name: str, target: JSON) -> JSON:
        """A context menu on a user; `target` is a user object."""
        data = {**self._identity(name, USER), "target_id": target["id"]}
        return self._interaction(COMMAND, data | {"resolved": self.resolve_user(target)})

    def message_menu(self, name: str, target: JSON) -> JSON:
        """A context menu on a message; `target` is a message object."""
        data = {**self._identity(name, MESSAGE), "target_id": target["id"]}
        return self._interaction(COMMAND, data | {"resolved": {"messages": {target["id"]: target}}})

    def button(self, message: JSON, custom_id: str) -> JSON:
        """A click on a button of a message."""
        return self._interaction(COMPONENT, {"custom_id": custom_id, "component_type": 2}, message)

    def select(self, message: JSON, custom_id: str, values: list[str], component_type: int = 3) -> JSON:
        """A choice in a select menu of a message."""
        data = {"custom_id": custom_id, "component_type": component_type, "values": values}
        return self._interaction(COMPONENT, data, message)

    def modal(
        self, custom_id: str, values: dict[str, str | list[str]], message: JSON | None = None, *, labels: bool = False
    ) -> JSON:
        """A submitted modal; `values` by custom id, a list for a select.

        With `labels` each input stands in a label (type 18), otherwise in an action row.
        """
        rows: list[JSON] = []
        for number, (key, value) in enumerate(values.items(), 1):
            field: JSON = {"id": 100 + number, "custom_id": key}
            field |= {"type": 3, "values": value} if isinstance(value, list) else {"type": 4, "value": value}
            holder = {"type": 18, "component": field} if labels else {"type": 1, "components": [field]}
            rows.append(holder | {"id": number})
        return self._interaction(MODAL, {"custom_id": custom_id, "components": rows}, message)

    def resolve_user(self, user: JSON) -> JSON:
        """The `resolved` part for a user, with the member if there is a guild."""
        resolved: JSON = {"users": {user["id"]: user}}
        if "guild_id" in self.channel:
            resolved["members"] = {user["id"]: self._member(user)}
        return resolved

    def _member(self, user: JSON) -> JSON:
        stored = self.world.members[self.channel["guild_id"]][user["id"]]
        permissions = payloads.ALL_PERMISSIONS if stored["roles"] else payloads.MEMBER_PERMISSIONS
        return {key: value for key, value in stored.items() if key != "user"} | {"permissions": permissions}

    def _command(self, name: str, kind: int, options: list[JSON]) -> JSON:
        root, *path = name.split(" ")
        for depth, part in enumerate(reversed(path)):
            options = [{"name": part, "type": 1 if depth == 0 else 2, "options": options}]
        return {**self._identity(root, kind), "options": options}

    def _identity(self, name: str, kind: int) -> JSON:
        """The registered command, with its guild if it is registered in one."""
        identity = {"name": name, "type": kind}
        for scope in (self.channel.get("guild_id"), None):
            for command in self.world.commands.get(scope, []):
                if (command["name"], command["type"]) == (name, kind):
                    return identity | {"id": str(command["id"])} | ({"guild_id": scope} if scope else {})
        return identity | {"id": self.world.snowflake()}

    def _interaction(self, kind: int, data: JSON, message: JSON | None = None) -> JSON:
        interaction_id = self.world.snowflake()
        payload: JSON = {
            "id": interaction_id,
            "application_id": self.world.application_id,
            "type": kind,
            "data": data,
            "token": _token(interaction_id),
            "version": 1,
            "channel_id": self.channel["id"],
            "channel": self.channel | {"permissions": payloads.MEMBER_PERMISSIONS},
            "app_permissions": payloads.ALL_PERMISSIONS,
            "locale": "en-US",
            "entitlements": [],
            "authorizing_integration_owners": {"0": self.channel.get("guild_id", "0")},
            "context": 0,
            "attachment_size_limit": 10 * 1024 * 1024,
        }
        if message is not None:
            payload["message"] = message
        return payload | self._place()

    def _place(self) -> JSON:
        if "guild_id" not in self.channel:
            return {"user": self.user, "context": 1}
        guild_id = self.channel["guild_id"]
        return {
            "guild_id": guild_id,
            "guild": {"id": guild_id, "locale": "en-US", "features": []},
            "guild_locale": "en-US",
            "member": self._member(self.user) | {"user": self.user},
        }
