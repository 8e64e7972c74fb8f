"""Records every use of buttons, selects, modals and dynamic items, with the exceptions that their views catch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from discord.ui import item as ui_item
from discord.ui.view import BaseView, ViewStore

from cogmeter.recording import running, service_names, tracing
from cogmeter.watch.hook import Hook
from cogmeter.watch.interactions.custom_ids import readable
from cogmeter.watch.interactions.method_listener import own_attribute
from cogmeter.watch.interactions.presses import (
    DECORATED_METHODS,
    ITEM_METHODS,
    MODAL_METHODS,
    PARENTS,
    VIEW_METHODS,
    Claim,
    Press,
    Presses,
    run_dynamic,
)
from cogmeter.watch.interactions.tracker import COMPONENT, MODAL
from cogmeter.watch.names import fitted, qualified
from cogmeter.watch.surface import Surface, WatchContext, own_module

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from typing import TypeAlias

    import discord

    from cogmeter.watch.interactions.tracker import PendingInteraction
    from cogmeter_storage.model import Outcome

    Dispatch: TypeAlias = Callable[..., None]
    Scheduled: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]

_DECORATED: Final[Any] = getattr(ui_item, "_ItemCallback", None)  # the class of a decorated callback; no public name
_VIEW: Final = ("component_type", "custom_id", "interaction")
_MODAL: Final = ("custom_id", "interaction", "components", "resolved")
_DYNAMIC: Final = ("component_type", "factory", "interaction", "custom_id", "match")


class Components(Surface):
    """One operation for each press, from its arrival to its callback's end, named by view and callback.

    A press is claimed where discord.py dispatches it, before any code of the host runs: views and modals may override
    all that follows. An unclaimed press, which a listener or ``wait_for`` may handle, is recorded when it is answered,
    see ``settle_unclaimed``.
    """

    name = "components"
    setting = "watch_components"
    reads = ("watch_acknowledgement",)

    def __init__(self, context: WatchContext) -> None:
        super().__init__(context)
        self._presses = Presses()
        self._dispatching = 0  # the id of the interaction whose tasks discord.py is starting
        self._dynamic_tasks = 0  # the tasks of dynamic items among these

    def prepare(self) -> None:
        """Hook the methods of the view store, one class of discord.py for all views and modals."""
        self._tasks = Hook("component tasks", ViewStore, "add_task", self._added, expects=["task"])
        self._decorated = Hook("item callbacks", _DECORATED, "__call__", self._callbacks, expects=["interaction"])
        self.hooks += [
            Hook("views", ViewStore, "dispatch_view", self._views, expects=_VIEW),
            Hook("modals", ViewStore, "dispatch_modal", self._modals, expects=_MODAL),
            Hook("dynamic items", ViewStore, "schedule_dynamic_item_call", self._dynamic, expects=_DYNAMIC),
            self._tasks,
            self._decorated,
        ]
        if not self.context.settings.watch_acknowledgement:  # which reports when an unclaimed press is answered
            self.listeners.append(("on_interaction", self._on_interaction))

    def fall_back(self, failed: list[Hook]) -> None:  # noqa: ARG002 - the same for each of them
        """Record unclaimed presses when their event is dispatched."""
        if not self.listeners:
            self.listeners.append(("on_interaction", self._on_interaction))

    async def remove(self) -> None:
        """Remove the hooks, and record presses that were left to other tasks. Running presses restore their objects."""
        await super().remove()
        for press in list(self._presses.values()):
            if press.waits:
                press.give_up()

    def _views(self, original: Dispatch, hook: Hook) -> Dispatch:
        def dispatch_view(store: ViewStore, kind: int, custom_id: str, interaction: discord.Interaction) -> None:
            def call() -> None:
                original(store, kind, custom_id, interaction)

            self._dispatch(hook, interaction, lambda: self._view(store, kind, custom_id, interaction), call)

        return dispatch_view

    def _view(self, store: ViewStore, kind: int, custom_id: str, interaction: discord.Interaction) -> Claim | None:
        """Return the view and item that discord.py will dispatch this press to."""
        key, message = (kind, custom_id), interaction.message
        views = store._views  # noqa: SLF001 - there is no public attribute
        item = (None if message is None else views.get(message.id, {}).get(key)) or views.get(None, {}).get(key)
        view = None if item is None else item.view
        if item is None or view is None or view.is_finished():
            return None
        heard = self._decorated.active and isinstance(own_attribute(item, "callback"), _DECORATED)
        methods = DECORATED_METHODS if heard else ITEM_METHODS
        return Claim(
            fitted(f"{qualified(type(view))}.{_item_name(view, item)}"),
            ours=own_module(type(view)) or own_module(type(item)),
            targets=((view, VIEW_METHODS), (item, methods if item.parent is None else (*PARENTS, *methods))),
            overridden=getattr(view._dispatch_item, "__func__", None) is not BaseView._dispatch_item,  # noqa: SLF001 - see above
        )

    def _modals(self, original: Dispatch, hook: Hook) -> Dispatch:
        def dispatch_modal(
            store: ViewStore, custom_id: str, interaction: discord.Interaction, components: Any, resolved: Any
        ) -> None:
            def call() -> None:
                original(store, custom_id, interaction, components, resolved)

            self._dispatch(hook, interaction, lambda: _of_modal(store, custom_id), call)

        return dispatch_modal

    def _dynamic(self, original: Scheduled, hook: Hook) -> Scheduled:
        def scheduled(
            store: ViewStore, kind: int, factory: Any, interaction: discord.Interaction, *match: Any
        ) -> Coroutine[Any, Any, Any]:
            press = self._claimed(hook, interaction, lambda: _of_dynamic(factory))
            if press is None:
                return original(store, kind, factory, interaction, *match)
            press.begin()  # now: an eager task runs before it can be followed
            followed = self._dispatching == interaction.id and self._tasks.active
            if followed:
                self._dynamic_tasks += 1
            return run_dynamic(
                press, lambda seen: original(store, kind, seen, interaction, *match), factory, followed=followed
            )

        return scheduled

    def _callbacks(self, original: Scheduled, hook: Hook) -> Scheduled:
        def call(callback: Any, interaction: discord.Interaction) -> Coroutine[Any, Any, Any]:
            press = self._presses.called_with((interaction,)) if hook.active and self._presses else None
            if press is None:
                return original(callback, interaction)
            return press.hear(callback, "callback", original, callback, interaction)

        return call

    def _added(self, original: Callable[..., Any], hook: Hook) -> Callable[..., Any]:
        def add_task(store: ViewStore, task: asyncio.Future[Any]) -> Any:
            press = self._presses.get(self._dispatching)
            if hook.active and press is not None:
                try:
                    dynamic = self._dynamic_tasks > 0
                    press.follow(task, dynamic=dynamic)
                    if dynamic:
                        self._dynamic_tasks -= 1
                        press.end()  # its task replaces the part that began before
                except Exception as error:  # noqa: BLE001 - our fault must not lose the host's task
                    hook.fault(error)
            return original(store, task)

        return add_task

    def _dispatch(
        self,
        hook: Hook,
        interaction: discord.Interaction,
        find: Callable[[], Claim | None],
        call: Callable[[], None],
    ) -> None:
        """Let discord.py dispatch an interaction; the tasks that it starts are parts of one press."""
        if not (hook.active and self._tasks.active):
            call()
            return
        press = self._claimed(hook, interaction, find)
        before = (self._dispatching, self._dynamic_tasks)  # a task that starts at once may dispatch another one
        self._dispatching, self._dynamic_tasks = interaction.id, 0
        token, outer = None, None
        if press is not None:
            press.begin()
            token = tracing.begin(press.pending)
            outer = running.assign(self.context.tracker.run(press.pending, service_names.COMPONENTS))
        try:
            call()
        finally:
            if token is not None and outer is not None:
                tracing.end(token)
                running.leave(outer)
            self._dispatching, self._dynamic_tasks = before
            if press is not None:
                press.dispatched()

    def _claimed(self, hook: Hook, interaction: discord.Interaction, find: Callable[[], Claim | None]) -> Press | None:
        """Claim an interaction of this bot for its view, modal or item; return None if it is not to be recorded."""
        if not hook.active:
            return None
        try:
            claim = None if interaction.client is not self.context.bot else find()  # all bots share the hooked class
            pending = None if claim is None else self.context.tracker.of(interaction)
            if claim is None or pending is None or pending.finished:
                return None
            press = self._presses.get(pending.id)
            if press is None:
                press = Press(self._presses, self.context.tracker, pending, interaction, hook)
            press.claim(claim)
        except Exception as error:  # noqa: BLE001 - our fault must not lose the host's press
            hook.fault(error)
            return None
        return press

    async def _on_interaction(self, interaction: discord.Interaction) -> None:
        try:
            if interaction.type.value in {COMPONENT, MODAL}:
                pending = self.context.tracker.of(interaction)
                if pending is not None and not pending.owned:
                    self.context.tracker.finish(
                        pending, service_names.COMPONENTS, self.context.tracker.name_of(pending)
                    )
        except Exception as error:  # noqa: BLE001 - it would reach the host's on_error
            self.hooks[0].fault(error)


def settle_unclaimed(context: WatchContext, pending: PendingInteraction, outcome: Outcome, error: str | None) -> None:
    """Record a press that no view, modal or dynamic item claimed, when it is answered or has timed out."""
    if context.settings.watch_components:
        name = context.tracker.name_of(pending)
        context.tracker.finish(pending, service_names.COMPONENTS, name, outcome=outcome, error=error)
        context.tracker.close(pending)


def _of_modal(store: ViewStore, custom_id: str) -> Claim | None:
    modal = store._modals.get(custom_id)  # noqa: SLF001 - see above
    if modal is None:
        return None
    kind = type(modal)
    return Claim(fitted(qualified(kind)), ours=own_module(kind), targets=((modal, MODAL_METHODS),))


def _of_dynamic(factory: Any) -> Claim:
    metadata = {"template": readable(factory.__discord_ui_compiled_template__.pattern)}
    return Claim(fitted(qualified(factory)), ours=own_module(factory), metadata=metadata, dynamic=True)


def _item_name(view: BaseView, item: Any) -> str:
    """Return the name of the callback, of the item's attribute in the view, or of the item's class."""
    callback = own_attribute(item, "callback")
    if callback is not None:
        name = qualified(getattr(callback, "callback", callback)).rpartition(".")[2]  # a decorated one is wrapped
        if name != "<lambda>":
            return name
    for attribute, value in vars(view).items():
        if value is item:
            return attribute
    return type(item).__name__
