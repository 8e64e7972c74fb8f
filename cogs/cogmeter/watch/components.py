"""Components: times every button, select, modal and dynamic item, with the exceptions that their views swallow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from discord.ui import Modal
from discord.ui.view import BaseView, ViewStore

from cogmeter import services
from cogmeter.watch.custom_ids import readable
from cogmeter.watch.hook import Hook
from cogmeter.watch.names import fitted, qualified
from cogmeter.watch.presses import Press, SeenView, run, run_dynamic
from cogmeter.watch.receipts import COMPONENT, MODAL
from cogmeter.watch.surface import Ground, Surface, own_module

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import TypeAlias

    import discord

    from cogmeter.watch.receipts import Receipt
    from cogmeter_storage.model import Outcome

    Named: TypeAlias = tuple[str, Mapping[str, Any] | None]  # a label, and the operation's metadata
    Scheduled: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]

_DYNAMIC: Final = ("component_type", "factory", "interaction", "custom_id", "match")


class Components(Surface):
    """Each press is one operation from its arrival to its callback's end, named by view and callback.

    A press is claimed for its view while the gateway's event is handled, before any code of the host runs. One that
    nobody claims (a listener or ``wait_for`` may take it) is recorded when it is answered, see ``settle_unclaimed``.
    """

    name = "components"
    setting = "watch_components"

    def prepare(self) -> None:
        """The coroutines that discord.py starts for a press, of all views, known now or later."""
        self.hooks += [
            Hook("views", BaseView, "_scheduled_task", self._views, expects=["item", "interaction"]),
            Hook("modals", Modal, "_scheduled_task", self._modals, expects=["interaction", "components", "resolved"]),
            Hook("dynamic items", ViewStore, "schedule_dynamic_item_call", self._dynamic, expects=_DYNAMIC),
        ]
        if not self.ground.settings.watch_acknowledgement:  # which tells when a press that nobody claims is answered
            self.listeners.append(("on_interaction", self._on_interaction))

    def fall_back(self, failed: list[Hook]) -> None:  # noqa: ARG002 - the same for each of them
        """Count what nobody claims, because its hook is missing, when its event is dispatched."""
        if not self.listeners:
            self.listeners.append(("on_interaction", self._on_interaction))

    def _views(self, original: Scheduled, hook: Hook) -> Scheduled:
        def scheduled(view: BaseView, item: Any, interaction: discord.Interaction) -> Coroutine[Any, Any, Any]:
            press = self._press(hook, interaction, lambda: _of_view(view, item), view, item)
            if press is None:
                return original(view, item, interaction)
            return run(press, original, SeenView(view, press), item, interaction)

        return scheduled

    def _modals(self, original: Scheduled, hook: Hook) -> Scheduled:
        def scheduled(
            modal: Modal, interaction: discord.Interaction, components: Any, resolved: Any
        ) -> Coroutine[Any, Any, Any]:
            press = self._press(hook, interaction, lambda: _of_modal(modal), modal)
            if press is None:
                return original(modal, interaction, components, resolved)
            return run(press, original, SeenView(modal, press), interaction, components, resolved)

        return scheduled

    def _dynamic(self, original: Scheduled, hook: Hook) -> Scheduled:
        def scheduled(
            store: ViewStore, kind: int, factory: Any, interaction: discord.Interaction, *match: Any
        ) -> Coroutine[Any, Any, Any]:
            press = self._press(hook, interaction, lambda: _of_dynamic(factory), factory)
            if press is None:
                return original(store, kind, factory, interaction, *match)
            return run_dynamic(press, lambda seen: original(store, kind, seen, interaction, *match), factory)

        return scheduled

    def _press(
        self, hook: Hook, interaction: discord.Interaction, what: Callable[[], Named], *parts: Any
    ) -> Press | None:
        """Claim an interaction of our bot for these parts (views, items, classes); None if it is to be let be."""
        if not hook.active:
            return None
        try:
            if interaction.client is not self.ground.bot:  # the hooks are on classes that all bots share
                return None
            receipt = self.ground.receipts.of(interaction)
            receipt.label, metadata = what()
            receipt.owned = True
            for part in parts:
                receipt.own = receipt.own or own_module(part if isinstance(part, type) else type(part))
            return Press(self.ground.receipts, receipt, hook, metadata)
        except Exception as error:  # noqa: BLE001 - our fault must not lose the host's press
            hook.fault(error)
            return None

    async def _on_interaction(self, interaction: discord.Interaction) -> None:
        try:
            if interaction.type.value in {COMPONENT, MODAL}:
                receipt = self.ground.receipts.of(interaction)
                if not receipt.owned:
                    self.ground.receipts.finish(receipt, services.COMPONENTS, self.ground.receipts.name_of(receipt))
        except Exception as error:  # noqa: BLE001 - it would reach the host's on_error
            self.hooks[0].fault(error)


def settle_unclaimed(ground: Ground, receipt: Receipt, outcome: Outcome, error: str | None) -> None:
    """Record a press that no view, modal or dynamic item claimed, once it is answered or cannot be any more."""
    if ground.settings.watch_components:
        name = ground.receipts.name_of(receipt)
        ground.receipts.finish(receipt, services.COMPONENTS, name, outcome=outcome, error=error)


def _of_view(view: BaseView, item: Any) -> Named:
    return fitted(f"{qualified(type(view))}.{_item_name(view, item)}"), None


def _of_modal(modal: Modal) -> Named:
    return fitted(qualified(type(modal))), None


def _of_dynamic(factory: Any) -> Named:
    return fitted(qualified(factory)), {"template": readable(factory.__discord_ui_compiled_template__.pattern)}


def _item_name(view: BaseView, item: Any) -> str:
    """The callback's name, the attribute that holds the item, or the item's class."""
    callback = vars(item).get("callback")
    if callback is not None:
        name = qualified(getattr(callback, "callback", callback)).rpartition(".")[2]  # a decorated one is wrapped
        if name != "<lambda>":
            return name
    for attribute, value in vars(view).items():
        if value is item:
            return attribute
    return type(item).__name__
